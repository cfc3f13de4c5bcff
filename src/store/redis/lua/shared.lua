-- What the commands share: packed queues, spans of time, lanes, counters, the two halves of a task, waiting and ends.
-- Put behind base.lua; a command ends with `commit()`.

-- What the parts of a command have to do before it is written; each in its turn.
local before_commit = {}

-- Packed queues ------------------------------------------------------------------------------------------

local open_queues
-- Fields of the packed queues that go with commit(): many of them in one call.
local leaving
per_call(function() open_queues, leaving = {}, {} end)

local function set_segment(field, ids)
  leaving[field] = nil
  redis.call('HSET', K.queues, field, ids)
end

local function open_queue(name, raw)
  local q
  if raw then
    local m = cmsgpack.unpack(raw)
    q = { name = name, head = m[1], offset = m[2], tail = m[3], length = m[4], ringed = m[5], live = m[6], credit = m[7], added = {} }
  else
    q = { name = name, head = 0, offset = 0, tail = 0, length = 0, ringed = false, live = 0, credit = false, added = {} }
  end
  open_queues[name] = q
  return q
end

local function queue(name)
  return open_queues[name] or open_queue(name, redis.call('HGET', K.queues, 'm' .. name))
end

local function push_back(q, id)
  q.added[#q.added + 1] = id
  q.length = q.length + 1
  q.dirty = true
end

-- Writes what was pushed: the last segment is filled up, then new ones begin. With `fields` they are put there, to be
-- written with others; `last` is the last segment, where it has been read.
local function write_added(q, fields, last)
  local added = q.added
  if #added == 0 then return end
  local at = 1
  while at <= #added do
    local field = q.name .. ':' .. q.tail
    local old = last or not leaving[field] and redis.call('HGET', K.queues, field) or ''
    last = nil
    local room = SEGMENT - #old / ID
    if room <= 0 then
      q.tail = q.tail + 1
      last = ''
    else
      local upto = math.min(at + room - 1, #added)
      local ids = old .. table.concat(added, '', at, upto)
      if fields then
        leaving[field] = nil
        fields[#fields + 1], fields[#fields + 2] = field, ids
      else
        set_segment(field, ids)
      end
      at = upto + 1
      if at <= #added then
        q.tail = q.tail + 1
        last = ''
      end
    end
  end
  q.added = {}
  q.head_ids = nil
end

local function push_front(q, id)
  write_added(q)
  q.head_ids = nil
  q.length = q.length + 1
  q.dirty = true
  if q.offset > 0 then
    local field = q.name .. ':' .. q.head
    local ids = redis.call('HGET', K.queues, field)
    q.offset = q.offset - 1
    set_segment(field, ids:sub(1, q.offset * ID) .. id .. ids:sub((q.offset + 1) * ID + 1))
  else
    q.head = q.head - 1
    set_segment(q.name .. ':' .. q.head, id)
  end
end

-- The next id, or nil.
local function pop_front(q)
  if q.length == 0 then return nil end
  if #q.added > 0 then write_added(q) end
  while true do
    if not q.head_ids then q.head_ids = redis.call('HGET', K.queues, q.name .. ':' .. q.head) or '' end
    if q.offset * ID < #q.head_ids then break end
    leaving[q.name .. ':' .. q.head] = true
    if q.head >= q.tail then
      -- The length promised more than there is; nothing is left, whatever it says.
      q.length, q.offset, q.head_ids, q.dirty = 0, 0, nil, true
      return nil
    end
    q.head, q.offset, q.head_ids = q.head + 1, 0, nil
  end
  local id = q.head_ids:sub(q.offset * ID + 1, (q.offset + 1) * ID)
  q.offset = q.offset + 1
  q.length = q.length - 1
  q.dirty = true
  if q.length == 0 then
    leaving[q.name .. ':' .. q.head] = true
    q.head, q.offset, q.tail, q.head_ids = q.tail + 1, 0, q.tail + 1, nil
  end
  return id
end

-- Forgets all that is in it.
local function clear(q)
  for segment = q.head, q.tail do redis.call('HDEL', K.queues, q.name .. ':' .. segment) end
  q.head, q.tail, q.offset, q.length, q.live = q.tail + 1, q.tail + 1, 0, 0, 0
  q.added, q.head_ids, q.dirty = {}, nil, true
end

-- The first time in a sorted set whose scores are times, or nil. Remembered until the set may have lost it.
local first_times
per_call(function() first_times = {} end)
local function first_time(index)
  local known = first_times[index]
  if known == nil then
    local head = redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')
    known = head[2] and tonumber(head[2]) or false
    first_times[index] = known
  end
  return known or nil
end

-- Finds out in one look that none of these has a time, which is how it mostly is.
local function find_times(...)
  if redis.call('EXISTS', ...) > 0 then return end
  for _, index in ipairs({ ... }) do first_times[index] = false end
end

local function knows_time(index, time)
  local known = first_times[index]
  if known ~= nil and (not known or time < known) then first_times[index] = time end
end

local function remove_time(index, member)
  first_times[index] = nil
  return redis.call('ZREM', index, member) == 1
end

-- Spans --------------------------------------------------------------------------------------------------
-- What happens at some time stands in the packed queue of its span of time: a tenth of a sorted set's memory and
-- time. A queue counts those that still mean it: whoever means it no longer leaves its place behind.

-- Queues of spans by their number: making a name out of a number costs more than all else here.
local open_spans
per_call(function() open_spans = { b = {}, l = {}, e = {} } end)

local function span_queue(kind, span)
  local known = open_spans[kind]
  local q = known[span]
  if not q then
    q = queue(kind .. span)
    known[span] = q
  end
  return q
end

local function span_add(kind, width, index, id, time)
  local span = math.floor(time / width)
  local q = span_queue(kind, span)
  if not q.first or time < q.first then
    q.first = time
    redis.call('ZADD', index, 'LT', time, span)
    knows_time(index, time)
  end
  push_back(q, id)
  q.live = q.live + 1
end

local function close_span(q, index, span)
  clear(q)
  remove_time(index, span)
  q.first = nil
end

local function span_remove(kind, width, index, time)
  local span = math.floor(time / width)
  local q = span_queue(kind, span)
  if q.length == 0 then return end
  q.live = q.live - 1
  q.dirty = true
  if q.live <= 0 then close_span(q, index, span) end
end

-- Lanes --------------------------------------------------------------------------------------------------

local lane_numbers, lane_names
per_call(function() lane_numbers, lane_names = {}, {} end)

-- The number of the lane "rank/queue/client", made when there is none.
local function lane_number(name)
  local number = lane_numbers[name]
  if number then return number end
  number = redis.call('HGET', K.lanes, name)
  if not number then
    number = tostring(redis.call('HINCRBY', K.meta, 'lanes', 1))
    redis.call('HSET', K.lanes, name, number, 'i' .. number, name)
  end
  lane_numbers[name], lane_names[number] = number, name
  return number
end

local function lane_name(number)
  local name = lane_names[number]
  if not name then
    name = redis.call('HGET', K.lanes, 'i' .. number)
    lane_names[number] = name
  end
  return name
end

-- Reads the names of many lanes in one call.
local function preload_names(numbers)
  local unnamed = {}
  for _, number in ipairs(numbers) do
    if not lane_names[number] then unnamed[#unnamed + 1] = 'i' .. number end
  end
  if #unnamed < 2 then return end
  for place, name in ipairs(redis.call('HMGET', K.lanes, unpack(unnamed))) do
    lane_names[unnamed[place]:sub(2)] = name
  end
end

-- Reads many queues in one call.
local function preload_queues(names)
  local closed = {}
  for _, name in ipairs(names) do
    if not open_queues[name] then closed[#closed + 1] = 'm' .. name end
  end
  if #closed < 2 then return end
  for place, raw in ipairs(redis.call('HMGET', K.queues, unpack(closed))) do open_queue(closed[place]:sub(2), raw) end
end

-- Reads the names, the queues and the first ids of many lanes in three calls.
local function preload_lanes(numbers)
  preload_names(numbers)
  preload_queues(numbers)
  local heads, unread = {}, {}
  for _, number in ipairs(numbers) do
    local q = queue(number)
    if q.length > 0 and not q.head_ids and #q.added == 0 then
      heads[#heads + 1], unread[#unread + 1] = number .. ':' .. q.head, q
    end
  end
  if #heads > 1 then
    for place, ids in ipairs(redis.call('HMGET', K.queues, unpack(heads))) do unread[place].head_ids = ids or '' end
  end
end

local function lane_rank(number)
  return tonumber(lane_name(number):sub(1, 1))
end

-- Counters -----------------------------------------------------------------------------------------------

local counted
per_call(function() counted = {} end)

-- Counts a task of a lane out of one state and into another; nil stands for not existing.
local function count(lane, from, to)
  local states = counted[lane]
  if not states then
    states = {}
    counted[lane] = states
  end
  if from then states[from] = (states[from] or 0) - 1 end
  if to then states[to] = (states[to] or 0) + 1 end
end

-- Tasks --------------------------------------------------------------------------------------------------
-- States: s scheduled, r ready, h held by its ordering key and b set aside while its host is held back (both shown as
-- ready), u running, t retrying, k succeeded, d dead, c cancelled.

local WAITING = { s = true, r = true, h = true, b = true, t = true }
local FINAL = { k = true, d = true, c = true }

-- The head of a fixed part: state and lane; created, from the id's time on; then, where there is anything to say,
-- scheduled, from created on; then the same way retention, ordering key and scopes.
local function parse_head(id, fixed)
  local head = fixed:sub(1, fixed:find('\n', 1, true) - 1)
  local state, lane, created, rest = head:match('^(%a)(%d+),([%-%w]+)(.*)$')
  local task = {
    id = id, state = state, lane = lane, created = id_time(id) + text_span(created), attempts = 0, crashes = 0, releases = 0,
    fence = 0, lease = false, worker = false, first = false, finished = false, expires = false, reason = false,
    purges = 0, was_leased = false, was_expiring = false, logged = 0, log = '', retention = false, ordering = false, scopes = false,
  }
  task.scheduled, task.due = task.created, task.created
  if rest ~= '' then
    local scheduled, others = rest:match('^,([^,]*)(.*)$')
    local retention, ordering, scopes = others:match('^,([^,]*),([^,]*),([^,]*)$')
    if scheduled ~= '' then
      task.scheduled = task.created + text_span(scheduled)
      task.due = math.max(task.scheduled, task.created)
    end
    if retention then
      if retention ~= '' then task.retention = tonumber(retention) end
      if ordering ~= '' then task.ordering = ordering end
      if scopes ~= '' then task.scopes = scopes end
    end
  end
  return task
end

-- What Redis has of a task, as this command has read it or is about to write it: false where there is none.
local raw_states, raw_fixed
-- Tasks that this command has taken apart. Each is changed in memory, and written once by commit().
local open_tasks
per_call(function() raw_states, raw_fixed, open_tasks = {}, {}, {} end)

-- The changing part of most tasks is never taken apart: it is written by the claim that gives their first lease, and
-- again by the settlement that ends it well. Both are text in place of a record, a tenth of whose cost it has:
--   "u" .. fence .. "," .. end of lease .. "," .. head .. "\n" .. worker
--   "k" .. fence .. "," .. finished .. "," .. end of retention .. "," .. first attempt .. "," .. head .. "\n" .. log
-- The head is that of the fixed part without its state.
local unpack_state

do
  local function parse_plain(id, text)
    local state = text:sub(1, 1)
    local task
    if state == 'u' then
      local fence, lease, head, worker = text:match('^u(%d+),(%d+),([^\n]*)\n(.*)$')
      task = parse_head(id, 'u' .. head .. '\n')
      task.fence, task.lease, task.worker = tonumber(fence), tonumber(lease), worker
      task.was_leased = task.lease
    else
      local fence, finished, expires, first, head, log = text:match('^k(%d+),(%d+),(%d+),(%d+),([^\n]*)\n(.*)$')
      task = parse_head(id, 'k' .. head .. '\n')
      task.fence, task.finished, task.expires, task.first = tonumber(fence), tonumber(finished), tonumber(expires), tonumber(first)
      task.attempts, task.logged, task.log, task.was_expiring = 1, 1, log, task.expires
    end
    return task
  end

  local FIRST_OF_RECORD = 128

  unpack_state = function(id, packed)
    -- A record begins with the byte of a MessagePack array, past those of text.
    if packed:byte() < FIRST_OF_RECORD then return parse_plain(id, packed) end
    local a = cmsgpack.unpack(packed)
    local task = {
      id = id, state = a[1], lane = a[2], created = a[3], scheduled = a[4], due = a[5], retention = a[6],
      ordering = a[7], scopes = a[8], attempts = a[9], crashes = a[10], releases = a[11], fence = a[12],
      lease = a[13], worker = a[14], first = a[15], finished = a[16], expires = a[17], reason = a[18],
      logged = a[19], log = a[20], purges = a[21] or 0,
    }
    task.was_leased, task.was_expiring = task.lease, task.expires
    return task
  end
end

local function read(key, known, id)
  local value = known[id]
  if value == nil then
    value = redis.call('HGET', key, id)
    known[id] = value
  end
  return value
end

-- `purges` is how many purges there had been when a task that had been claimed or was over began to wait again.
-- A task, or nil when there is none. `fresh` says that it has no changing part.
local function load(id)
  local task = open_tasks[id]
  if task ~= nil then return task or nil end
  local packed = read(K.state, raw_states, id)
  if packed then
    task = unpack_state(id, packed)
  else
    local fixed = read(K.tasks, raw_fixed, id)
    task = fixed and parse_head(id, fixed)
    if task then task.fresh = true end
  end
  if task then task.fixed = raw_fixed[id] or nil end
  open_tasks[id] = task
  return task or nil
end

-- Reads many tasks in two calls; with their fixed parts where these are wanted whatever they are.
local function preload(ids, with_fixed)
  local missing = {}
  for _, id in ipairs(ids) do
    if open_tasks[id] == nil and raw_states[id] == nil then missing[#missing + 1] = id end
  end
  if #missing == 0 then return end
  local wanted = {}
  for place, packed in ipairs(redis.call('HMGET', K.state, unpack(missing))) do
    local id = missing[place]
    raw_states[id] = packed
    if with_fixed or not packed then wanted[#wanted + 1] = id end
  end
  if #wanted == 0 then return end
  for place, fixed in ipairs(redis.call('HMGET', K.tasks, unpack(wanted))) do raw_fixed[wanted[place]] = fixed end
end

local function fixed_of(task)
  return task.fixed or redis.call('HGET', K.tasks, task.id)
end

local function save(task)
  task.dirty = true
end

-- Visits the ids in the spans whose first time is not after `upto`, at most `limit` of them. `visit` answers
-- `done` for one that means its span and has been dealt with, `stay` for one that is to be visited again, and
-- nothing for one that means it no longer. Returns how many were visited, and whether more spans are waiting.
local MAX_SPANS = 50
local function visit_spans(kind, index, upto, limit, visit)
  local visited = 0
  local spans = redis.call('ZRANGEBYSCORE', index, '-inf', upto, 'LIMIT', 0, MAX_SPANS)
  for _, name in ipairs(spans) do
    if visited >= limit then break end
    local q, span = queue(kind .. name), tonumber(name)
    local ids = {}
    for place = 1, math.min(q.length, limit - visited) do
      ids[place] = pop_front(q)
      if not ids[place] then break end
    end
    preload(ids, false)
    for _, id in ipairs(ids) do
      local what = visit(id, load(id), span)
      if what == 'stay' then push_back(q, id)
      elseif what == 'done' then q.live = q.live - 1 end
    end
    visited = visited + #ids
    if q.live <= 0 or q.length == 0 then close_span(q, index, name) end
  end
  return visited, #spans >= MAX_SPANS
end

-- Gives a task another state, in its record and in the counters.
local function become(task, state)
  count(task.lane, task.state, state)
  task.state = state
end

-- Records a new state of a waiting task without giving a fresh one a changing part: that would double what it
-- costs.
local function save_waiting(task)
  if not task.fresh then return save(task) end
  task.fixed = task.state .. task.fixed:sub(2)
  redis.call('HSET', K.tasks, task.id, task.fixed)
end

local dropped
per_call(function() dropped = {} end)
local let_go

local function drop(task)
  if task.ordering then let_go(task) end
  dropped[#dropped + 1] = task.id
  open_tasks[task.id] = false
  if task.was_expiring then span_remove('e', EXPIRY_SPAN_MS, K.expiry, task.was_expiring) end
  if task.was_leased then span_remove('l', LEASE_SPAN_MS, K.leases, task.was_leased) end
  count(task.lane, task.state, nil)
end

-- Calls a command with any number of arguments after the key, some at a time.
local CHUNK = 1000
local function call_in_chunks(command, key, args)
  for at = 1, #args, CHUNK do
    redis.call(command, key, unpack(args, at, math.min(at + CHUNK - 1, #args)))
  end
end

-- Changing parts that are written as they are, by their ids.
local plain_states
per_call(function() plain_states = {} end)

local function write_plain(id, text)
  raw_states[id] = text
  plain_states[#plain_states + 1], plain_states[#plain_states + 2] = id, text
end

local function write_tasks()
  local states = plain_states
  for id, task in pairs(open_tasks) do
    if task and task.dirty then
      states[#states + 1] = id
      states[#states + 1] = cmsgpack.pack({
        task.state, task.lane, task.created, task.scheduled, task.due, task.retention, task.ordering, task.scopes,
        task.attempts, task.crashes, task.releases, task.fence, task.lease, task.worker, task.first, task.finished,
        task.expires, task.reason, task.logged, task.log, task.purges,
      })
      if task.lease ~= task.was_leased then
        if task.was_leased then span_remove('l', LEASE_SPAN_MS, K.leases, task.was_leased) end
        if task.lease then span_add('l', LEASE_SPAN_MS, K.leases, id, task.lease) end
      end
      if task.expires ~= task.was_expiring then
        if task.was_expiring then span_remove('e', EXPIRY_SPAN_MS, K.expiry, task.was_expiring) end
        if task.expires then span_add('e', EXPIRY_SPAN_MS, K.expiry, id, task.expires) end
      end
    end
  end
  call_in_chunks('HSET', K.state, states)
  call_in_chunks('HDEL', K.tasks, dropped)
  call_in_chunks('HDEL', K.state, dropped)
end

-- Waiting ------------------------------------------------------------------------------------------------

local function wait_until_due(id, due)
  if math.floor(due / SPAN_MS) * SPAN_MS - now < SPAN_MS then
    redis.call('ZADD', K.due, due, id)
    knows_time(K.due, due)
  else
    span_add('b', SPAN_MS, K.later, id, due)
  end
end

-- A scheduled or retrying task waits for its time no longer; to be told before its due time changes.
local function stop_waiting(task)
  if not remove_time(K.due, task.id) then span_remove('b', SPAN_MS, K.later, task.due) end
end

local function ordering_of(key)
  local raw = redis.call('HGET', K.orderings, key)
  if not raw then return { holder = false, live = 0 } end
  local a = cmsgpack.unpack(raw)
  return { holder = a[1], live = a[2] }
end

local function save_ordering(key, o)
  if o.live <= 0 then redis.call('HDEL', K.orderings, key)
  else redis.call('HSET', K.orderings, key, cmsgpack.pack({ o.holder, o.live })) end
end

-- The state a due task takes; a ready one is put at the end of its lane, a held one behind its key.
local function arrive(task)
  if task.ordering then
    local o = ordering_of(task.ordering)
    if o.holder and o.holder ~= task.id then
      push_back(queue('o' .. task.ordering), task.id)
      return 'h'
    end
    if not o.holder then
      o.holder = task.id
      save_ordering(task.ordering, o)
    end
  end
  push_back(queue(task.lane), task.id)
  return 'r'
end

-- Whether a task has its ordering key, if it has one: it gets it where nobody else does.
local function take_key(task)
  if not task.ordering then return true end
  local o = ordering_of(task.ordering)
  if not o.holder then
    o.holder = task.id
    save_ordering(task.ordering, o)
  end
  return o.holder == task.id
end

-- A task gives its ordering key up, if it holds it, and the next in order becomes ready.
local function yield_key(task, o)
  if o.holder ~= task.id then return end
  o.holder = false
  local q = queue('o' .. task.ordering)
  local id = pop_front(q)
  while id do
    local heir = load(id)
    -- What was cancelled or moved meanwhile left its place in the queue behind.
    if heir and heir.state == 'h' and heir.ordering == task.ordering then
      o.holder = id
      become(heir, 'r')
      save_waiting(heir)
      push_back(queue(heir.lane), id)
      return
    end
    id = pop_front(q)
  end
end

-- A task has ended: its key goes on without it.
local function leave_key(task)
  if not task.ordering then return end
  local o = ordering_of(task.ordering)
  yield_key(task, o)
  o.live = o.live - 1
  save_ordering(task.ordering, o)
end

-- A dead task that has held its key until now goes.
let_go = function(task)
  if FINAL[task.state] and ordering_of(task.ordering).holder == task.id then leave_key(task) end
end

local function join_key(ordering)
  local o = ordering_of(ordering)
  o.live = o.live + 1
  save_ordering(ordering, o)
end

-- Moves what falls due: spans that begin soon into the sorted set, what is due out of it into its lane.
-- Both at most `limit`; whether more is left to be moved now.
local function promote(limit)
  local moved, more_spans, due = 0, false, {}
  if (first_time(K.later) or math.huge) <= now + SPAN_MS then
    moved, more_spans = visit_spans('b', K.later, now + SPAN_MS, limit, function(id, task, span)
      if task and (task.state == 's' or task.state == 't') and math.floor(task.due / SPAN_MS) == span then
        -- One that was moved within its span has several places there, and is counted once: a second count would
        -- close the span with other tasks still in it.
        if redis.call('ZADD', K.due, 'NX', task.due, id) == 1 then
          knows_time(K.due, task.due)
          return 'done'
        end
      end
    end)
  end
  if (first_time(K.due) or math.huge) <= now then
    due = redis.call('ZRANGEBYSCORE', K.due, '-inf', now, 'LIMIT', 0, limit)
    first_times[K.due] = nil
    preload(due, false)
    call_in_chunks('ZREM', K.due, due)
  end
  for _, id in ipairs(due) do
    local task = load(id)
    -- A task that was cancelled or moved meanwhile left its place behind.
    if task and (task.state == 's' or task.state == 't') and task.due <= now then
      become(task, arrive(task))
      save_waiting(task)
    end
  end
  return moved >= limit or #due >= limit or more_spans
end

-- How long until something waits to be moved or claimed, or a lane to be looked at again: -1 when nothing waits for a
-- time.
local function next_in()
  local soonest = math.min(
    first_time(K.due) or math.huge, first_time(K.later) or math.huge, first_time(K.wakes) or math.huge)
  if soonest == math.huge then return -1 end
  return math.max(0, soonest - now)
end

-- Ends ---------------------------------------------------------------------------------------------------

local purges_begun
per_call(function() purges_begun = nil end)
-- A task that was claimed, or over, waits again: no purge that has begun already is meant for it.
local function wait_again(task)
  purges_begun = purges_begun or tonumber(redis.call('HGET', K.meta, 'purges') or '0')
  task.purges = purges_begun
end

-- Names of an ended task are free once the window has passed.
local function release_names(task, window)
  if not task.scopes then return end
  for scope in task.scopes:gmatch('[^ ]+') do
    local value = redis.call('HGET', K.names, scope)
    if value and value:sub(1, ID) == task.id then
      redis.call('HSET', K.names, scope, task.id .. ' ' .. (now + window))
      redis.call('ZADD', K.names_until, now + window, scope)
    end
  end
end

-- The id of the task that has one of these names; nil when all are free.
local function name_holder(scopes)
  for scope in scopes:gmatch('[^ ]+') do
    local value = redis.call('HGET', K.names, scope)
    if value and (#value == ID or tonumber(value:sub(ID + 2)) > now) then return value:sub(1, ID) end
  end
  return nil
end

local function take_names(scopes, id)
  for scope in scopes:gmatch('[^ ]+') do
    redis.call('HSET', K.names, scope, id)
    redis.call('ZREM', K.names_until, scope)
  end
end

-- The task is over: it is kept for `retention` milliseconds, or dropped at once.
local function retire(task, retention)
  if retention == 0 then
    drop(task)
    return
  end
  task.expires = now + retention
  save(task)
end

local function write_queues()
  local fields, last = {}, {}
  local tails, growing = {}, {}
  for _, q in pairs(open_queues) do
    local field = #q.added > 0 and q.name .. ':' .. q.tail
    if field and not leaving[field] then tails[#tails + 1], growing[#growing + 1] = field, q end
  end
  for from = 1, #tails, CHUNK do
    local upto = math.min(from + CHUNK - 1, #tails)
    for place, ids in ipairs(redis.call('HMGET', K.queues, unpack(tails, from, upto))) do
      last[growing[from + place - 1]] = ids or ''
    end
  end
  for name, q in pairs(open_queues) do
    if q.dirty then
      write_added(q, fields, last[q])
      if q.length > 0 and not q.ringed and name:match('^%d') then
        redis.call('RPUSH', K.rings[lane_rank(name)], name)
        q.ringed = true
      end
      if q.length == 0 and not q.ringed then
        leaving['m' .. name] = true
      else
        fields[#fields + 1] = 'm' .. name
        fields[#fields + 1] = cmsgpack.pack({ q.head, q.offset, q.tail, q.length, q.ringed, q.live, q.credit or false })
      end
    end
  end
  call_in_chunks('HSET', K.queues, fields)
  local gone = {}
  for field in pairs(leaving) do gone[#gone + 1] = field end
  call_in_chunks('HDEL', K.queues, gone)
end

local function write_counts()
  local fields, changes = {}, {}
  for lane, states in pairs(counted) do
    for state, n in pairs(states) do
      if n ~= 0 then
        fields[#fields + 1], changes[#changes + 1] = state .. lane, n
      end
    end
  end
  for from = 1, #fields, CHUNK do
    local upto = math.min(from + CHUNK - 1, #fields)
    local sums, empty = {}, {}
    for place, old in ipairs(redis.call('HMGET', K.counts, unpack(fields, from, upto))) do
      local field, sum = fields[from + place - 1], (tonumber(old or '0') or 0) + changes[from + place - 1]
      if sum == 0 then
        empty[#empty + 1] = field
      else
        sums[#sums + 1], sums[#sums + 2] = field, string.format('%.0f', sum)
      end
    end
    call_in_chunks('HSET', K.counts, sums)
    call_in_chunks('HDEL', K.counts, empty)
  end
end

-- What the command has changed in memory is written: tasks, packed queues, rings and counters.
local function commit()
  for _, finish in ipairs(before_commit) do finish() end
  write_tasks()
  write_queues()
  write_counts()
end
