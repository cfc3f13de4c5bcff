-- What clients or queues use now.
-- ARGV[1] skew, ARGV[2] channel, then the fields: "c/" .. client or "q/" .. queue.
-- Returns for each of a client two: tasks running, requests within the last minute; of a queue five: tasks running,
--   the time of its next token (0: it has one, or no rate), start of its purge (0: none), tasks removed, share done.
expect('', 't')
local WINDOW_MS = 60000
local reply = {}
for at = 3, #ARGV do
  local field = ARGV[at]
  local f = flow_of(field, field:sub(1, 1), field:sub(3))
  reply[#reply + 1] = tostring(f.running)
  if f.kind == 'c' then
    local requests = 0
    local raw = redis.call('HGET', K.flows, 'w/' .. f.name)
    if raw then
      local e = cmsgpack.unpack(raw)
      for place = 3, #e, 3 do
        if e[place - 1] + WINDOW_MS > now then requests = requests + e[place] end
      end
    end
    reply[#reply + 1] = tostring(requests)
  else
    local wait = until_token(f)
    reply[#reply + 1] = wait and string.format('%.0f', now + wait) or '0'
    local started, removed, share = purge_of(f.name)
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = started, removed, share
  end
end
return reply
