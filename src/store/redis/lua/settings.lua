-- Changes settings, if they are still what the change was made of, and keeps an entry of it.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] field, ARGV[4] revision it is a change of (empty: there must be none),
--   ARGV[5] JSON (empty: they are removed), ARGV[6] what the commands need of them (JSON list), ARGV[7] 1 when a client
--   has lists that only the service can read, ARGV[8] token of this call, ARGV[9] entry for the audit, ARGV[10] the most
--   entries to keep.
-- Returns 1, or 0 when they are others by now. A second sending of the same change finds it done.
expect('tottfttc')
local packed = ARGV[5] ~= '' and cjson.decode(ARGV[6])
local field = ARGV[3]
local current = redis.call('HGET', K.settings, field)
local revision = current and current:match('^%d+') or ''
local old = redis.call('HGET', K.limits, field)
if revision ~= ARGV[4] then return was_kept(ARGV[8]) and 1 or 0 end
if ARGV[5] == '' then
  redis.call('HDEL', K.settings, field)
  redis.call('HDEL', K.limits, field)
  redis.call('ZREM', K.index, field)
  -- A client that is gone leaves nothing behind, nor does one of that name that comes after it.
  if field:sub(1, 2) == 'c/' then redis.call('HDEL', K.flows, 'w/' .. field:sub(3)) end
else
  local next_revision = redis.call('HINCRBY', K.meta, 'revision', 1)
  if ARGV[7] == '1' then packed[#packed + 1] = next_revision end
  redis.call('HSET', K.settings, field, next_revision .. ' ' .. ARGV[5])
  redis.call('HSET', K.limits, field, cmsgpack.pack(packed))
  redis.call('ZADD', K.index, 0, field)
end
keep_entry(ARGV[8], ARGV[9], ARGV[10])

-- Lanes that are held back are looked at again, by whoever claims next: what holds them may hold them no longer.
if field:sub(1, 2) == 't/' then
  for _, held in ipairs(redis.call('ZRANGE', K.wakes, 0, -1)) do
    if held:sub(1, 2) == 'c/' then redis.call('ZADD', K.wakes, now, held) end
  end
elseif redis.call('ZSCORE', K.wakes, field) then
  redis.call('ZADD', K.wakes, now, field)
end
-- Tasks set aside for their host are looked through where their queue calls another one from now on, or none.
local PULL, HOST = 11, 12
if field:sub(1, 2) == 'q/' then
  local before = old and cmsgpack.unpack(old) or {}
  local after = ARGV[6] ~= '' and cjson.decode(ARGV[6]) or {}
  if (before[PULL] or false) ~= (after[PULL] or false) or (before[HOST] or '') ~= (after[HOST] or '') then
    for _, member in ipairs(redis.call('ZRANGE', K.wakes, 0, -1)) do
      if member:sub(1, 2) == 'h/' then
        local host = member:sub(3)
        redis.call('HSET', K.flows, 's/' .. host, queue('x' .. host).length)
        redis.call('ZADD', K.wakes, now, member)
      end
    end
  end
end

-- The lanes of a queue that is for consumers from now on leave their rings, and those of one that no longer is come
-- back to them: the second by the look that was just asked for.
if field:sub(1, 2) == 'q/' and rules_of_queue(field:sub(3)).pull then
  local f = flow_of(field, 'q', field:sub(3))
  for rank = 0, 3 do
    for _, number in ipairs(redis.call('LRANGE', K.rings[rank], 0, -1)) do
      local _, q = flows_of(number)
      if q == f then
        redis.call('LREM', K.rings[rank], 1, number)
        park(f, number, false)
      end
    end
  end
  commit()
end
redis.call('PUBLISH', channel, 'work')
return 1
