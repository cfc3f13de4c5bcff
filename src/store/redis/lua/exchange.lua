-- Ends leases, then leases the next tasks: a worker's whole turn in one step.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] worker, ARGV[4] token of this exchange, ARGV[5] milliseconds that a name
--   stays taken, ARGV[6] and ARGV[7] retention of succeeded and dead tasks, ARGV[8] tasks wanted (0: none, settle
--   only), ARGV[9] milliseconds of a lease, ARGV[10] turns dealt to the priorities so far, ARGV[11] the pull queue to take
--   them from (empty: all push queues), ARGV[12] number of settlements, then for each settlement six: id; fence; verdict (k, d, t, r); milliseconds after which it may run; reason;
--   the attempt as "started,JSON", or empty; then for each task that follows from a settlement three: the
--   number of that settlement, and the task as enqueue.lua is given it.
-- Returns { settled, next, turns, tasks, lanes, time, lease, probes }: one letter a settlement (s settled, x stale,
--   c cancelled);
--   milliseconds until something may be claimed (-1: nothing waits); the turns dealt by now; for each task eight:
--   id, fixed part, scheduled (or "scheduled,due" where it is not due then, with no due where it was leased for this
--   very run before), attempts, crashes, fence, first attempt (0: none yet), its lane's number; number and
--   name of each lane among them, with its queue's and its client's rules (JSON or empty); the time; the time at which
--   the next lease may end (-1: there is none); the ids of those tasks that are probes of their hosts.
-- An exchange with the token of this worker's last one is answered from that one's record: it was sent twice, or
--   its answer was lost and is asked for again. An empty token is never recorded.
local worker, token, window, keep_succeeded, keep_dead, wanted, lease_ms

-- Times as text; a command meets few of them.
local texts
local function text_of(time)
  local text = texts[time]
  if not text then
    text = string.format('%.0f', time)
    texts[time] = text
  end
  return text
end
local now_text, lease_text

-- Settling -----------------------------------------------------------------------------------------------

-- Ends a lease; one letter of what came of it.
local settle
local preload_uses

do
  local MAX_LOGGED = 20

  local function log_attempt(task, attempt)
    local comma = attempt:find(',', 1, true) or 0
    local entry = attempt:sub(comma + 1)
    task.attempts = task.attempts + 1
    task.first = task.first or tonumber(attempt:sub(1, comma - 1)) or false
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

  -- The same for most tasks, whose first attempt was good: written as text, out of text. Nil for all others.
  local function settle_plainly(id, fence, attempt)
    local text = open_tasks[id] == nil and raw_states[id]
    if not text then return nil end
    local given, lease, head, number = text:match('^u(%d+),(%d+),((%d+),[%-%w]+,?[%-%w]*)\n')
    if tonumber(given) ~= fence then return nil end
    local c, q = flows_of(number)
    local keep = rules_of_queue(q.name).keep_succeeded or keep_succeeded
    if keep == 0 then return nil end
    local started, entry = attempt:match('^(%d+),(.*)$')
    local expires = now + keep
    write_plain(id, 'k' .. given .. ',' .. now_text .. ',' .. text_of(expires) .. ',' .. started .. ',' .. head .. '\n' .. entry .. '\n')
    count(number, 'u', 'k')
    give_back_slots(c, q)
    span_remove('l', LEASE_SPAN_MS, K.leases, tonumber(lease))
    span_add('e', EXPIRY_SPAN_MS, K.expiry, id, expires)
    return 's'
  end

  local function settle_taken_apart(id, fence, verdict, after, reason, attempt)
    local task = load(id)
    if not task then return 'x' end
    local unknown = task.state ~= 'u' and task.fence < fence and WAITING[task.state]
    -- An unknown lease is one from before a failover that its record did not survive: nobody has had the task
    -- since, so its holder's word still counts. Whatever place the task waits in is stale from here on.
    if not unknown and (not task.lease or task.fence ~= fence) then return 'x' end
    -- Another may have its ordering key by now: then it waits its turn, as if it had not run.
    if unknown and verdict ~= 'k' and verdict ~= 'd' and not take_key(task) then return 'x' end
    if task.state == 'b' then leave_aside(task) end
    if task.state == 's' or task.state == 't' then stop_waiting(task) end
    task.fence = fence
    vacate(task)
    task.lease, task.worker = false, false
    if attempt ~= '' then log_attempt(task, attempt) end
    if task.state == 'c' then
      leave_key(task)
      local _, q = flows_of(task.lane)
      retire(task, task.retention or rules_of_queue(q.name).keep_succeeded or keep_succeeded)
      return 'c'
    end
    task.reason = reason ~= '' and reason or false
    if verdict == 'k' or verdict == 'd' then
      become(task, verdict)
      task.finished = now
      release_names(task, window)
      local _, q = flows_of(task.lane)
      local rules = rules_of_queue(q.name)
      if verdict == 'k' or not rules.hold then leave_key(task) end
      if verdict == 'd' then retire(task, task.retention or rules.keep_dead or keep_dead)
      else retire(task, task.retention or rules.keep_succeeded or keep_succeeded) end
    elseif verdict == 't' then
      wait_again(task)
      become(task, 't')
      task.due = now + after
      wait_until_due(id, task.due)
      save(task)
    else
      task.releases = task.releases + 1
      wait_again(task)
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

  -- Reads in a few calls what is used by the clients whose tasks are settled plainly.
  preload_uses = function(ids)
    local numbers, seen = {}, {}
    for _, id in ipairs(ids) do
      local number = (raw_states[id] or ''):match('^u%d+,%d+,(%d+)')
      if number and not seen[number] then
        seen[number] = true
        numbers[#numbers + 1] = number
      end
    end
    preload_names(numbers)
    preload_flows(numbers)
  end

  settle = function(id, fence, verdict, after, reason, attempt)
    local letter = verdict == 'k' and attempt ~= '' and settle_plainly(id, fence, attempt)
    return letter or settle_taken_apart(id, fence, verdict, after, reason, attempt)
  end
end

-- Claiming -----------------------------------------------------------------------------------------------

local tasks, lanes_told, taken

local function tell(id, fixed, scheduled, attempts, crashes, fence, first, lane)
  local n = #tasks
  tasks[n + 1], tasks[n + 2], tasks[n + 3], tasks[n + 4] = id, fixed, scheduled, attempts
  tasks[n + 5], tasks[n + 6], tasks[n + 7], tasks[n + 8] = crashes, fence, first, lane
  lanes_told[lane] = true
end

-- `before` is its fence before this lease: the time of the lease before, or later.
local function tell_of(task, before)
  local scheduled = task.scheduled
  if before >= task.due then scheduled = text_of(scheduled) .. ','
  elseif task.due ~= scheduled then scheduled = text_of(scheduled) .. ',' .. text_of(task.due) end
  tell(task.id, fixed_of(task), scheduled, task.attempts, task.crashes, task.fence, task.first or 0, task.lane)
end

-- Takes the next ids of a lane, at most `most` and as many as its client and queue have room for, whose slots are
-- taken with them.
local function draw(number, most)
  local q = queue(number)
  local c, r = flows_of(number)
  most = math.min(most, q.length, room_of(c), room_of(r))
  local ids = {}
  for place = 1, most do
    ids[place] = pop_front(q)
    if not ids[place] then break end
  end
  if #ids > 0 then
    take_slots(c, #ids)
    take_slots(r, #ids)
  end
  return ids
end

-- Lanes that this claim comes no further with.
local stopped

-- Leases a task that has never been claimed, as most are; false for any other.
local function lease_plainly(number, id)
  if open_tasks[id] ~= nil or raw_states[id] ~= false then return false end
  local fixed = raw_fixed[id]
  local head, lane, age = (fixed or ''):match('^r((%d+),([%-%w]+)[^\n]*)\n')
  if lane ~= number or not no_host_held() then return false end
  write_plain(id, 'u' .. now_text .. ',' .. lease_text .. ',' .. head .. '\n' .. worker)
  count(number, 'r', 'u')
  span_add('l', LEASE_SPAN_MS, K.leases, id, now + lease_ms)
  local created = id_time(id) + text_span(age)
  local scheduled = head:match('^%d+,[%-%w]+,([%-%w]+)')
  if scheduled then
    local time = created + text_span(scheduled)
    -- One that was asked for in the past fell due when it was accepted.
    scheduled = time < created and text_of(time) .. ',' .. text_of(created) or time
  end
  tell(id, fixed, scheduled or created, 0, 0, now, 0, number)
  return true
end

-- Leases what was drawn from a lane; how many there were, and how many entries meant their tasks no longer. Those and
-- the tasks set aside give their slots back.
local function lease(number, ids)
  local got, stale = 0, 0
  for place, id in ipairs(ids) do
    local plain = lease_plainly(number, id)
    local task = not plain and load(id)
    local valid = task and task.state == 'r' and task.lane == number
    local held = valid and held_back(task)
    if plain then
      taken[#taken + 1] = id
      got = got + 1
    elseif held == 'stop' then
      stopped[number] = true
      for left = #ids, place, -1 do push_front(queue(number), ids[left]) end
      break
    elseif not valid then
      stale = stale + 1
    elseif not held then
      become(task, 'u')
      -- The time makes the fence grow even where a failover has lost the record of an earlier lease.
      local before = task.fence
      task.fence = math.max(before + 1, now)
      task.lease, task.worker = now + lease_ms, worker
      save(task)
      tell_of(task, before)
      taken[#taken + 1] = id
      got = got + 1
    end
  end
  if got < #ids then
    local c, r = flows_of(number)
    take_slots(c, got - #ids)
    take_slots(r, got - #ids)
  end
  return got, stale
end

-- How many turns each of these lanes gets of `turns`: as many as its queue's weight before any lane has a second round.
-- With it come the turns of all rounds each has begun, and the place of the first lane whose round is not over.
local function share_out(numbers, turns)
  local quotas, begun, left, total = {}, {}, turns, 0
  local weights = {}
  local first = nil
  for place, number in ipairs(numbers) do
    local _, r = flows_of(number)
    weights[place] = rules_of_queue(r.name).weight
    total = total + weights[place]
    local round = queue(number).credit or weights[place]
    quotas[place], begun[place] = math.min(round, left), round
    left = left - quotas[place]
    if quotas[place] < round then first = first or place end
  end
  if left == 0 then return quotas, begun, weights, first or #numbers + 1 end
  local rounds = math.floor(left / total)
  left = left % total
  local even = left == 0
  for place in ipairs(numbers) do
    local weight = weights[place]
    local extra = math.min(weight, left)
    left = left - extra
    quotas[place] = quotas[place] + rounds * weight + extra
    begun[place] = begun[place] + rounds * weight + (extra > 0 and weight or 0)
    if extra < weight and not even then first = first or place end
  end
  return quotas, begun, weights, first or #numbers + 1
end

local function append(list, values)
  for _, value in ipairs(values) do list[#list + 1] = value end
end

-- Takes up to `turns` tasks from these lanes, which have left where they stood. Returns how many it took, what is left
-- of the patience, and the lanes that go back: to the head those whose round is not over, last one first; to the end
-- the others. Patience is for entries that mean their tasks no longer, and for lanes that are held back.
local function take_lanes(numbers, turns, patience)
  preload_lanes(numbers)
  preload_flows(numbers)
  local quotas, begun, weights, first = share_out(numbers, turns)
  local drawn, all, gots = {}, {}, {}
  for place, number in ipairs(numbers) do
    drawn[place] = draw(number, quotas[place])
    append(all, drawn[place])
  end
  preload(all, true)
  local took = 0
  for place, number in ipairs(numbers) do
    local got, stale = lease(number, drawn[place])
    gots[place], took = got, took + got
    if stale > 0 or #drawn[place] == 0 then patience = patience - math.max(1, stale) end
    local rest = math.min(begun[place] - got, weights[place])
    local lane = queue(number)
    lane.credit, lane.dirty = rest > 0 and rest, true
  end
  local head, tail = {}, {}
  for place = #numbers, first, -1 do
    if end_turn(numbers[place], gots[place]) and not stopped[numbers[place]] then head[#head + 1] = numbers[place] end
  end
  for place = 1, first - 1 do
    if end_turn(numbers[place], gots[place]) and not stopped[numbers[place]] then
      -- Its round is over, or it had no more than that.
      queue(numbers[place]).credit = false
      tail[#tail + 1] = numbers[place]
    end
  end
  return took, patience, head, tail
end

-- Takes up to `turns` tasks from one ring: every lane has its turn before any has a second.
local function take_rank(rank, turns, patience)
  local ring = K.rings[rank]
  local left = turns
  while left > 0 and patience > 0 do
    local numbers = redis.call('LPOP', ring, left)
    if not numbers or #numbers == 0 then break end
    local took, head, tail
    took, patience, head, tail = take_lanes(numbers, left, patience)
    left = left - took
    call_in_chunks('LPUSH', ring, head)
    call_in_chunks('RPUSH', ring, tail)
  end
  return turns - left, patience
end

-- Takes up to `turns` tasks of one priority of a pull queue, whose lanes are parked with it.
local function pull_rank(f, rank, turns, patience)
  local left = turns
  while left > 0 and patience > 0 and f.of_rank[rank] > 0 and room_of(f) >= 1 do
    local numbers = {}
    for place = 1, math.min(left, f.of_rank[rank]) do
      numbers[place] = next_parked(f, rank)
      if not numbers[place] then break end
    end
    if #numbers == 0 then break end
    local took, head, tail
    took, patience, head, tail = take_lanes(numbers, left, patience)
    left = left - took
    for _, number in ipairs(head) do park(f, number, true) end
    for _, number in ipairs(tail) do park(f, number, false) end
  end
  return turns - left, patience
end

-- How many of the rings have lanes: one that is empty is not there.
local function filled_rings()
  return redis.call('EXISTS', K.rings[0], K.rings[1], K.rings[2], K.rings[3])
end

-- Those that most tasks are of first.
local RANKS_BY_USE = { 2, 1, 3, 0 }

local function active_ranks()
  local unfound, is_active = filled_rings(), {}
  for _, rank in ipairs(RANKS_BY_USE) do
    if unfound == 0 then break end
    if redis.call('EXISTS', K.rings[rank]) == 1 then is_active[rank], unfound = true, unfound - 1 end
  end
  local active = {}
  for rank = 0, 3 do
    if is_active[rank] then active[#active + 1] = rank end
  end
  return active
end

local turns, more

-- Ranks of a pull queue that have something to take.
local function pulled_ranks(f)
  local active = {}
  if room_of(f) < 1 then return active end
  for rank = 0, 3 do
    if f.of_rank[rank] > 0 then active[#active + 1] = rank end
  end
  return active
end

local function claim()
  more = promote(math.max(wanted * 2, 200))
  offer_freed()
  more = wake_parked() or more
  join_rings()
  local from = pulling and flow_of('q/' .. pulling, 'q', pulling)
  local left, patience = wanted, wanted * 10 + 1000
  local active = from and pulled_ranks(from) or active_ranks()
  while left > 0 and #active > 0 and patience > 0 do
    local dealt = #active == 1 and { [active[1]] = left } or deal(left, active, turns)
    for _, rank in ipairs(active) do
      local got
      if from then got, patience = pull_rank(from, rank, dealt[rank], patience)
      else got, patience = take_rank(rank, dealt[rank], patience) end
      left, turns = left - got, turns + got
    end
    -- Whoever has all that it wanted only wants to know whether there is more.
    if left > 0 then active = from and pulled_ranks(from) or active_ranks() end
  end
  if left == 0 then more = more or (from and #pulled_ranks(from) or filled_rings()) > 0
  else more = more or #active > 0 end
  -- Lanes that were left alone for now go back to where they stood.
  for number in pairs(stopped) do
    if queue(number).ringed == true then
      queue(number).ringed = false
      place_lane(number, true)
      more = true
    end
  end
end

-- The exchange -------------------------------------------------------------------------------------------

return run(function()
  expect('ttdddcdctc', 'ttt')
  local last_argument = 12 + 6 * tonumber(ARGV[12])
  if last_argument > #ARGV then error('there are fewer settlements than it says', 0) end
  for at = 13, last_argument, 6 do
    local fence, after = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3])
    if not (fence and after and fence >= 0 and fence <= 1e16 and after >= 0 and after <= 1e16) then
      error('a settlement has no fence, or no time', 0)
    end
  end
  for at = last_argument + 2, #ARGV, 3 do head_of(ARGV[at]:sub(ID + 1)) end
  worker, token = ARGV[3], ARGV[4]
  window, keep_succeeded, keep_dead = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  wanted, lease_ms = tonumber(ARGV[8]), tonumber(ARGV[9])
  pulling = ARGV[11] ~= '' and ARGV[11]
  turns, more = tonumber(ARGV[10]), false
  tasks, lanes_told, taken, stopped, texts = {}, {}, {}, {}, {}
  now_text, lease_text = text_of(now), text_of(now + lease_ms)

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
        tell_of(task, task.fence)
      end
    end
    settled = { last[3] }
    more = true
  else
    local ids = {}
    for at = 13, last_argument, 6 do ids[#ids + 1] = ARGV[at] end
    -- Whoever settles has had a lease.
    if #ids == 0 then find_times(K.due, K.later, K.wakes, K.leases) else find_times(K.due, K.later, K.wakes) end
    preload(ids, false)
    preload_uses(ids)
    for at = 13, last_argument, 6 do
      settled[#settled + 1] = settle(
        ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5])
    end
    for at = last_argument + 1, #ARGV, 3 do
      -- Tasks follow from a settlement that was believed: never one without the other.
      if settled[tonumber(ARGV[at])] == 's' then
        local head = head_of(ARGV[at + 1]:sub(ID + 1))
        local holder = head.scopes and name_holder(head.scopes)
        if not holder then
          accept(ARGV[at + 1]:sub(1, ID), head, ARGV[at + 2])
          register_unknown(head)
        end
      end
    end
    write_accepted()
    if wanted > 0 then claim() end
    if token ~= '' and wanted > 0 and (#settled > 0 or #taken > 0) then
      redis.call('HSET', K.claims, worker, cmsgpack.pack({ token, taken, table.concat(settled) }))
    end
  end

  local next = more and 0 or next_in()
  local lane_list = {}
  for number in pairs(lanes_told) do
    lane_list[#lane_list + 1] = number
    lane_list[#lane_list + 1] = lane_name(number)
    local c, q = flows_of(number)
    lane_list[#lane_list + 1] = rules_of_queue(q.name).rules
    lane_list[#lane_list + 1] = limits_of_client(c.name).rules
  end
  commit()
  -- Whoever settles without claiming leaves what it gave back to the others, and so does who brings back more lanes
  -- than it has turns for, or leaves tasks that follow from others.
  if (wanted == 0 and #settled > 0) or ((woken > 0 or sooner) and more) then redis.call('PUBLISH', channel, 'work') end
  return { table.concat(settled), tostring(next), tostring(turns), tasks, lane_list, tostring(now), tostring(first_time(K.leases) or -1), probes }
end)
