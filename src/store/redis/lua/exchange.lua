-- Ends leases, then leases the next tasks: a worker's whole turn in one step.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] worker, ARGV[4] token of this exchange, ARGV[5] milliseconds that a name
--   stays taken, ARGV[6] and ARGV[7] retention of succeeded and dead tasks, ARGV[8] tasks wanted (0: none, settle
--   only), ARGV[9] milliseconds of a lease, ARGV[10] turns dealt to the priorities so far, ARGV[11] number of settlements,
--   then for each settlement six: id; fence; verdict (k, d, t, r); milliseconds after which it may run; reason;
--   the attempt as "started,JSON", or empty.
-- Returns { settled, next, turns, tasks, lanes, time, lease }: one letter a settlement (s settled, x stale, c cancelled);
--   milliseconds until something may be claimed (-1: nothing waits); the turns dealt by now; for each task eight:
--   id, fixed part, scheduled, attempts, crashes, fence, first attempt (0: none yet), its lane's number; number and
--   name of each lane among them; the time; the time at which the next lease may end (-1: there is none).
-- An exchange with the token of this worker's last one is answered from that one's record: it was sent twice, or
--   its answer was lost and is asked for again. An empty token is never recorded.
local worker, token = ARGV[3], ARGV[4]
local window, keep_succeeded, keep_dead = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local wanted, lease_ms = tonumber(ARGV[8]), tonumber(ARGV[9])
local MAX_LOGGED = 20

-- Settling -----------------------------------------------------------------------------------------------

local function log_attempt(task, attempt)
  local comma = attempt:find(',', 1, true)
  local entry = attempt:sub(comma + 1)
  task.attempts = task.attempts + 1
  task.first = task.first or tonumber(attempt:sub(1, comma - 1))
  if task.logged >= MAX_LOGGED then
    -- The first and the latest survive: the second is dropped.
    local first = task.log:find('\n', 1, true)
    local second = task.log:find('\n', first + 1, true)
    task.log = task.log:sub(1, first) .. task.log:sub(second + 1)
  else
    task.logged = task.logged + 1
  end
  task.log = task.log .. entry .. '\n'
end

local function settle(id, fence, verdict, after, reason, attempt)
  local task = load(id)
  if not task then return 'x' end
  local unknown = task.state ~= 'u' and task.fence < fence and WAITING[task.state]
  -- An unknown lease is one from before a failover that its record did not survive: nobody has had the task
  -- since, so its holder's word still counts. Whatever place the task waits in is stale from here on.
  if not unknown and (not task.lease or task.fence ~= fence) then return 'x' end
  if task.state == 's' or task.state == 't' then stop_waiting(task) end
  task.fence = fence
  task.lease, task.worker = false, false
  if attempt ~= '' then log_attempt(task, attempt) end
  if task.state == 'c' then
    leave_key(task)
    retire(task, task.retention or keep_succeeded)
    return 'c'
  end
  task.reason = reason ~= '' and reason or false
  if verdict == 'k' or verdict == 'd' then
    become(task, verdict)
    task.finished = now
    release_names(task, window)
    leave_key(task)
    retire(task, task.retention or (verdict == 'd' and keep_dead or keep_succeeded))
  elseif verdict == 't' then
    become(task, 't')
    task.due = now + after
    wait_until_due(id, task.due)
    save(task)
  else
    task.releases = task.releases + 1
    if after > 0 then
      become(task, 's')
      task.due = now + after
      wait_until_due(id, task.due)
    else
      become(task, 'r')
      push_front(queue(task.lane), id)
    end
    save(task)
  end
  return 's'
end

-- Claiming -----------------------------------------------------------------------------------------------

local tasks, lanes_told = {}, {}
local taken = {}

local function tell(task)
  local n = #tasks
  tasks[n + 1], tasks[n + 2], tasks[n + 3], tasks[n + 4] = task.id, fixed_of(task), task.scheduled, task.attempts
  tasks[n + 5], tasks[n + 6], tasks[n + 7], tasks[n + 8] = task.crashes, task.fence, task.first or 0, task.lane
  lanes_told[task.lane] = true
end

-- Leases up to `most` tasks from the head of a lane; how many, and what is left of the patience with stale entries.
local function take_lane(number, most, patience)
  local q = queue(number)
  local got = 0
  while got < most and patience > 0 do
    local ids = {}
    for place = 1, most - got do
      ids[place] = pop_front(q)
      if not ids[place] then break end
    end
    if #ids == 0 then break end
    preload(ids, true)
    for _, id in ipairs(ids) do
      local task = load(id)
      if task and task.state == 'r' and task.lane == number then
        become(task, 'u')
        -- The time makes the fence grow even where a failover has lost the record of an earlier lease.
        task.fence = math.max(task.fence + 1, now)
        task.lease, task.worker = now + lease_ms, worker
        save(task)
        tell(task)
        taken[#taken + 1] = id
        got = got + 1
      else
        patience = patience - 1
      end
    end
  end
  return got, patience
end

-- Takes up to `turns` tasks from one ring: every lane has its turn before any has a second.
local function take_rank(rank, turns, patience)
  local ring = K.rings[rank]
  local left = turns
  while left > 0 and patience > 0 do
    local numbers = redis.call('LPOP', ring, left)
    if not numbers or #numbers == 0 then break end
    local share, extra = math.floor(left / #numbers), left % #numbers
    for place, number in ipairs(numbers) do
      local got
      got, patience = take_lane(number, share + (place <= extra and 1 or 0), patience)
      left = left - got
    end
    -- The turn after the last one dealt is that of the first lane without an extra one.
    for offset = 0, #numbers - 1 do
      local number = numbers[(extra + offset) % #numbers + 1]
      local q = queue(number)
      q.ringed = q.length > 0
      q.dirty = true
      if q.ringed then redis.call('RPUSH', ring, number) end
    end
  end
  return turns - left, patience
end

-- Smooth weighted round robin, 8:4:2:1 while all have work: the turn's number says whose it is. The order of
-- 15 turns among those that have work is the same for every exchange, and the number goes on from the last.
local WEIGHTS = { [0] = 8, 4, 2, 1 }
local function deal(turns, active, start)
  local total, credits, dealt = 0, {}, {}
  for _, rank in ipairs(active) do
    total = total + WEIGHTS[rank]
    credits[rank], dealt[rank] = 0, 0
  end
  local skip = start % total
  for turn = 1, skip + turns do
    local richest = active[1]
    for _, rank in ipairs(active) do
      credits[rank] = credits[rank] + WEIGHTS[rank]
      if credits[rank] > credits[richest] then richest = rank end
    end
    credits[richest] = credits[richest] - total
    if turn > skip then dealt[richest] = dealt[richest] + 1 end
  end
  return dealt
end

local function active_ranks()
  local active = {}
  if redis.call('EXISTS', K.rings[0], K.rings[1], K.rings[2], K.rings[3]) == 0 then return active end
  for rank = 0, 3 do
    if redis.call('LLEN', K.rings[rank]) > 0 then active[#active + 1] = rank end
  end
  return active
end

-- Lanes that have gained something since the start join their ring before it is walked.
local function join_rings()
  for name, q in pairs(open_queues) do
    if q.dirty and q.length > 0 and not q.ringed and name:match('^%d') then
      redis.call('RPUSH', K.rings[lane_rank(name)], name)
      q.ringed = true
    end
  end
end

local turns = tonumber(ARGV[10])
local more = false

local function claim()
  more = promote(math.max(wanted * 2, 200))
  join_rings()
  local left, patience = wanted, wanted * 10 + 1000
  local active = active_ranks()
  while left > 0 and #active > 0 and patience > 0 do
    local dealt = #active == 1 and { [active[1]] = left } or deal(left, active, turns)
    for _, rank in ipairs(active) do
      local got
      got, patience = take_rank(rank, dealt[rank], patience)
      left, turns = left - got, turns + got
    end
    active = active_ranks()
  end
  more = more or #active > 0
end

-- The exchange -------------------------------------------------------------------------------------------

local settled = {}
local last = token ~= '' and redis.call('HGET', K.claims, worker)
if last then last = cmsgpack.unpack(last) end
if last and last[1] == token then
  -- The leases hold from now on: their holder has only just learnt of them.
  for _, id in ipairs(last[2]) do
    local task = load(id)
    if task and task.state == 'u' and task.worker == worker then
      task.lease = now + lease_ms
      save(task)
      tell(task)
    end
  end
  settled = { last[3] }
  more = true
else
  local last_argument = 11 + 6 * tonumber(ARGV[11])
  local ids = {}
  for at = 12, last_argument, 6 do ids[#ids + 1] = ARGV[at] end
  preload(ids, false)
  for at = 12, last_argument, 6 do
    settled[#settled + 1] = settle(
      ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5])
  end
  if wanted > 0 then claim() end
  if wanted > 0 and (#settled > 0 or #taken > 0) then
    redis.call('HSET', K.claims, worker, cmsgpack.pack({ token, taken, table.concat(settled) }))
  end
end

local next = more and 0 or next_in()
local lane_list = {}
for number in pairs(lanes_told) do
  lane_list[#lane_list + 1] = number
  lane_list[#lane_list + 1] = lane_name(number)
end
commit()
-- Whoever settles without claiming leaves what it gave back to the others.
if wanted == 0 and #settled > 0 then redis.call('PUBLISH', channel, 'work') end
return { table.concat(settled), tostring(next), tostring(turns), tasks, lane_list, tostring(now), tostring(first_time(K.leases) or -1) }
