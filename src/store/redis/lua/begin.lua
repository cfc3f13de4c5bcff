-- Opens the store: an empty one is given this build's version of the schema, and the settings every store begins with.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] the version this build reads and writes, ARGV[4] the default tier, then for
--   each of the settings three: field, JSON, and what the commands need of it (JSON list).
-- Returns the version that the store has, and the tiers there are; the default tier is taken over when it is among them.
expect('nt', 'ttt')
local packed = {}
for at = 5, #ARGV, 3 do packed[at] = cmsgpack.pack(cjson.decode(ARGV[at + 2])) end
redis.call('HSETNX', K.meta, 'version', ARGV[3])
local version = redis.call('HGET', K.meta, 'version')
if version ~= ARGV[3] then return { version } end
for at = 5, #ARGV, 3 do
  local field = ARGV[at]
  if redis.call('HEXISTS', K.settings, field) == 0 then
    redis.call('HSET', K.settings, field, redis.call('HINCRBY', K.meta, 'revision', 1) .. ' ' .. ARGV[at + 1])
    redis.call('HSET', K.limits, field, packed[at])
    redis.call('ZADD', K.index, 0, field)
  end
end
if redis.call('HEXISTS', K.settings, 't/' .. ARGV[4]) == 1 then redis.call('HSET', K.meta, 'default_tier', ARGV[4]) end
local reply = { version }
for _, field in ipairs(redis.call('ZRANGEBYLEX', K.index, '[t/', '(t0')) do reply[#reply + 1] = field:sub(3) end
return reply
