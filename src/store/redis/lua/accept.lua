-- Taking tasks in; included by the commands that do.

local heads
per_call(function() heads = {} end)

-- The head of a task as enqueue.lua is given it, taken apart; the same for all tasks of one head.
local function head_of(text)
  local head = heads[text]
  if not head then
    local lane, scheduled, retention, ordering, scopes, revision =
      text:match('^([^,]*),([^,]*),([^,]*),([^,]*),([^,]*),?(.*)$')
    local queue_name, client = (lane or ''):match('^[0-3]/([^/]*)/(.*)$')
    local wait = client and scheduled:match('^%+(%w+)$')
    local at = client and scheduled ~= '' and tonumber(wait or scheduled, 36)
    if wait and at then at = now + at end
    local is_timed = client and (scheduled == '' or (at and at <= 1e16))
    if not is_timed or not (retention == '' or tonumber(retention)) then error('a task has no head: ' .. text, 0) end
    head = { name = lane, queue = queue_name, client = client, revision = tonumber(revision) or 0,
      ordering = ordering ~= '' and ordering, scopes = scopes ~= '' and scopes }
    head.due = at and math.max(at, now) or now
    head.rest = at and ',' .. span_text(at - now) or ''
    if retention ~= '' or ordering ~= '' or scopes ~= '' then
      head.rest = (at and head.rest or ',') .. ',' .. retention .. ',' .. ordering .. ',' .. scopes
    end
    head.rest = head.rest .. '\n'
    heads[text] = head
  end
  return head
end

-- The time from an id's making to its task's acceptance, as text.
local ages
per_call(function() ages = {} end)
local function age_of(id)
  local made = id_time(id)
  local age = ages[made]
  if not age then
    age = ',' .. span_text(now - made)
    ages[made] = age
  end
  return age
end

local accepted
-- The fixed parts of those accepted, by their ids: written together.
local kept
local sooner, soonest
per_call(function() accepted, kept, sooner, soonest = {}, {}, false, nil end)

-- Ids of which it is known whether there is such a task.
local is_there
per_call(function() is_there = {} end)

-- Finds out of many ids which are there; the id is the start of every second of the arguments from `first` on.
local function find_out(first)
  for from = first, #ARGV, CHUNK do
    local ids = {}
    for at = from, math.min(from + CHUNK - 1, #ARGV), 2 do ids[#ids + 1] = ARGV[at]:sub(1, ID) end
    for place, fixed in ipairs(redis.call('HMGET', K.tasks, unpack(ids))) do is_there[ids[place]] = fixed and true end
  end
end

-- Keeps a task; `id`, head and what it is as taken apart from "id head \n what". Returns the letter of its state; that
-- of one whose id is there already too, which was accepted by an earlier sending of the same call.
-- `may_enter`, where given, is asked of one that is new, and false leaves nothing of it.
local function accept(id, head, what, may_enter)
  local later = head.due > now
  local state = later and 's' or 'r'
  head.lane = head.lane or lane_number(head.name)
  if is_there[id] == nil then is_there[id] = redis.call('HEXISTS', K.tasks, id) == 1 end
  if is_there[id] then return state end
  if may_enter and not may_enter(head) then return nil end
  is_there[id] = true
  if head.scopes then take_names(head.scopes, id) end
  if head.ordering then join_key(head.ordering) end
  if later then
    soonest = soonest or next_in()
    wait_until_due(id, head.due)
    if soonest < 0 or head.due - now < soonest then sooner = true end
  else
    if head.ordering then
      state = arrive({ id = id, lane = head.lane, ordering = head.ordering })
    else
      push_back(queue(head.lane), id)
    end
    sooner = true
  end
  count(head.lane, nil, state)
  accepted[#accepted + 1] = id
  kept[#kept + 1], kept[#kept + 2] = id, state .. head.lane .. age_of(id) .. head.rest .. what
  return later and 's' or 'r'
end

-- Settings of what is used for the first time, as newClient and newQueue of core/ make them.
local function register(field, json, packed)
  redis.call('HSET', K.settings, field, redis.call('HINCRBY', K.meta, 'revision', 1) .. ' ' .. json)
  redis.call('HSET', K.limits, field, cmsgpack.pack(packed))
  redis.call('ZADD', K.index, 0, field)
end

local function register_client(client, l)
  l.known = true
  register('c/' .. client, '{"tier":"' .. l.tier .. '","enabled":true,"overrides":{},"allowedQueues":null,'
    .. '"allowedHosts":null,"keys":[],"signing":[],"createdAtMs":' .. string.format('%.0f', now) .. '}', { l.tier, true, false, false, '', 0 })
end

local function register_queue(name)
  local r = {}
  for key, value in pairs(NO_RULES) do r[key] = value end
  r.known = true
  queue_rules[name] = r
  register('q/' .. name, '{"enabled":true,"paused":false,"maxDispatchesPerSec":null,"maxBurst":null,"maxConcurrent":null,'
    .. '"weight":1,"retry":{},"timeoutMs":null,"target":null,"retentionSucceededMs":null,"retentionDeadMs":null,'
    .. '"permanentStatuses":[],"afterDeath":"next","deadTarget":null,"mode":"push","signing":[],'
    .. '"createdAtMs":' .. string.format('%.0f', now) .. '}',
    { true, false, false, 1, -1, 1, false, false, false, '', false, '' })
end

-- Makes the client and the queue of a task that was accepted, where they are not known yet.
local function register_unknown(head)
  if head.registered then return end
  head.registered = true
  local l = limits_of_client(head.client)
  if not l.known then register_client(head.client, l) end
  if not rules_of_queue(head.queue).known then register_queue(head.queue) end
end

-- Writes what was accepted; to be called before anything of it is read.
local function write_accepted()
  call_in_chunks('HSET', K.tasks, kept)
  kept = {}
end

-- The order of acceptance, for listings: 64 ids to a field.
before_commit[#before_commit + 1] = function()
  if #accepted == 0 then return end
  write_accepted()
  local last = redis.call('HINCRBY', K.meta, 'accepted', #accepted)
  local first = last - #accepted
  local at = 1
  while at <= #accepted do
    local place = first + at - 1
    local segment = math.floor(place / SEGMENT)
    local upto = math.min(#accepted, at + SEGMENT - 1 - place % SEGMENT)
    local old = place % SEGMENT > 0 and redis.call('HGET', K.log, segment) or ''
    -- A segment that a sweep has removed keeps its places, so that the number of a place never changes.
    old = (old or '') .. string.rep('-', (place % SEGMENT) * ID - #(old or ''))
    redis.call('HSET', K.log, segment, old .. table.concat(accepted, '', at, upto))
    at = upto + 1
  end
end
