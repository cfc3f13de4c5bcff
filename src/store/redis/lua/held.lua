-- The hosts that are held back, those probed soonest first.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] the most to tell.
-- Returns for each three: host, time of its next probe, tasks set aside.
expect('c')
local reply = {}
local hosts = redis.call('ZRANGE', K.hosts, 0, tonumber(ARGV[3]) - 1, 'WITHSCORES')
for at = 1, #hosts, 2 do
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = hosts[at], hosts[at + 1], tostring(queue('x' .. hosts[at]).live)
end
return reply
