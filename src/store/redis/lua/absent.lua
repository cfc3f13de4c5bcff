-- Which of many tasks are not there.
-- ARGV[1] skew, ARGV[2] channel, then the ids.
-- Returns those ids.
expect('', 't')
local absent = {}
for from = 3, #ARGV, CHUNK do
  local ids = { unpack(ARGV, from, math.min(from + CHUNK - 1, #ARGV)) }
  for _, id in ipairs(ids) do
    if redis.call('HEXISTS', K.tasks, id) == 0 then absent[#absent + 1] = id end
  end
end
return absent
