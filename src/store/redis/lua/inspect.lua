-- Looks a part of the store through for what must never be in it.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] part, ARGV[4] where to begin (empty: its start), ARGV[5] records to look at, about,
--   ARGV[6] "1" to mend what can be mended without a doubt, ARGV[7] and ARGV[8] retention of succeeded and dead tasks,
--   ARGV[9] milliseconds that a name stays taken, then what the part asks for.
-- Returns { where to go on (empty: the part is done); records looked at; things left out; for each violation four: kind,
--   subject, detail, "1" when it was mended; then what the part answers }.
-- Without "1" nothing is written. What is found is so at the instant of this command; see also core/inspection.ts.
expect('ttcfddd', 't')
local part, begin, limit, mending = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1'
local keep_succeeded, keep_dead, window = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])

local parts = {}
local next_place, looked, skipped, found, answer = '', 0, 0, {}, {}

-- A block of its own: Lua allows two hundred names at once.
do
  -- Tells of something broken; `mend`, where given, is called where it is to be mended.
  local function report(kind, subject, detail, mend)
    local mended = mending and mend ~= nil
    if mended then mend() end
    local n = #found
    found[n + 1], found[n + 2], found[n + 3], found[n + 4] = kind, subject, detail, mended and '1' or ''
  end

  -- Packed queues as sets ----------------------------------------------------------------------------------

  -- Longer ones are not looked through: not at once, for that takes too long, and not by and by, for they change.
  local LONGEST = 4096
  -- Ids looked through by one command.
  local ids_left = limit * 20
  local sets = {}

  -- Which ids stand in a packed queue, how often each; nil for one that is too long.
  local function standing_in(name)
    local known = sets[name]
    if known ~= nil then return known or nil end
    local q = queue(name)
    if q.length > LONGEST or q.length > ids_left then
      sets[name] = false
      return nil
    end
    ids_left = ids_left - q.length
    local set, left, offset = {}, q.length, q.offset
    for segment = q.head, q.tail do
      local ids = left > 0 and redis.call('HGET', K.queues, name .. ':' .. segment) or ''
      for at = offset * ID + 1, #ids, ID do
        local id = ids:sub(at, at + ID - 1)
        set[id] = (set[id] or 0) + 1
        left = left - 1
      end
      offset = 0
    end
    sets[name] = set
    return set
  end

  local function stands_in(name, id)
    local set = standing_in(name)
    return set == nil or set[id] ~= nil
  end

  local function stands_in_span(kind, width, index, id, time)
    local span = math.floor(time / width)
    local first = redis.call('ZSCORE', index, span)
    return first and tonumber(first) <= time and stands_in(kind .. span, id)
  end

  -- A task that means a span is noticed again when its time comes.
  local function rejoin_span(kind, width, index, id, time)
    local span = math.floor(time / width)
    local set = standing_in(kind .. span)
    if set and set[id] then
      redis.call('ZADD', index, 'LT', time, span)
      first_times[index] = nil
    else
      span_add(kind, width, index, id, time)
    end
  end

  -- Rings longer than this are not looked through.
  local LONGEST_RING = limit * 20
  local rings = {}

  -- How often each lane stands in a ring; nil for one that is too long.
  local function ring_of(rank)
    if rings[rank] == nil then
      rings[rank] = false
      if redis.call('LLEN', K.rings[rank]) <= LONGEST_RING then
        local times = {}
        for _, number in ipairs(redis.call('LRANGE', K.rings[rank], 0, -1)) do times[number] = (times[number] or 0) + 1 end
        rings[rank] = times
      end
    end
    return rings[rank] or nil
  end

  -- Tasks --------------------------------------------------------------------------------------------------

  local KNOWN = { s = true, r = true, h = true, b = true, u = true, t = true, k = true, d = true, c = true }
  -- States in which a task has its ordering key.
  local HAS_KEY = { r = true, u = true, t = true, b = true }
  local WORDS = { s = 'scheduled', r = 'ready', h = 'held', b = 'set aside', u = 'running', t = 'retrying', k = 'succeeded',
    d = 'dead', c = 'cancelled' }

  -- Takes a task apart; nil and why where it cannot be, nil alone where there is none.
  local function try_load(id)
    local ok, task = pcall(load, id)
    if not ok then return nil, 'its record cannot be read' end
    if not task then return nil end
    if not KNOWN[task.state] then return nil, 'no state has the letter ' .. tostring(task.state) end
    local numbers = type(task.created) == 'number' and type(task.scheduled) == 'number' and type(task.due) == 'number'
      and type(task.fence) == 'number'
    if not numbers then return nil, 'its record lacks a number' end
    if type(task.lane) ~= 'string' or not lane_name(task.lane) then return nil, 'its lane is missing' end
    local fixed = task.fixed or (redis.call('HSTRLEN', K.tasks, id) <= 8192 and redis.call('HGET', K.tasks, id))
    if fixed == false and redis.call('HEXISTS', K.tasks, id) == 0 then return nil, 'what it is is missing' end
    if fixed and not fixed:find('\n%["[^\n]*%]\n') then return nil, 'what it is cannot be read' end
    return task
  end

  -- What a task that cannot be read is, and with it whatever goes with its state, is left to people.
  local function check_lease(task)
    local id = task.id
    if task.state == 'u' and not task.lease then
      report('running_without_lease', id, 'it runs and has no lease', function()
        -- One that has run out: then it is taken back as that of a dead worker is.
        task.lease, task.worker = now, task.worker or ''
        occupy(task)
        save(task)
      end)
    elseif task.lease and task.state ~= 'u' and task.state ~= 'c' then
      report('orphan_lease', id, 'it is ' .. WORDS[task.state] .. ' and has a lease', function()
        vacate(task)
        task.lease, task.worker = false, false
        save(task)
      end)
    elseif task.lease and not stands_in_span('l', LEASE_SPAN_MS, K.leases, id, task.lease) then
      report('running_without_lease', id, 'nobody would notice the end of its lease', function()
        rejoin_span('l', LEASE_SPAN_MS, K.leases, id, task.lease)
      end)
    end
  end

  local function check_end(task)
    local id = task.id
    if not FINAL[task.state] then
      if task.expires then
        report('wrong_retention', id, 'it is ' .. WORDS[task.state] .. ' and is marked to be removed', function()
          task.expires = false
          save(task)
        end)
      end
    elseif not task.lease then
      if not task.expires then
        report('wrong_retention', id, 'it is ' .. WORDS[task.state] .. ', and nothing says until when it is kept', function()
          local _, q = flows_of(task.lane)
          local rules = rules_of_queue(q.name)
          local kept = task.state == 'd' and (rules.keep_dead or keep_dead) or (rules.keep_succeeded or keep_succeeded)
          task.expires = now + (task.retention or kept)
          save(task)
        end)
      elseif not stands_in_span('e', EXPIRY_SPAN_MS, K.expiry, id, task.expires) then
        report('wrong_retention', id, 'nobody would notice the end of its retention', function()
          rejoin_span('e', EXPIRY_SPAN_MS, K.expiry, id, task.expires)
        end)
      end
    end
  end

  -- Past so many held hosts it is not asked for which of them a task is set aside.
  local MANY_HOSTS = 100
  local asides = nil

  local function stands_aside(id)
    if asides == nil then
      asides = {}
      for _, member in ipairs(redis.call('ZRANGE', K.wakes, 0, -1)) do
        if member:sub(1, 2) == 'h/' then asides[#asides + 1] = 'x' .. member:sub(3) end
      end
    end
    if #asides > MANY_HOSTS then return true end
    for _, name in ipairs(asides) do
      if stands_in(name, id) then return true end
    end
    return false
  end

  local function check_wait(task)
    local id, state = task.id, task.state
    if state == 's' or state == 't' then
      local due = redis.call('ZSCORE', K.due, id)
      local waits = due and tonumber(due) == task.due
      if not due then waits = stands_in_span('b', SPAN_MS, K.later, id, task.due) end
      if not waits then
        report('unscheduled', id, 'it is ' .. WORDS[state] .. ', and nobody would notice that it is due', function()
          -- One that is due soon is put where due tasks are looked for.
          if math.floor(task.due / SPAN_MS) * SPAN_MS - now < SPAN_MS then wait_until_due(id, task.due)
          else rejoin_span('b', SPAN_MS, K.later, id, task.due) end
        end)
      end
    elseif state == 'r' and not stands_in(task.lane, id) then
      report('lost_place', id, 'it is ready and does not stand in its lane', function() push_back(queue(task.lane), id) end)
    elseif state == 'b' and not stands_aside(id) then
      report('lost_place', id, 'it is set aside for a host that is not known', function()
        become(task, 'r')
        save_waiting(task)
        push_back(queue(task.lane), id)
      end)
    end
  end

  local function check_key(task)
    local id, state, key = task.id, task.state, task.ordering
    if not key then
      if state == 'h' then report('lost_order', id, 'it waits for an ordering key and has none') end
      return
    end
    local ok, o = pcall(ordering_of, key)
    -- A key that cannot be read is found where keys are looked at.
    if not ok then return end
    if state == 'h' then
      if o.live <= 0 then
        report('lost_order', id, 'it waits for an ordering key that is not there')
      elseif o.holder == id then
        report('lost_order', id, 'it waits for the ordering key that it holds', function()
          become(task, 'r')
          save_waiting(task)
          push_back(queue(task.lane), id)
        end)
      elseif not stands_in('o' .. key, id) then
        report('lost_order', id, 'it waits for its ordering key and does not stand in line for it', function()
          push_back(queue('o' .. key), id)
        end)
      end
    elseif HAS_KEY[state] and o.holder ~= id then
      report('lost_order', id, 'it is ' .. WORDS[state] .. ' and does not hold its ordering key', not o.holder and function()
        o.holder = id
        save_ordering(key, o)
      end or nil)
    end
  end

  -- Counts by group and state, for comparison: how many there are, and a sum that changes when one of them does.
  local groups, tallied = {}, {}
  local function tally(group, state, print)
    local states = groups[group]
    if not states then
      states = {}
      groups[group] = states
      tallied[#tallied + 1] = group
    end
    local t = states[state]
    if not t then
      t = { n = 0, print = 0 }
      states[state] = t
    end
    t.n, t.print = t.n + 1, (t.print + print) % 4503599627370449
  end

  local function tally_task(task)
    local print = task.fence * 7 + task.due * 3 + task.created * 5 + task.releases + task.attempts
    tally('all', 'n', print)
    tally(task.lane, task.state, print)
    if task.ordering then
      local ok, o = pcall(ordering_of, task.ordering)
      if ok and (not FINAL[task.state] or task.lease or o.holder == task.id) then tally('o' .. task.ordering, 'n', print) end
    end
  end

  local function answer_tallies()
    for _, group in ipairs(tallied) do
      for state, t in pairs(groups[group]) do
        local n = #answer
        answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] =
          group, state, tostring(t.n), string.format('%.0f', t.print)
      end
    end
  end

  -- The ids that the log has from `place` on, up to `upto` and about `most`; and where that ends. One that was dropped at
  -- once and handed in again stands there twice.
  local function logged_ids(place, upto, most)
    local ids, seen, known = {}, 0, {}
    place = math.max(place, tonumber(redis.call('HGET', K.meta, 'log_first') or '0') * SEGMENT)
    while place < upto and seen < most do
      local segment = math.floor(place / SEGMENT)
      local stop = math.min((segment + 1) * SEGMENT, upto)
      local packed = redis.call('HGET', K.log, segment)
      for at = place, packed and stop - 1 or place - 1 do
        local offset = (at - segment * SEGMENT) * ID
        local id = packed:sub(offset + 1, offset + ID)
        if #id == ID and id:sub(1, 1) ~= '-' and not known[id] then
          ids[#ids + 1] = id
          known[id] = true
        end
      end
      seen = seen + (packed and stop - place or 1)
      place = stop
    end
    return ids, place, seen
  end

  -- ARGV[10] the place in the log to end before, ARGV[11] "1" to count only. Answers for each group and state four:
  -- group, state, number, print.
  parts.tasks = function()
    local upto = tonumber(ARGV[10])
    local ids, place
    ids, place, looked = logged_ids(tonumber(begin) or 0, upto, limit)
    preload(ids, false)
    for _, id in ipairs(ids) do
      local task, why = try_load(id)
      if task then
        -- Before it is mended.
        tally_task(task)
        if ARGV[11] ~= '1' then
          check_lease(task)
          check_end(task)
          check_wait(task)
          check_key(task)
        end
      elseif why and ARGV[11] ~= '1' then
        report('unreadable_record', id, why)
      end
    end
    if place < upto then next_place = tostring(place) end
    answer_tallies()
  end

  -- ARGV[10] a lane's number. Answers its name.
  parts.lane_name = function()
    answer = { lane_name(ARGV[10]) or nil }
  end

  -- Answers where the log begins and ends.
  parts.extent = function()
    local first = tonumber(redis.call('HGET', K.meta, 'log_first') or '0') * SEGMENT
    answer = { tostring(first), redis.call('HGET', K.meta, 'accepted') or '0' }
  end

  -- Counters against what was counted -----------------------------------------------------------------------

  local STATES = { 's', 'r', 'h', 'b', 'u', 't', 'k', 'd', 'c' }

  local function counters_of(group)
    if group == 'all' then return { n = redis.call('HLEN', K.tasks) } end
    if group:sub(1, 1) == 'o' then
      local ok, o = pcall(ordering_of, group:sub(2))
      return { n = ok and o.live or 0 }
    end
    local fields, counts = {}, {}
    for place, state in ipairs(STATES) do fields[place] = state .. group end
    for place, n in ipairs(redis.call('HMGET', K.counts, unpack(fields))) do counts[STATES[place]] = tonumber(n or '0') end
    return counts
  end

  -- ARGV[10] the place in the log from which tasks were not counted yet, then the groups. Answers for each group and
  -- state four: group, state, the counter, how many of those tasks; "?" alone where these are too many.
  parts.counters = function()
    local accepted = tonumber(redis.call('HGET', K.meta, 'accepted') or '0')
    local from = tonumber(ARGV[10])
    if accepted - from > limit * 10 then
      answer = { '?' }
      return
    end
    local ids = logged_ids(from, accepted, limit * 10 + SEGMENT)
    preload(ids, false)
    for _, id in ipairs(ids) do
      local task = try_load(id)
      if task then tally_task(task) end
    end
    for at = 11, #ARGV do
      local group = ARGV[at]
      local late = groups[group] or {}
      for state, n in pairs(counters_of(group)) do
        local m = #answer
        answer[m + 1], answer[m + 2], answer[m + 3], answer[m + 4] =
          group, state, tostring(n), tostring(late[state] and late[state].n or 0)
      end
    end
  end

  -- ARGV[10] group, then for each state three: its letter, what its counter was found to be, and what it is to be. Answers
  -- "1" when the counters were still the same and were set.
  parts.recount = function()
    local group = ARGV[10]
    local counts = counters_of(group)
    for at = 11, #ARGV, 3 do
      if (counts[ARGV[at]] or 0) ~= tonumber(ARGV[at + 1]) or not tonumber(ARGV[at + 2]) then return end
    end
    for at = 11, #ARGV, 3 do
      local state, right = ARGV[at], tonumber(ARGV[at + 2])
      if group:sub(1, 1) == 'o' then
        local o = ordering_of(group:sub(2))
        o.live = right
        save_ordering(group:sub(2), o)
      elseif right == 0 then
        redis.call('HDEL', K.counts, state .. group)
      else
        redis.call('HSET', K.counts, state .. group, string.format('%.0f', right))
      end
    end
    answer = { '1' }
  end

  -- Walks over keys -----------------------------------------------------------------------------------------

  local function scan(command, key, most, visit)
    local reply = redis.call(command, key, begin == '' and '0' or begin, 'COUNT', most)
    for at = 1, #reply[2], 2 do visit(reply[2][at], reply[2][at + 1]) end
    looked = looked + #reply[2] / 2
    if reply[1] ~= '0' then next_place = reply[1] end
  end

  -- Changing parts may be long.
  parts.states = function()
    scan('HSCAN', K.state, math.ceil(limit / 4), function(id)
      if redis.call('HEXISTS', K.tasks, id) == 0 then
        report('orphan_record', id, 'the state of a task, without the task', function()
          redis.call('HDEL', K.state, id)
          open_tasks[id] = nil
        end)
      end
    end)
  end

  parts.due = function()
    scan('ZSCAN', K.due, limit, function(id, score)
      local task, why = try_load(id)
      if why then return end
      local waits = task and (task.state == 's' or task.state == 't') and task.due == tonumber(score)
      if not waits then
        report('stale_schedule', id, task and 'it does not wait for that time' or 'it is not there', function()
          remove_time(K.due, id)
        end)
      end
    end)
  end

  -- Tasks that mean their place in a span.
  local function span_part(kind, width, index, means)
    scan('ZSCAN', index, math.ceil(limit / 64), function(name)
      local q, span = queue(kind .. name), tonumber(name)
      local set = standing_in(kind .. name)
      if not set then
        skipped = skipped + 1
        return
      end
      local there, ids = 0, {}
      for id in pairs(set) do ids[#ids + 1] = id end
      for from = 1, #ids, CHUNK do preload({ unpack(ids, from, math.min(from + CHUNK - 1, #ids)) }, false) end
      for _, id in ipairs(ids) do
        local task = try_load(id)
        if task and means(task, span) then there = there + 1 end
      end
      if q.live ~= there then
        local detail = 'it counts ' .. q.live .. ' tasks and has ' .. there
        report('wrong_index', kind .. name, detail, function()
          q.live, q.dirty = there, true
          if there == 0 then close_span(q, index, name) end
        end)
      end
    end)
  end

  parts.later = function()
    span_part('b', SPAN_MS, K.later, function(task, span)
      if (task.state ~= 's' and task.state ~= 't') or math.floor(task.due / SPAN_MS) ~= span then return false end
      return not redis.call('ZSCORE', K.due, task.id)
    end)
  end

  parts.leases = function()
    span_part('l', LEASE_SPAN_MS, K.leases, function(task, span)
      return task.lease and math.floor(task.lease / LEASE_SPAN_MS) == span
    end)
  end

  parts.expiry = function()
    span_part('e', EXPIRY_SPAN_MS, K.expiry, function(task, span)
      return task.expires and math.floor(task.expires / EXPIRY_SPAN_MS) == span
    end)
  end

  parts.names = function()
    scan('HSCAN', K.names, limit, function(scope, value)
      local id = value:sub(1, ID)
      if #value > ID then
        local until_ms = tonumber(value:sub(ID + 2))
        local swept = redis.call('ZSCORE', K.names_until, scope)
        if until_ms and not swept then
          report('dangling_name', scope, 'it is free from some time on, and nobody would notice', function()
            redis.call('ZADD', K.names_until, until_ms, scope)
          end)
        end
        return
      end
      local task, why = try_load(id)
      if why then return end
      if not task then
        report('dangling_name', scope, 'its task ' .. id .. ' is not there', function()
          redis.call('HDEL', K.names, scope)
          redis.call('ZREM', K.names_until, scope)
        end)
      elseif FINAL[task.state] then
        report('dangling_name', scope, 'its task ' .. id .. ' is over, and it is kept for ever', function()
          redis.call('HSET', K.names, scope, id .. ' ' .. (now + window))
          redis.call('ZADD', K.names_until, now + window, scope)
        end)
      end
    end)
  end

  local function waits_for_key(key)
    for id in pairs(standing_in('o' .. key) or {}) do
      local task = try_load(id)
      if task and task.state == 'h' and task.ordering == key then return true end
    end
    return false
  end

  -- Gives a key to the next in line, from whoever is written down as its holder.
  local function hand_over(key, o, from)
    o.holder = from
    yield_key({ id = from, ordering = key }, o)
    save_ordering(key, o)
  end

  -- Answers the groups whose counters are to be compared whether or not a task is counted in them.
  parts.orderings = function()
    scan('HSCAN', K.orderings, limit, function(key, raw)
      local ok, o = pcall(ordering_of, key)
      if not ok or type(o.live) ~= 'number' then
        report('unreadable_record', 'key ' .. key, 'its record cannot be read')
        return
      end
      answer[#answer + 1] = 'o' .. key
      if not o.holder then
        -- All tasks were looked at before: none that has its turn already is without the key any more where it is mended.
        if waits_for_key(key) then
          report('lost_order', 'key ' .. key, 'tasks wait for it and nobody has it', function() hand_over(key, o, '') end)
        end
        return
      end
      local task, why = try_load(o.holder)
      if why then return end
      local problem = nil
      if not task then problem = 'the task that holds it is not there'
      elseif task.ordering ~= key then problem = 'it is held by a task of another key'
      elseif (task.state == 'k' or task.state == 'c') and not task.lease then
        problem = 'the task that holds it is ' .. WORDS[task.state]
      end
      if problem then
        report('stale_holder', 'key ' .. key, problem, function() hand_over(key, o, o.holder) end)
      end
    end)
  end

  -- Lanes --------------------------------------------------------------------------------------------------

  local function is_parked(number)
    local rank, entry = lane_rank(number), number .. PAD:sub(#number + 1)
    local c, q = flows_of(number)
    return stands_in('p' .. rank .. c.field, entry) or stands_in('p' .. rank .. q.field, entry)
  end

  -- Answers the lanes, as `orderings` does.
  parts.lanes = function()
    local last = tonumber(redis.call('HGET', K.meta, 'lanes') or '0')
    local from = (tonumber(begin) or 0) + 1
    local upto = math.min(last, from + limit - 1)
    local numbers = {}
    for number = from, upto do numbers[#numbers + 1] = tostring(number) end
    preload_lanes(numbers)
    for _, number in ipairs(numbers) do
      local lane, name = queue(number), lane_name(number)
      looked = looked + 1
      if not name then
        if lane.length > 0 then report('unreadable_record', 'lane ' .. number, 'its name is missing') end
      else
        answer[#answer + 1] = number
        local ready = tonumber(redis.call('HGET', K.counts, 'r' .. number) or '0')
        if lane.length > LONGEST and ready > lane.length then
          report('lost_place', name, ready .. ' tasks are ready and ' .. lane.length .. ' stand in it')
        end
        if not lane.ringed then
          if lane.length > 0 then
            report('lost_lane', name, 'it has ready tasks and is in no ring', function() place_lane(number, true) end)
          end
        elseif lane.ringed == PARKED then
          if not is_parked(number) then
            report('lost_lane', name, 'it is said to wait for room and does not', function()
              lane.ringed = false
              place_lane(number, true)
            end)
          end
        else
          local ring = ring_of(lane_rank(number))
          if ring and not ring[number] then
            report('lost_lane', name, 'it is said to be in its ring and is not', function() place_lane(number, true) end)
          end
        end
      end
    end
    if upto < last then next_place = tostring(upto) end
  end

  -- Begins at "rank:place".
  parts.rings = function()
    local rank, place = begin:match('^(%d):(%d+)$')
    rank, place = tonumber(rank or 0), tonumber(place or 0)
    local ring = ring_of(rank)
    local numbers = redis.call('LRANGE', K.rings[rank], place, place + limit - 1)
    preload_lanes(numbers)
    local seen = {}
    for _, number in ipairs(numbers) do
      looked = looked + 1
      local name, lane = lane_name(number), queue(number)
      local times = ring and ring[number] or 1
      if not seen[number] then
        if not name or lane_rank(number) ~= rank or not lane.ringed or lane.ringed == PARKED then
          report('stray_lane', name or 'lane ' .. number, 'it is in a ring that it does not belong to', function()
            redis.call('LREM', K.rings[rank], 0, number)
          end)
        elseif times > 1 then
          report('stray_lane', name, 'it is in its ring ' .. times .. ' times', function()
            redis.call('LREM', K.rings[rank], 1 - times, number)
          end)
        end
      end
      seen[number] = true
    end
    if #numbers == limit then next_place = rank .. ':' .. place + limit
    elseif rank < 3 then next_place = (rank + 1) .. ':0' end
  end

  -- Use ----------------------------------------------------------------------------------------------------

  -- Leases by client and queue, all counted at once; nil where they are too many for that.
  local function leases_by_flow()
    local ids, used = {}, {}
    for _, span in ipairs(redis.call('ZRANGE', K.leases, 0, -1)) do
      local set = standing_in('l' .. span)
      if not set then return nil end
      for id in pairs(set) do ids[#ids + 1] = id end
      if #ids > limit * 10 then return nil end
    end
    local counted = {}
    for from = 1, #ids, CHUNK do preload({ unpack(ids, from, math.min(from + CHUNK - 1, #ids)) }, false) end
    for _, id in ipairs(ids) do
      local task = not counted[id] and try_load(id)
      counted[id] = true
      if task and task.lease then
        local c, q = flows_of(task.lane)
        used[c.field], used[q.field] = (used[c.field] or 0) + 1, (used[q.field] or 0) + 1
      end
    end
    return used
  end

  -- A ring longer than this is not asked whose lanes are in it.
  local LONGEST_ASKED = math.min(2000, limit * 5)
  local in_ring = nil

  -- Whether one of a client's or a queue's lanes is in a ring; true where that takes too long to tell.
  local function is_in_ring(f)
    if in_ring == nil then
      in_ring = {}
      for rank = 0, 3 do
        if redis.call('LLEN', K.rings[rank]) > LONGEST_ASKED then
          in_ring = false
          break
        end
        for number in pairs(ring_of(rank) or {}) do
          if lane_name(number) then
            local c, q = flows_of(number)
            in_ring[c.field], in_ring[q.field] = true, true
          end
        end
      end
    end
    return in_ring == false or in_ring[f.field]
  end

  -- Lanes wait for it that nobody is going to let go on.
  local function is_stuck(f)
    if f.parked <= 0 or (f.kind == 'q' and rules_of_queue(f.name).pull) or room_of(f) < 1 then return false end
    local wake = tonumber(redis.call('ZSCORE', K.wakes, f.field) or nil)
    -- Whoever claims looks at it when that time has come.
    if wake and wake < math.huge then return false end
    return not is_in_ring(f)
  end

  local NAMES = { c = 'client ', q = 'queue ' }

  local function check_flow(f, used)
    local name = NAMES[f.kind] .. f.name
    local there = used and (used[f.field] or 0)
    if there and there ~= f.running then
      report('wrong_slots', name, 'it counts ' .. f.running .. ' running and has ' .. there .. ' leases', function()
        f.freed = f.freed + math.max(0, math.min(f.running - there, MAX_WOKEN))
        f.running, f.dirty = there, true
      end)
    end
    for rank = 0, 3 do
      local length = queue('p' .. rank .. f.field).length
      if f.of_rank[rank] ~= length then
        local detail = 'it counts ' .. f.of_rank[rank] .. ' waiting lanes of a priority and there are ' .. length
        report('wrong_parked', name, detail, function()
          f.parked = f.parked + length - f.of_rank[rank]
          f.of_rank[rank], f.dirty = length, true
          if f.parked > 0 then redis.call('ZADD', K.wakes, now, f.field) end
        end)
      end
    end
    if is_stuck(f) then
      report('stuck_lane', name, 'it has room, lanes wait for it and none is in a ring', function()
        redis.call('ZADD', K.wakes, now, f.field)
      end)
    end
  end

  parts.flows = function()
    local used = leases_by_flow()
    if not used then skipped = skipped + 1 end
    local checked = {}
    scan('HSCAN', K.flows, limit, function(field, raw)
      local kind = field:sub(1, 1)
      if (kind ~= 'c' and kind ~= 'q') or field:sub(2, 2) ~= '/' then return end
      local ok, f = pcall(function() return flows[field] or open_flow(field, kind, field:sub(3), raw) end)
      if not ok or type(f.running) ~= 'number' then
        flows[field] = nil
        report('unreadable_record', NAMES[kind] .. field:sub(3), 'its use cannot be read')
        return
      end
      checked[field] = true
      check_flow(f, used)
    end)
    -- Those that use something are to have a record of it.
    if begin == '' then
      for field in pairs(used or {}) do
        local f = flow_of(field, field:sub(1, 1), field:sub(3))
        if not checked[field] and f.was == UNUSED then check_flow(f, used) end
      end
    end
  end

  parts.settings = function()
    scan('HSCAN', K.limits, limit, function(field, packed)
      if not pcall(cmsgpack.unpack, packed) or redis.call('HEXISTS', K.settings, field) == 0 then
        report('unreadable_record', field, 'its settings cannot be read')
      end
    end)
  end
end

parts[part]()
if mending and #found > 0 then commit() end
return { next_place, tostring(looked), tostring(skipped), found, answer }
