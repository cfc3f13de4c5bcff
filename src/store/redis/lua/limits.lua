-- How much clients and queues may have running, and lanes that wait aside until they may go on; included by the
-- commands that give or end leases, or change what is allowed.
--
-- X stands for a client ("c/" .. id) or a queue ("q/" .. name). A lane that X holds back is parked: it leaves its ring
-- and stands in the packed queue "p" .. rank .. X. While X has room and lanes parked, at least one of its lanes is in a
-- ring: so whoever takes a turn, or gives a slot back, brings the next one back, and nobody ever walks all of them.
-- The lanes of a pull queue are always parked with it: its consumers take them from there.

-- What `ringed` of a lane's queue says, beside true (in its ring) and false (nowhere).
local PARKED = 2
local RETURNED = 3 -- in its ring, and owed the turn for which it was parked
local MAX_WOKEN = 100

-- The pull queue that tasks are being taken from; none in a worker's exchange.
local pulling
per_call(function() pulling = false end)

-- Smooth weighted round robin, 8:4:2:1 while all have work: the turn's number says whose it is. The order of
-- 15 turns among those that have work is always the same, and the number goes on from the last.
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

local limits
per_call(function() limits = {} end)

-- The limits kept for X or a tier ("t/" .. name), or false.
local function kept_limits(field)
  local known = limits[field]
  if known == nil then
    local packed = redis.call('HGET', K.limits, field)
    known = packed and cmsgpack.unpack(packed) or false
    limits[field] = known
  end
  return known
end

local function default_tier()
  return redis.call('HGET', K.meta, 'default_tier') or ''
end

-- A tier's limits; those of the default tier where it is gone. -1 stands for no limit.
local function tier_limits(name)
  local tier = kept_limits('t/' .. name)
  if tier then return tier[1], tier[2], name end
  name = default_tier()
  tier = kept_limits('t/' .. name)
  if not tier then return 0, 0, name end
  return tier[1], tier[2], name
end

local client_limits
per_call(function() client_limits = {} end)

-- What a client may do: { per_minute, concurrent, enabled, tier, revision } with -1 for no limit, `revision` 0 where
-- nobody needs to look at its lists. An unknown one is as it would be registered; `known` tells.
local function limits_of_client(client)
  local l = client_limits[client]
  if l then return l end
  local kept = kept_limits('c/' .. client)
  local tier = kept and kept[1] or default_tier()
  local per_minute, concurrent, name = tier_limits(tier)
  l = { per_minute = per_minute, concurrent = concurrent, enabled = true, tier = name, rules = '', revision = 0,
    known = false }
  if kept then
    l.known, l.enabled, l.rules, l.revision = true, kept[2], kept[5], kept[6]
    if kept[3] then l.per_minute = kept[3] end
    if kept[4] then l.concurrent = kept[4] end
  end
  client_limits[client] = l
  return l
end

local NO_RULES = { enabled = true, paused = false, rate = false, burst = 1, concurrent = -1, weight = 1,
  keep_succeeded = false, keep_dead = false, hold = false, rules = '', pull = false, host = '', known = false }
local queue_rules
per_call(function() queue_rules = {} end)

local function rules_of_queue(name)
  local r = queue_rules[name]
  if r then return r end
  local kept = kept_limits('q/' .. name)
  r = NO_RULES
  if kept then
    r = { enabled = kept[1], paused = kept[2], rate = kept[3], burst = kept[4], concurrent = kept[5], weight = kept[6],
      keep_succeeded = kept[7], keep_dead = kept[8], hold = kept[9], rules = kept[10], pull = kept[11],
      host = kept[12], known = true }
  end
  queue_rules[name] = r
  return r
end

-- Use ----------------------------------------------------------------------------------------------------

local flows
per_call(function() flows = {} end)

-- Kept as "running", followed while lanes are parked by " turn p0 p1 p2 p3": turns dealt to the priorities, from nought
-- again where a round of any of their weights ends, and the lanes parked of each. Not kept at all while all are nought.
local UNUSED = '0'

local function open_flow(field, kind, name, raw)
  local f = { field = field, kind = kind, name = name, running = 0, turn = 0, parked = 0, of_rank = { [0] = 0, 0, 0, 0 },
    freed = 0, was = raw or UNUSED }
  if raw then
    local space = raw:find(' ', 1, true)
    f.running = tonumber(space and raw:sub(1, space - 1) or raw)
    if space then
      local turn, p0, p1, p2, p3 = raw:match('^%d+ (%d+) (%d+) (%d+) (%d+) (%d+)$')
      f.turn = tonumber(turn)
      f.of_rank = { [0] = tonumber(p0), tonumber(p1), tonumber(p2), tonumber(p3) }
      f.parked = f.of_rank[0] + f.of_rank[1] + f.of_rank[2] + f.of_rank[3]
    end
  end
  flows[field] = f
  return f
end

local function packed_flow(f)
  if f.parked == 0 then return tostring(f.running) end
  return f.running .. ' ' .. f.turn % 360360 .. ' ' .. f.of_rank[0] .. ' ' .. f.of_rank[1] .. ' ' .. f.of_rank[2] .. ' '
    .. f.of_rank[3]
end

-- What X uses: tasks running, lanes parked, and what has been freed since it was last looked at.
local function flow_of(field, kind, name)
  return flows[field] or open_flow(field, kind, name, redis.call('HGET', K.flows, field))
end

local lane_flows, lane_queues, lane_clients
per_call(function() lane_flows, lane_queues, lane_clients = {}, {}, {} end)

-- The queue and the client of a lane.
local function parts_of(lane)
  local client = lane_clients[lane]
  if client then return lane_queues[lane], client end
  lane_queues[lane], lane_clients[lane] = lane_name(lane):match('^%d/([^/]*)/(.*)$')
  return lane_queues[lane], lane_clients[lane]
end

-- The flows of a lane's client and queue.
local function flows_of(lane)
  local both = lane_flows[lane]
  if not both then
    local queue_name, client = parts_of(lane)
    local c, q = 'c/' .. client, 'q/' .. queue_name
    if not flows[c] and not flows[q] then
      local raw = redis.call('HMGET', K.flows, c, q)
      open_flow(c, 'c', client, raw[1])
      open_flow(q, 'q', queue_name, raw[2])
    end
    both = { flow_of(c, 'c', client), flow_of(q, 'q', queue_name) }
    lane_flows[lane] = both
  end
  return both[1], both[2]
end

-- Reads the flows and limits of many lanes' clients in two calls.
local function preload_flows(numbers)
  if #numbers < 2 then return end
  local fields, names, seen = {}, {}, {}
  for _, number in ipairs(numbers) do
    if not lane_flows[number] then
      local _, client = parts_of(number)
      local field = 'c/' .. client
      if not seen[field] and not flows[field] then
        seen[field] = true
        fields[#fields + 1], names[#names + 1] = field, client
      end
    end
  end
  if #fields < 2 then return end
  for place, raw in ipairs(redis.call('HMGET', K.flows, unpack(fields))) do
    open_flow(fields[place], 'c', names[place], raw)
  end
  for place, packed in ipairs(redis.call('HMGET', K.limits, unpack(fields))) do
    if limits[fields[place]] == nil then limits[fields[place]] = packed and cmsgpack.unpack(packed) or false end
  end
end

-- A queue's tokens as of now: a bucket of `burst` that fills at `rate` a second.
local function tokens_of(f, rules)
  if not f.tokens then
    local raw = redis.call('HGET', K.flows, 'b/' .. f.name)
    if raw then
      local b = cmsgpack.unpack(raw)
      f.tokens = math.min(rules.burst, b[1] + math.max(0, now - b[2]) * rules.rate / 1000)
    else
      f.tokens = rules.burst
    end
  end
  return f.tokens
end

-- The sums of many small parts of a token fall short of it by less than this.
local NEARLY = 1e-6

-- How many tasks of X may begin now.
local function room_of(f)
  if f.kind == 'c' then
    local l = limits_of_client(f.name)
    if not l.enabled then return 0 end
    return l.concurrent < 0 and math.huge or l.concurrent - f.running
  end
  local r = rules_of_queue(f.name)
  if r.paused or (r.pull and f.name ~= pulling) then return 0 end
  local room = r.concurrent < 0 and math.huge or r.concurrent - f.running
  if r.rate then room = math.min(room, math.floor(tokens_of(f, r) + NEARLY)) end
  return room
end

local function has_rate(f)
  return f.kind == 'q' and rules_of_queue(f.name).rate
end

-- Milliseconds until a queue's rate lets one go; nil where that is not what it waits for.
local function until_token(f)
  if f.kind == 'c' then return nil end
  local r = rules_of_queue(f.name)
  if not r.rate then return nil end
  local missing = 1 - tokens_of(f, r)
  return missing > NEARLY and math.ceil(missing * 1000 / r.rate) or nil
end

local function take_slots(f, count)
  f.running, f.dirty = f.running + count, true
  if f.kind == 'q' then
    local r = rules_of_queue(f.name)
    if r.rate then
      f.tokens, f.tokens_spent = tokens_of(f, r) - count, true
    end
  end
end

-- A task's lease has begun otherwise than by a claim: it takes its slots without asking.
local function occupy(task)
  local c, q = flows_of(task.lane)
  c.running, q.running, c.dirty, q.dirty = c.running + 1, q.running + 1, true, true
end

-- The slots that a lease has of a client and a queue are free again.
local function give_back_slots(c, q)
  c.running, c.freed, c.dirty = math.max(0, c.running - 1), c.freed + 1, true
  q.running, q.freed, q.dirty = math.max(0, q.running - 1), q.freed + 1, true
end

-- A task's lease is over. Whoever calls it clears the lease.
local function vacate(task)
  if task.lease then give_back_slots(flows_of(task.lane)) end
end

-- Parking ------------------------------------------------------------------------------------------------

local PAD = (' '):rep(ID)

-- When X is looked at again although no slot is given back: at its next token, or never (inf).
local function plan_wake(f)
  if f.parked <= 0 then
    remove_time(K.wakes, f.field)
    return
  end
  local wait = until_token(f)
  redis.call('ZADD', K.wakes, wait and now + wait or 'inf', f.field)
  first_times[K.wakes] = nil
end

local function parked_lanes(f, rank)
  return queue('p' .. rank .. f.field)
end

-- Parks a lane: behind the others, or before them where its turn is not over.
local function park(f, number, first)
  local rank = lane_rank(number)
  local entry = number .. PAD:sub(#number + 1)
  if first then push_front(parked_lanes(f, rank), entry) else push_back(parked_lanes(f, rank), entry) end
  local lane = queue(number)
  lane.ringed, lane.dirty = PARKED, true
  f.of_rank[rank], f.parked, f.dirty = f.of_rank[rank] + 1, f.parked + 1, true
  if f.parked == 1 or has_rate(f) then plan_wake(f) end
end

-- The lane of a rank that has been parked longest, as it leaves the others; nil when there is none.
local function next_parked(f, rank)
  local entry = pop_front(parked_lanes(f, rank))
  f.dirty = true
  if not entry then
    f.parked, f.of_rank[rank] = f.parked - f.of_rank[rank], 0
    return nil
  end
  f.of_rank[rank], f.parked = f.of_rank[rank] - 1, f.parked - 1
  return entry:match('^%d+')
end

-- The rank whose parked lanes have the next turn.
local function rank_in_turn(f)
  local active = {}
  for rank = 0, 3 do
    if f.of_rank[rank] > 0 then active[#active + 1] = rank end
  end
  if #active < 2 then return active[1] end
  local dealt = deal(1, active, f.turn)
  f.turn = f.turn + 1
  for _, rank in ipairs(active) do
    if dealt[rank] == 1 then return rank end
  end
end

-- A lane with something to claim takes its place: in its ring, or with its pull queue. With `ends`, lists by rank, one
-- that goes to the end of its ring is put there, to be written with others.
local function place_lane(number, ringed, ends)
  local _, q = flows_of(number)
  local lane = queue(number)
  lane.dirty = true
  if rules_of_queue(q.name).pull then
    park(q, number, false)
  else
    lane.ringed = ringed
    local rank = lane_rank(number)
    -- A turn that was cut short goes on before others begin.
    if lane.credit then redis.call('LPUSH', K.rings[rank], number)
    elseif ends then ends[rank][#ends[rank] + 1] = number
    else redis.call('RPUSH', K.rings[rank], number) end
  end
end

local function join_rings()
  local joining = {}
  for name, q in pairs(open_queues) do
    if q.dirty and q.length > 0 and not q.ringed and name:match('^%d') then joining[#joining + 1] = name end
  end
  preload_names(joining)
  preload_flows(joining)
  local ends = { [0] = {}, {}, {}, {} }
  for _, number in ipairs(joining) do place_lane(number, true, ends) end
  for rank, numbers in pairs(ends) do call_in_chunks('RPUSH', K.rings[rank], numbers) end
end

local woken
per_call(function() woken = 0 end)

-- Brings up to `count` parked lanes of X back to the ends of their rings: priorities by weight, and of each those
-- parked longest first.
local function unpark(f, count)
  local patience = MAX_WOKEN * 10
  while count > 0 and patience > 0 and f.parked > 0 do
    local number = next_parked(f, rank_in_turn(f))
    if number then
      local lane = queue(number)
      lane.ringed, lane.dirty = false, true
      if lane.length > 0 then
        place_lane(number, RETURNED)
        -- One that waits with its pull queue now may wait there for good: it takes no other lane's place.
        if lane.ringed ~= PARKED then count, woken = count - 1, woken + 1 end
      end
    end
    patience = patience - 1
  end
  if count > 0 and f.parked > 0 then
    -- Lanes that a purge has emptied have used the patience up: whoever claims next goes on.
    redis.call('ZADD', K.wakes, now, f.field)
    first_times[K.wakes] = nil
  elseif f.parked == 0 or has_rate(f) then
    plan_wake(f)
  end
end

-- After X has changed: as many lanes as it has room for more now come back, `least` at least.
local function go_on(f, least)
  local more = math.max(f.freed, least)
  f.freed = 0
  if f.parked <= 0 or more == 0 then return end
  if f.kind == 'q' and rules_of_queue(f.name).pull then
    -- Nobody has to bring back what consumers take from where it is, but they wait for its next token.
    if has_rate(f) then plan_wake(f) end
    return
  end
  local room = room_of(f)
  if room >= 1 then unpark(f, math.min(room, more, MAX_WOKEN))
  elseif has_rate(f) then plan_wake(f) end
end

-- Slots that were given back are offered to the lanes that wait for them.
local function offer_freed()
  -- Listed first: whoever goes on may open other flows, and a table that grows while it is walked loses entries.
  local freed = {}
  for _, f in pairs(flows) do
    if f.freed > 0 then freed[#freed + 1] = f end
  end
  for _, f in ipairs(freed) do go_on(f, 0) end
end

local wake_host

-- Lanes whose time to be looked at again has come, and hosts; whether there may be more of them.
local function wake_parked()
  if (first_time(K.wakes) or math.huge) > now then return false end
  local fields = redis.call('ZRANGEBYSCORE', K.wakes, '-inf', now, 'LIMIT', 0, MAX_WOKEN)
  for _, field in ipairs(fields) do
    local kind, name = field:sub(1, 1), field:sub(3)
    if kind == 'h' then
      wake_host(name)
    else
      local f = flow_of(field, kind, name)
      local room = room_of(f)
      plan_wake(f)
      if room >= 1 and f.parked > 0 then unpark(f, math.min(room, MAX_WOKEN)) end
    end
  end
  return #fields >= MAX_WOKEN
end

-- Where a lane goes after it was looked at and `got` tasks were taken from it; true when it stays where lanes are
-- taken from. The lanes parked with its client or queue go on where there is room.
local function end_turn(number, got)
  local c, q = flows_of(number)
  local lane = queue(number)
  lane.dirty = true
  local stays = false
  -- A turn that was cut short, or for which it came back in vain, is still its own.
  local owed = lane.credit and (got > 0 or lane.ringed == RETURNED)
  if lane.length == 0 then
    lane.ringed, lane.credit = false, false
  elseif room_of(c) < 1 then
    park(c, number, owed)
  elseif room_of(q) < 1 then
    park(q, number, owed)
  else
    lane.ringed, stays = true, true
  end
  if not owed then lane.credit = lane.ringed == true and lane.credit or false end
  go_on(c, 1)
  go_on(q, 1)
  return stays
end

before_commit[#before_commit + 1] = function()
  offer_freed()
  join_rings()
  local kept, gone = {}, {}
  for field, f in pairs(flows) do
    local use = packed_flow(f)
    if f.dirty and use ~= f.was then
      if use == UNUSED then
        gone[#gone + 1] = field
      else
        kept[#kept + 1], kept[#kept + 2] = field, use
      end
    end
    if f.tokens_spent then
      kept[#kept + 1], kept[#kept + 2] = 'b/' .. f.name, cmsgpack.pack({ f.tokens, now })
    end
  end
  call_in_chunks('HSET', K.flows, kept)
  call_in_chunks('HDEL', K.flows, gone)
end
