-- Goes on with the oldest purge.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] how many tasks to go past, at most.
-- Returns its queue, its start, tasks removed and share done, as text; nothing when there is no purge.
expect('c')
local all = redis.call('HGETALL', K.purges)
local name, purge
for at = 1, #all, 2 do
  local p = unpack_purge(all[at + 1])
  if not purge or p.started < purge.started then name, purge = all[at], p end
end
if not purge then return false end

local lanes = {}
local function is_of_queue(lane)
  if lanes[lane] == nil then lanes[lane] = lane_name(lane):match('^%d/([^/]*)/') == name end
  return lanes[lane]
end

-- Its names are free at once: whoever purges wants to begin anew.
local function free_names(task)
  if not task.scopes then return end
  for scope in task.scopes:gmatch('[^ ]+') do
    local value = redis.call('HGET', K.names, scope)
    if value and value:sub(1, ID) == task.id then
      redis.call('HDEL', K.names, scope)
      redis.call('ZREM', K.names_until, scope)
    end
  end
end

local emptied = {}
local budget = tonumber(ARGV[3])
purge.place = math.max(purge.place, tonumber(redis.call('HGET', K.meta, 'log_first') or '0') * SEGMENT)
while purge.place < purge.upto and budget > 0 do
  local segment = math.floor(purge.place / SEGMENT)
  local stop = math.min((segment + 1) * SEGMENT, purge.upto, purge.place + budget)
  local packed = redis.call('HGET', K.log, segment)
  local ids = {}
  if packed then
    for place = purge.place, stop - 1 do
      local at = (place - segment * SEGMENT) * ID
      local id = packed:sub(at + 1, at + ID)
      if #id == ID and id:sub(1, 1) ~= '-' then ids[#ids + 1] = id end
    end
  end
  if #ids > 0 then preload(ids, false) end
  for _, id in ipairs(ids) do
    local task = load(id)
    -- One that ran when the purge began, or had ended, and waits again by now did not wait then.
    local waited = task and WAITING[task.state] and task.purges < purge.number
    if waited and is_of_queue(task.lane) then
      if task.state == 's' or task.state == 't' then stop_waiting(task) end
      if task.state == 'b' then leave_aside(task) end
      free_names(task)
      if task.state == 'r' then emptied[task.lane] = true end
      leave_key(task)
      drop(task)
      purge.removed = purge.removed + 1
    end
  end
  budget = budget - math.max(#ids, 1)
  purge.place = stop
end
local done = purge.place >= purge.upto
if done then redis.call('HDEL', K.purges, name) else save_purge(name, purge) end
commit()

-- What a lane without ready tasks still lists is stale: forgotten at once, no claim has to step over it.
for lane in pairs(emptied) do
  if redis.call('HEXISTS', K.counts, 'r' .. lane) == 0 then
    local q = open_queue(lane, redis.call('HGET', K.queues, 'm' .. lane))
    clear(q)
    redis.call('HSET', K.queues, 'm' .. lane,
      cmsgpack.pack({ q.head, q.offset, q.tail, q.length, q.ringed, q.live, q.credit or false }))
  end
end
if done then redis.call('PUBLISH', channel, 'work') end
return { name, string.format('%.0f', purge.started), string.format('%.0f', purge.removed), tostring(share_of(purge)) }
