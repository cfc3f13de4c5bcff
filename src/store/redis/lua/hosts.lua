-- Hosts that are held back after failures; included by the commands that know of them.
--
-- A held host stands in `hosts` by the time of its next probe. Its tasks that a claim meets are set aside (state b) in
-- the packed queue "x" .. host, whose "h/" .. host in `wakes` says when to look at them: at the next probe, or now when
-- the host goes on and they come back.

-- As hostOf in core/host.ts.
local DEFAULT_PORTS = { ['http://'] = ':80', ['https://'] = ':443' }
local function host_of(url)
  local scheme, authority = url:match('^(%a[%w+.-]*://)([^/?#\\]*)')
  if not scheme then return url end
  scheme, authority = scheme:lower(), authority:lower()
  local port = DEFAULT_PORTS[scheme]
  if port and authority:sub(-#port) == port then authority = authority:sub(1, -#port - 1) end
  return scheme .. authority
end

-- The host that a task calls: that of its queue's override, or of what it is.
local function host_of_task(task)
  local _, q = flows_of(task.lane)
  local override = rules_of_queue(q.name).host
  if override ~= '' then return override end
  local fixed = fixed_of(task)
  return host_of(fixed:match('^%["([^"]*)"', fixed:find('\n', 1, true) + 1) or '')
end

local any_held = nil
local held = {}

-- When a host is probed next; nil for one that is not held back.
local function held_until(host)
  local known = held[host]
  if known == nil then
    known = tonumber(redis.call('ZSCORE', K.hosts, host) or nil) or false
    held[host] = known
  end
  return known or nil
end

local function look_at(host, time)
  redis.call('ZADD', K.wakes, time, 'h/' .. host)
  first_times[K.wakes] = nil
end

local probes = {}

-- Whether a task that could be leased is set aside instead, because its host is held back. The one that is not, once
-- the time has come, is the probe.
local function is_set_aside(task)
  if any_held == nil then any_held = redis.call('EXISTS', K.hosts) == 1 end
  if not any_held then return false end
  local host = host_of_task(task)
  local next_probe = held_until(host)
  if not next_probe then return false end
  local aside = queue('x' .. host)
  if next_probe <= now then
    next_probe = now + tonumber(redis.call('HGET', K.flows, 'h/' .. host) or '30000')
    held[host] = next_probe
    redis.call('ZADD', K.hosts, next_probe, host)
    if aside.length > 0 then look_at(host, next_probe) end
    probes[#probes + 1] = task.id
    return false
  end
  become(task, 'b')
  save_waiting(task)
  if aside.length == 0 then look_at(host, next_probe) end
  push_back(aside, task.id)
  return true
end

local MAX_RETURNED = 1000
local PROBE_AGAIN_MS = 1000

-- The time of a host with tasks set aside has come: of one that is held still the first goes to the head of its lane,
-- where it is met as the probe; of another some come back, and the next look is for the others.
wake_host = function(host)
  local aside = queue('x' .. host)
  local is_held = held_until(host)
  local ids = {}
  for place = 1, is_held and 1 or MAX_RETURNED do
    ids[place] = pop_front(aside)
    if not ids[place] then break end
  end
  preload(ids, true)
  local returned = 0
  for _, id in ipairs(ids) do
    local task = load(id)
    -- What was cancelled or moved meanwhile left its place behind.
    if task and task.state == 'b' then
      become(task, 'r')
      save_waiting(task)
      if is_held then push_front(queue(task.lane), id) else push_back(queue(task.lane), id) end
      returned = returned + 1
    end
  end
  if aside.length == 0 then remove_time(K.wakes, 'h/' .. host)
  elseif is_held and returned > 0 then look_at(host, now + PROBE_AGAIN_MS)
  else look_at(host, now) end
end
