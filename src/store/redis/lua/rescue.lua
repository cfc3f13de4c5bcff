-- Takes back tasks whose lease has run out: the worker's death is counted, an attempt is not.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] retention of a cancelled task, ARGV[4] the most to take back.
-- Returns for each task four: id, worker, crashes, and r (ready again) or c (was cancelled).
expect('dc')
local keep_cancelled, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
local reply, rescued = {}, 0

local function take_back(task)
  local worker = task.worker or ''
  task.crashes = task.crashes + 1
  vacate(task)
  task.lease, task.worker, task.was_leased = false, false, false
  if task.state == 'c' then
    leave_key(task)
    local _, q = flows_of(task.lane)
    retire(task, task.retention or rules_of_queue(q.name).keep_succeeded or keep_cancelled)
  else
    wait_again(task)
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
