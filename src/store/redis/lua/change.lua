-- What a person may do to one task.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] milliseconds that a name stays taken, ARGV[4] retention of a cancelled task,
--   ARGV[5] id, ARGV[6] cancel | move | run | replay, for move: ARGV[7] time in milliseconds, or "+" and what is to pass until then, or empty, ARGV[8] rank or empty.
-- Returns { "changed", row }, { "conflict", state that forbids it } or { "missing" }.
expect(ARGV[6] == 'move' and 'ddttor' or 'ddtt')
local window, id, what = tonumber(ARGV[3]), ARGV[5], ARGV[6]
if what ~= 'cancel' and what ~= 'move' and what ~= 'run' and what ~= 'replay' then error('nothing is known of ' .. what, 0) end
local task = load(id)
if not task then return { 'missing' } end
local fixed = fixed_of(task)
local hint = 'work'

local function move(at)
  local waits = task.state == 's' or task.state == 't'
  if waits then stop_waiting(task) end
  task.due = math.max(at, now)
  if task.due > now then
    if task.state == 't' then
      -- A retry keeps its place at the head of its ordering key.
      wait_until_due(id, task.due)
    else
      if task.ordering then
        local o = ordering_of(task.ordering)
        yield_key(task, o)
        save_ordering(task.ordering, o)
      end
      if task.state == 'b' then leave_aside(task) end
      become(task, 's')
      wait_until_due(id, task.due)
    end
  elseif waits then
    become(task, arrive(task))
  end
end

if what == 'cancel' then
  if not WAITING[task.state] and task.state ~= 'u' then return { 'conflict', task.state } end
  local running = task.state == 'u'
  if task.state == 's' or task.state == 't' then stop_waiting(task) end
  if task.state == 'b' then leave_aside(task) end
  become(task, 'c')
  task.finished, task.reason = now, 'cancelled on request'
  release_names(task, window)
  if running then
    -- The request is still on its way: the lease, with it the slot and the ordering key, stays until its worker
    -- has broken it off, or has died.
    save(task)
    hint = 'leases'
  else
    leave_key(task)
    local queue_name = lane_name(task.lane):match('^%d/([^/]*)/')
    retire(task, task.retention or rules_of_queue(queue_name).keep_succeeded or tonumber(ARGV[4]))
  end
elseif what == 'replay' then
  if task.lease then return { 'conflict', 'u' } end
  if not FINAL[task.state] then return { 'conflict', task.state } end
  start_over(task, now)
else
  if not WAITING[task.state] then return { 'conflict', task.state } end
  if what == 'run' then
    if task.state == 's' or task.state == 't' then
      move(now)
    elseif task.state == 'b' then
      -- Its place among those set aside is stale from here on; whether it may go is found when it is claimed.
      leave_aside(task)
      become(task, 'r')
      push_back(queue(task.lane), id)
    end
  else
    if ARGV[8] ~= '' and tonumber(ARGV[8]) ~= lane_rank(task.lane) then
      local lane = lane_number(ARGV[8] .. lane_name(task.lane):sub(2))
      count(task.lane, task.state, nil)
      count(lane, nil, task.state)
      task.lane = lane
      if task.state == 'r' then push_back(queue(lane), id) end
    end
    if ARGV[7] ~= '' then move((ARGV[7]:sub(1, 1) == '+' and now or 0) + tonumber(ARGV[7])) end
  end
  save(task)
end
commit()
redis.call('PUBLISH', channel, hint)
return { 'changed', row(task, fixed) }
