-- Takes back tasks whose lease has run out: the worker's death is counted, an attempt is not.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] milliseconds that a name stays taken, ARGV[4] and ARGV[5] retention of
--   succeeded and dead tasks, ARGV[6] the most to take back, ARGV[7] the number of crashes that makes a task dead.
-- Returns for each task four: id, worker, crashes, and r (ready again), d (dead) or c (was cancelled).
local window, keep_succeeded, keep_dead = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local limit = tonumber(ARGV[6])
local reply, rescued = {}, 0

local function take_back(task)
  local worker = task.worker or ''
  task.crashes = task.crashes + 1
  task.lease, task.worker, task.was_leased = false, false, false
  if task.state == 'c' then
    leave_key(task)
    retire(task, task.retention or keep_succeeded)
  elseif task.crashes >= tonumber(ARGV[7]) then
    become(task, 'd')
    task.reason = task.crashes .. ' workers died while running it'
    task.finished = now
    release_names(task, window)
    leave_key(task)
    retire(task, task.retention or keep_dead)
  else
    become(task, 'r')
    task.reason = 'its worker ' .. worker .. ' let the lease run out'
    push_front(queue(task.lane), task.id)
    save(task)
  end
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = task.id, worker, tostring(task.crashes), task.state
  rescued = rescued + 1
end

visit_spans('l', K.leases, now, limit * 4, function(_, task, span)
  if not task or not task.lease or math.floor(task.lease / LEASE_SPAN_MS) ~= span then return nil end
  if task.lease > now or rescued >= limit then return 'stay' end
  take_back(task)
  return 'done'
end)
commit()
if #reply > 0 then redis.call('PUBLISH', channel, 'work') end
return reply
