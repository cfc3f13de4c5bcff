-- Reads a part of the log of accepted tasks, newest first: the ids, whether or not their tasks are there still.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] segment to begin before (empty: the newest), ARGV[4] the most segments.
-- Returns the segment where it stopped (0 or less: nothing is left), then the ids of each segment, all in one text.
expect('oc')
local accepted = tonumber(redis.call('HGET', K.meta, 'accepted') or '0')
local first = tonumber(redis.call('HGET', K.meta, 'log_first') or '0')
local segment = ARGV[3] == '' and math.floor(accepted / SEGMENT) + 1 or tonumber(ARGV[3])
local reply = { '0' }
for _ = 1, tonumber(ARGV[4]) do
  if segment <= first then break end
  segment = segment - 1
  reply[#reply + 1] = redis.call('HGET', K.log, segment) or nil
end
reply[1] = tostring(segment > first and segment or 0)
return reply
