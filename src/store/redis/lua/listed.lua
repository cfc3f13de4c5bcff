-- Reads settings in the order of their ids.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] kind's letter, ARGV[4] id to begin after (empty: the first), ARGV[5] the most.
-- Returns for each two: id, and "revision JSON".
expect('ttc')
local from = ARGV[4] == '' and '[' .. ARGV[3] .. '/' or '(' .. ARGV[3] .. '/' .. ARGV[4]
local fields = redis.call('ZRANGEBYLEX', K.index, from, '(' .. ARGV[3] .. '0', 'LIMIT', 0, ARGV[5])
local reply = {}
for _, field in ipairs(fields) do
  reply[#reply + 1] = field:sub(3)
  reply[#reply + 1] = redis.call('HGET', K.settings, field)
end
return reply
