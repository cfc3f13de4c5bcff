-- Holds a host back, or lets it go on.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] host, ARGV[4] milliseconds until it is probed (empty: it goes on),
--   ARGV[5] the most hosts to hold back.
expect('toc')
local host, for_ms = ARGV[3], tonumber(ARGV[4])
-- A host that nobody calls any more would be held back for good.
local FORGET_MS = 3600000

local function let_go(name)
  redis.call('ZREM', K.hosts, name)
  redis.call('HDEL', K.flows, 'h/' .. name)
  redis.call('ZADD', K.wakes, 'XX', now, 'h/' .. name)
end

if for_ms then
  redis.call('ZADD', K.hosts, now + for_ms, host)
  redis.call('HSET', K.flows, 'h/' .. host, for_ms)
  -- Places that are still to be looked through, for their queue calls another host by now, do not wait for it.
  if redis.call('HEXISTS', K.flows, 's/' .. host) == 0 then
    redis.call('ZADD', K.wakes, 'XX', now + for_ms, 'h/' .. host)
  end
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', K.hosts, '-inf', now - FORGET_MS, 'LIMIT', 0, 100)) do let_go(old) end
  local over = redis.call('ZCARD', K.hosts) - tonumber(ARGV[5])
  if over > 0 then
    for _, soonest in ipairs(redis.call('ZRANGE', K.hosts, 0, over - 1)) do let_go(soonest) end
  end
else
  let_go(host)
end
redis.call('PUBLISH', channel, 'work')
return true
