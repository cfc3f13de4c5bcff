-- Records that a worker lives, and forgets those unheard of for a day.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] worker, ARGV[4] what it says of itself (JSON).
expect('tt')
local FORGET_MS = 86400000
local all = redis.call('HGETALL', K.workers)
for at = 1, #all, 2 do
  if tonumber(all[at + 1]:match('^%d+')) < now - FORGET_MS then
    redis.call('HDEL', K.workers, all[at])
    redis.call('HDEL', K.claims, all[at])
  end
end
redis.call('HSET', K.workers, ARGV[3], string.format('%.0f', now) .. ' ' .. ARGV[4])
return true
