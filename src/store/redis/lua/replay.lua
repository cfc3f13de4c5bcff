-- Starting finished tasks over; included by the commands that do.

-- A task in a final state begins again, no earlier than `at`, with no attempts charged; its history stays.
local function start_over(task, at)
  task.attempts, task.crashes, task.releases = 0, 0, 0
  task.first, task.finished, task.expires, task.reason = false, false, false, false
  task.due = math.max(at, now)
  wait_again(task)
  -- A dead task that has held its key is counted in it still, and holds it until it has run: a later step must not come
  -- before it.
  if task.ordering and ordering_of(task.ordering).holder ~= task.id then join_key(task.ordering) end
  if task.due > now then
    become(task, 's')
    wait_until_due(task.id, task.due)
  else
    become(task, arrive(task))
  end
  if task.scopes then
    for scope in task.scopes:gmatch('[^ ]+') do
      local holder = name_holder(scope)
      if not holder or holder == task.id then take_names(scope, task.id) end
    end
  end
  save(task)
end
