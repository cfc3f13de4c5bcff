-- Accepts tasks, each admitted on its own: all of the admitted ones in one step.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] "1" when queues are made by their first task, then for each task two: its
--   id with its head "rank/queue/client,scheduled,retention,ordering key,scopes,revision" (scheduled in base 36, or "+" and what is to pass until then; all but
--   the first may be empty; the revision is that of the client's settings it was held against); what it is.
-- Returns the time, then for each task "r" (ready), "s" (scheduled), the id of the task that has its name, "l" and the
--   milliseconds until its client's limit lets one in, "cd" (client disabled), "qd" (queue disabled), "qn" (no such
--   queue) or "u" (its client's lists have another revision); then for each client with a limit of requests five:
--   its id, its tier, the limit, what is left of it, milliseconds until all of it is there again.
-- A task whose id is there already was accepted by an earlier sending of the same call: it is told again, and neither
-- it nor a duplicate is charged.
local WINDOW_MS, ENTRY_MS = 60000, 1000

-- Requests a minute, as core/rate-window.ts counts them: { first, last, count, first, last, count, … }.
local windows
per_call(function() windows = {} end)
local function open_window(client, raw)
  local w = { entries = raw and cmsgpack.unpack(raw) or {}, requests = 0 }
  while w.entries[1] and w.entries[2] + WINDOW_MS <= now do
    for _ = 1, 3 do table.remove(w.entries, 1) end
  end
  for at = 3, #w.entries, 3 do w.requests = w.requests + w.entries[at] end
  windows[client] = w
  return w
end

local function window_of(client)
  return windows[client] or open_window(client, redis.call('HGET', K.flows, 'w/' .. client))
end

-- Reads in a few calls what many tasks of many clients need.
local function preload_heads()
  local names, clients, seen = {}, {}, {}
  for at = 4, #ARGV, 2 do
    local head = head_of(ARGV[at]:sub(ID + 1))
    if not seen[head] then
      seen[head] = true
      names[#names + 1] = head.name
      if not seen[head.client] then
        seen[head.client] = true
        clients[#clients + 1] = head.client
      end
    end
  end
  if #clients < 2 then return end
  local uses, kept, numbers = {}, {}, {}
  for place, client in ipairs(clients) do uses[place], kept[place] = 'w/' .. client, 'c/' .. client end
  for place, raw in ipairs(redis.call('HMGET', K.flows, unpack(uses))) do open_window(clients[place], raw) end
  for place, packed in ipairs(redis.call('HMGET', K.limits, unpack(kept))) do
    limits[kept[place]] = packed and cmsgpack.unpack(packed) or false
  end
  for place, number in ipairs(redis.call('HMGET', K.lanes, unpack(names))) do
    if number then
      lane_numbers[names[place]], lane_names[number] = number, names[place]
      numbers[#numbers + 1] = number
    end
  end
  preload_queues(numbers)
end

local function may_enter(head)
  local limit = head.limits.per_minute
  if limit < 0 then return true end
  local w = window_of(head.client)
  if w.requests >= limit then return false end
  local e = w.entries
  if #e == 0 or now - e[#e - 2] >= ENTRY_MS then
    e[#e + 1], e[#e + 2], e[#e + 3] = now, now, 1
  else
    e[#e - 1], e[#e] = math.max(e[#e - 1], now), e[#e] + 1
  end
  w.requests, w.dirty = w.requests + 1, true
  return true
end

local function room_after(client, limit)
  local w = window_of(client)
  local over = w.requests - limit + 1
  for at = 3, #w.entries, 3 do
    over = over - w.entries[at]
    if over <= 0 then return w.entries[at - 1] + WINDOW_MS - now end
  end
  return WINDOW_MS
end

-- Why tasks of a head are refused whatever the client has left; nil when they are not.
local function refusal(head)
  local l = limits_of_client(head.client)
  local r = rules_of_queue(head.queue)
  head.limits = l
  if not l.enabled then return 'cd' end
  if not r.known and ARGV[3] ~= '1' then return 'qn' end
  if not r.enabled then return 'qd' end
  if l.revision ~= 0 and l.revision ~= head.revision then return 'u' end
  return nil
end

return run(function()
  expect('f', 'tt')
  for at = 4, #ARGV, 2 do head_of(ARGV[at]:sub(ID + 1)) end
  find_times(K.due, K.later)
  promote(100)
  find_out(4)
  preload_heads()
  local limited, told_limited = {}, {}
  local reply = { string.format('%.0f', now) }
  for at = 4, #ARGV, 2 do
    local id, head = ARGV[at]:sub(1, ID), head_of(ARGV[at]:sub(ID + 1))
    local holder = head.scopes and name_holder(head.scopes)
    local answer
    if holder and holder ~= id then
      answer = holder
    else
      if head.refusal == nil then head.refusal = refusal(head) or false end
      -- One that is there was admitted when it was sent before, whatever is refused by now.
      answer = not is_there[id] and head.refusal
      if not answer then
        answer = accept(id, head, ARGV[at + 1], may_enter)
        if not answer then answer = 'l' .. room_after(head.client, head.limits.per_minute)
        else register_unknown(head) end
      end
    end
    -- Whatever became of its tasks: each client with a limit is told how it stands.
    if not told_limited[head.client] and limits_of_client(head.client).per_minute >= 0 then
      told_limited[head.client] = true
      limited[#limited + 1] = head.client
    end
    reply[#reply + 1] = answer
  end

  local kept_windows = {}
  for _, client in ipairs(limited) do
    local w, l = window_of(client), limits_of_client(client)
    if w.dirty then
      kept_windows[#kept_windows + 1], kept_windows[#kept_windows + 2] = 'w/' .. client, cmsgpack.pack(w.entries)
    end
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3] = client, l.tier, tostring(l.per_minute)
    reply[n + 4] = tostring(math.max(0, l.per_minute - w.requests))
    reply[n + 5] = tostring(#w.entries > 0 and w.entries[#w.entries - 1] + WINDOW_MS - now or 0)
  end
  call_in_chunks('HSET', K.flows, kept_windows)
  commit()
  if sooner then redis.call('PUBLISH', channel, 'work') end
  return reply
end)
