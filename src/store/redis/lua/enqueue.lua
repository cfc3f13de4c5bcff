-- Accepts tasks: all of them in one step.
-- ARGV[1] skew, ARGV[2] channel, then each task in one: its id; its head
--   "rank/queue/client,scheduled,retention,ordering key,scopes" (scheduled in base 36, the last four may be empty) and
--   a line feed; what it is.
-- Returns the time, then for each task "r" (ready), "s" (scheduled), or the id of the task that has its name.
-- A task whose id is there already was accepted by an earlier sending of the same call: it is told again.
promote(100)

local heads = {}
local function head_of(text)
  local head = heads[text]
  if not head then
    local lane, scheduled, retention, ordering, scopes = text:match('^([^,]*),([^,]*),([^,]*),([^,]*),([^,]*)$')
    local at = scheduled ~= '' and tonumber(scheduled, 36)
    head = { lane = lane_number(lane), ordering = ordering ~= '' and ordering, scopes = scopes ~= '' and scopes }
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
local ages = {}
local function age_of(id)
  local made = id_time(id)
  local age = ages[made]
  if not age then
    age = ',' .. span_text(now - made)
    ages[made] = age
  end
  return age
end

local soonest = next_in()
local sooner = false
local accepted = {}
local reply = { tostring(now) }
for at = 3, #ARGV do
  local task = ARGV[at]
  local line_end = task:find('\n', ID + 1, true)
  local id, head = task:sub(1, ID), head_of(task:sub(ID + 1, line_end - 1))
  local holder = head.scopes and name_holder(head.scopes)
  if holder and holder ~= id then
    reply[#reply + 1] = holder
  else
    local later = head.due > now
    local state = later and 's' or 'r'
    local fixed = state .. head.lane .. age_of(id) .. head.rest .. task:sub(line_end + 1)
    reply[#reply + 1] = state
    if redis.call('HSETNX', K.tasks, id, fixed) == 1 then
      if head.scopes then take_names(head.scopes, id) end
      if head.ordering then join_key(head.ordering) end
      if later then
        wait_until_due(id, head.due)
        if soonest < 0 or head.due - now < soonest then sooner = true end
      else
        state = arrive({ id = id, lane = head.lane, ordering = head.ordering })
        if state == 'h' then redis.call('HSET', K.tasks, id, 'h' .. fixed:sub(2)) end
        sooner = true
      end
      count(head.lane, nil, state)
      accepted[#accepted + 1] = id
    end
  end
end

-- The order of acceptance, for listings: 64 ids to a field.
if #accepted > 0 then
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
commit()
if sooner then redis.call('PUBLISH', channel, 'work') end
return reply
