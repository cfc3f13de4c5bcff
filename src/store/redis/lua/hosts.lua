-- Hosts that are held back after failures; included by the commands that know of them.
--
-- A held host stands in `hosts` by the time of its next probe. Its tasks that a claim meets are set aside (state b) in
-- the packed queue "x" .. host, whose "h/" .. host in `wakes` says when to look at them: at the next probe, or now when
-- the host goes on and they come back.

-- Ids of tasks that this command leases as probes of their hosts.
local probes
per_call(function() probes = {} end)
local held_back
-- Whether a claim need not ask of any task.
local no_host_held
-- A task that is set aside leaves that state; its place is stale from here on.
local leave_aside

-- A block of its own: Lua allows two hundred names at once.
do
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

  -- The mark of a report, which goes where it was meant to, whatever its queue calls instead (core/follow-ups.ts).
  local REPORT = '"task-runner.report_of":'

  -- The host that a task calls: that of its queue's override, or of what it is.
  local function host_of_task(task)
    local _, q = flows_of(task.lane)
    local override = rules_of_queue(q.name).host
    local fixed = fixed_of(task)
    local spec = fixed:find('\n', 1, true) + 1
    if override ~= '' then
      local report = fixed:find(REPORT, spec, true)
      if not report or report > fixed:find('\n', spec, true) then return override end
    end
    return host_of(fixed:match('^%["([^"]*)"', spec) or '')
  end

  local any_held, held

  -- When a host is probed next; nil for one that is not held back.
  local function held_until(host)
    local known = held[host]
    if known == nil then
      known = tonumber(redis.call('ZSCORE', K.hosts, host) or nil) or false
      held[host] = known
    end
    return known or nil
  end

  leave_aside = function(task)
    local aside = queue('x' .. host_of_task(task))
    if aside.live > 0 then
      aside.live, aside.dirty = aside.live - 1, true
    end
  end

  local function look_at(host, time)
    redis.call('ZADD', K.wakes, time, 'h/' .. host)
    first_times[K.wakes] = nil
  end

  -- Tasks that one claim sets aside at most; lanes with more of them at their heads wait for the next one.
  local may_set_aside
  per_call(function() any_held, held, may_set_aside = nil, {}, 1000 end)

  no_host_held = function()
    -- Consumers call no host.
    if pulling then return true end
    if any_held == nil then any_held = redis.call('EXISTS', K.hosts) == 1 end
    return not any_held
  end

  -- What a claim does with a task that it could lease: 'aside' when it was set aside because its host is held back,
  -- 'stop' when it would be, and enough of them were; nothing otherwise. Once the time has come one of them is the probe.
  held_back = function(task)
    if no_host_held() then return nil end
    local host = host_of_task(task)
    local next_probe = held_until(host)
    if not next_probe then return nil end
    local aside = queue('x' .. host)
    if next_probe <= now then
      next_probe = now + tonumber(redis.call('HGET', K.flows, 'h/' .. host) or '30000')
      held[host] = next_probe
      redis.call('ZADD', K.hosts, next_probe, host)
      if aside.length > 0 then look_at(host, next_probe) end
      probes[#probes + 1] = task.id
      return nil
    end
    if may_set_aside <= 0 then return 'stop' end
    may_set_aside = may_set_aside - 1
    become(task, 'b')
    save_waiting(task)
    if aside.length == 0 then look_at(host, next_probe) end
    -- One that was under way before has waited longest.
    if task.fence > 0 then push_front(aside, task.id) else push_back(aside, task.id) end
    aside.live = aside.live + 1
    return 'aside'
  end

  local MAX_RETURNED = 1000
  local MAX_LOOKED_AT = 100
  local PROBE_AGAIN_MS = 1000

  -- Up to `most` of the tasks set aside, first in first out, as they leave the queue. What was cancelled or moved
  -- meanwhile left its place behind.
  local function next_aside(aside, most)
    local ids, found = {}, {}
    for place = 1, most do
      ids[place] = pop_front(aside)
      if not ids[place] then break end
    end
    preload(ids, true)
    for _, id in ipairs(ids) do
      local task = load(id)
      if task and task.state == 'b' then found[#found + 1] = task end
    end
    return found
  end

  local function come_back(task, first)
    leave_aside(task)
    become(task, 'r')
    save_waiting(task)
    if first then push_front(queue(task.lane), task.id) else push_back(queue(task.lane), task.id) end
  end

  local function has_room(task)
    local c, q = flows_of(task.lane)
    return room_of(c) >= 1 and room_of(q) >= 1
  end

  -- The first task set aside that may begin goes to the head of its lane, where it is met as the probe.
  local function offer_probe(aside)
    local found = next_aside(aside, MAX_LOOKED_AT)
    local probe = nil
    for place, task in ipairs(found) do
      if has_room(task) then
        probe = place
        break
      end
    end
    for place = #found, 1, -1 do
      if place ~= probe then push_front(aside, found[place].id) end
    end
    if probe then come_back(found[probe], true) end
  end

  -- Some tasks of a host that goes on come back: the first ones to the heads of their lanes, before what came later.
  local function give_back(aside)
    local found = next_aside(aside, MAX_RETURNED)
    local first = not aside.credit
    for place = 1, #found do
      come_back(found[first and #found + 1 - place or place], first)
    end
    aside.credit = aside.length > 0 and 1 or false
  end

  -- A queue calls another host than it did, or none: `left` places are still to be looked through, and what is not of
  -- this host any more comes back.
  local function sift(aside, host, left)
    local most = math.min(left, MAX_RETURNED)
    for _, task in ipairs(next_aside(aside, most)) do
      local _, q = flows_of(task.lane)
      if rules_of_queue(q.name).pull or host_of_task(task) ~= host then
        aside.live = math.max(0, aside.live - 1)
        become(task, 'r')
        save_waiting(task)
        push_back(queue(task.lane), task.id)
      else
        push_back(aside, task.id)
      end
    end
    left = aside.length > 0 and left - most or 0
    if left > 0 then redis.call('HSET', K.flows, 's/' .. host, left) else redis.call('HDEL', K.flows, 's/' .. host) end
    return left
  end

  -- The time of a host with tasks set aside has come.
  wake_host = function(host)
    local aside = queue('x' .. host)
    local until_probe = held_until(host)
    local left = tonumber(redis.call('HGET', K.flows, 's/' .. host) or '0')
    local again = now
    if left > 0 then
      if sift(aside, host, left) == 0 and until_probe then again = math.max(now, until_probe) end
    elseif until_probe then
      offer_probe(aside)
      again = now + PROBE_AGAIN_MS
    else
      give_back(aside)
    end
    if aside.length == 0 then remove_time(K.wakes, 'h/' .. host) else look_at(host, again) end
  end
end
