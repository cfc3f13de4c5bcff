-- The workers that announced themselves lately.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] milliseconds that count as lately.
-- Returns for each "when JSON".
expect('n')
local reply = {}
for _, value in ipairs(redis.call('HVALS', K.workers)) do
  if tonumber(value:match('^%d+')) >= now - tonumber(ARGV[3]) then reply[#reply + 1] = value end
end
return reply
