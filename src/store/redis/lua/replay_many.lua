-- Starts finished tasks over.
-- ARGV[1] skew, ARGV[2] channel, then for each task two: id, and the time before which it must not run.
-- Returns for each the letter of the state it was in; empty where there is no such task.
expect('', 'tn')
local ids, reply = {}, {}
for at = 3, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
preload(ids, false)
for at = 3, #ARGV, 2 do
  local task = load(ARGV[at])
  -- A cancelled task whose request is still being broken off is not over yet.
  reply[#reply + 1] = task and (task.lease and 'u' or task.state) or ''
  if task and not task.lease and FINAL[task.state] then start_over(task, tonumber(ARGV[at + 1])) end
end
commit()
redis.call('PUBLISH', channel, 'work')
return reply
