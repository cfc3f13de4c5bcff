-- Since when the first task of each of these lanes waits to be claimed; changes nothing.
-- ARGV[1] skew, ARGV[2] channel, then the numbers of the lanes.
-- Returns for each lane the milliseconds since that task fell due, or was leased last, or nothing where none of the
-- first places means its task any longer; fewer than there are lanes where the tasks looked at were large.
local MAX_BYTES = 1000000

local reply, bytes = {}, 0
local numbers = {}
for at = 3, #ARGV do numbers[#numbers + 1] = ARGV[at] end
preload_queues(numbers)
for place, number in ipairs(numbers) do
  if bytes > MAX_BYTES then break end
  local q = queue(number)
  local ids = q.length > 0 and redis.call('HGET', K.queues, number .. ':' .. q.head) or ''
  reply[place] = ''
  for at = q.offset * ID + 1, #ids, ID do
    local task = load(ids:sub(at, at + ID - 1))
    bytes = bytes + (task and task.fixed and #task.fixed or ID)
    -- What was cancelled or moved meanwhile has left its place behind.
    if task and task.state == 'r' and task.lane == number then
      -- The fence is the time of the last lease, or later.
      reply[place] = string.format('%.0f', math.max(0, now - math.max(task.due, task.fence)))
      break
    end
  end
end
return reply
