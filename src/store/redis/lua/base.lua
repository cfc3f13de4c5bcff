-- What everything else stands on: the names of the keys, the arguments' form, the time. Put in front of each command.
--
-- KEYS: the same for every command, in the order below. ARGV and results stand in the head of each file.
-- Errors: of our own only for arguments that are none (see `expect`); Redis' OOM refuses a command that needs memory as a whole, before it has written anything.
--
-- All ids are 26 bytes. A packed queue keeps them 64 to a field, so that an id in a queue costs 26 bytes.

-- Before each call, for a library's parts outlive it; and the keys may be another store's.
local K, channel, now
per_call(function()
  K = {
    tasks = KEYS[1],       -- hash: id -> fixed part: head .. "\n" .. what the task is
    state = KEYS[2],       -- hash: id -> changing part (MessagePack or, of most, text: see write_plain); absent while a task is as it was accepted
    queues = KEYS[3],      -- hash: packed queues: "m" .. name -> its ends, name .. ":" .. n -> ids
    lanes = KEYS[4],       -- hash: lane's name -> number, "i" .. number -> name
    rings = { [0] = KEYS[5], KEYS[6], KEYS[7], KEYS[8] }, -- lists: numbers of the lanes with something to claim, by rank
    due = KEYS[9],         -- sorted set: id by due time, of what falls due soon
    later = KEYS[10],      -- sorted set: spans of time that have a packed queue, by the first due time in them
    leases = KEYS[11],     -- sorted set: spans in which leases end, likewise
    expiry = KEYS[12],     -- sorted set: spans in which retentions end, likewise
    names = KEYS[13],      -- hash: scope -> id, or id .. " " .. until
    names_until = KEYS[14], -- sorted set: scope by the time it is free again
    orderings = KEYS[15],  -- hash: ordering key -> holder and number of unfinished tasks
    counts = KEYS[16],     -- hash: lane .. state -> number of tasks
    log = KEYS[17],        -- hash: number -> 64 ids in order of acceptance
    meta = KEYS[18],       -- hash: version and counters
    claims = KEYS[19],     -- hash: worker -> its latest exchange, to answer a repeated one alike
    workers = KEYS[20],    -- hash: worker -> what it announced, and when
    settings = KEYS[21],   -- hash: "c/" .. client, "t/" .. tier or "q/" .. queue -> revision .. " " .. JSON
    limits = KEYS[22],     -- hash: the same -> what the commands need of it (MessagePack)
    index = KEYS[23],      -- sorted set: the same, all at nought, for listings in order
    flows = KEYS[24],      -- hash: client or queue -> tasks running and lanes parked; "b/" .. queue -> its tokens; "w/" .. client -> its
                           -- requests; "h/" .. host -> milliseconds it is held back; "s/" .. host -> places to look through
    wakes = KEYS[25],      -- sorted set: client or queue with parked lanes, by the time it is looked at again
    purges = KEYS[26],     -- hash: queue -> how far its purge is
    audit = KEYS[27],      -- list: entries, the newest first
    hosts = KEYS[28],      -- sorted set: hosts that are held back, by the time of their next probe
  }
  channel = ARGV[2]
  -- Milliseconds since the epoch.
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[1])
end)

local ID = 26
local SEGMENT = 64
-- Tasks due within two spans stand in a sorted set, the others in the packed queue of their span.
local SPAN_MS = 10000
-- Ends of leases and of retentions are only known to their span.
local LEASE_SPAN_MS = 250
local EXPIRY_SPAN_MS = 10000

-- Holds a command's arguments, from the third on, against their form: a letter for each, and for those that repeat
-- after them one for each of a group. To be called before anything is written, for what has been written stays when a
-- command fails. t: text; n: a number; d: a duration; b: a bound, which may be none (inf); o: a number or empty;
-- r: a rank or empty; c: how many; f: 0 or 1.
local expect
do
  local function is_number(text)
    local value = tonumber(text)
    return value ~= nil and value >= -1e16 and value <= 1e16
  end
  local function is_count(text)
    local value = tonumber(text)
    return value ~= nil and value >= 0 and value <= 1e6 and value % 1 == 0
  end
  local fits = {
    t = function() return true end,
    n = is_number,
    d = function(text) return is_number(text) and tonumber(text) >= 0 end,
    -- Only what is no number at all differs from itself.
    b = function(text) return tonumber(text) ~= nil and tonumber(text) == tonumber(text) end,
    o = function(text) return text == '' or is_number(text) end,
    r = function(text) return text == '' or text:find('^[0-3]$') ~= nil end,
    c = is_count,
    f = function(text) return text == '0' or text == '1' end,
  }
  local function judge(first, form)
    for at = 1, #form do
      local text, letter = ARGV[first + at - 1], form:sub(at, at)
      if not text or not fits[letter](text) then
        error('argument ' .. (first + at - 1) .. ' is not of the form ' .. letter, 0)
      end
    end
  end
  expect = function(form, group)
    judge(1, 'nt' .. form)
    local first, last = 3 + #form, #ARGV
    if not group then
      if last ~= first - 1 then error('there are ' .. last .. ' arguments and not ' .. (first - 1), 0) end
      return
    end
    if (last - first + 1) % #group ~= 0 then error('the last of the arguments are not all there', 0) end
    if group:find('[^t]') then
      for at = first, last, #group do judge(at, group) end
    end
  end
end

-- Spans of time are kept as text in base 36.
local to36
do
  local DIGITS = '0123456789abcdefghijklmnopqrstuvwxyz'
  to36 = function(n)
    local text = ''
    repeat
      local digit = n % 36
      text = DIGITS:sub(digit + 1, digit + 1) .. text
      n = (n - digit) / 36
    until n == 0
    return text
  end
end

local function span_text(ms)
  return ms < 0 and '-' .. to36(-ms) or to36(ms)
end

local function text_span(text)
  return text:sub(1, 1) == '-' and -tonumber(text:sub(2), 36) or tonumber(text, 36)
end

-- When an id was made: its first ten characters are milliseconds in Crockford's base 32. A task's times are kept
-- as what lies between them and that: a few characters instead of thirteen.
local id_time
do
  -- Letters are counted from A as 10 on, but for I, L, O and U, which the alphabet leaves out.
  local function value_of(byte)
    if byte < 65 then return byte - 48 end
    local value = byte - 55
    if byte > 73 then value = value - 1 end
    if byte > 76 then value = value - 1 end
    if byte > 79 then value = value - 1 end
    if byte > 85 then value = value - 1 end
    return value
  end
  local id_times
  per_call(function() id_times = {} end)
  id_time = function(id)
    local text = id:sub(1, 10)
    local time = id_times[text]
    if not time then
      time = 0
      for at = 1, 10 do time = time * 32 + value_of(text:byte(at) or 48) end
      id_times[text] = time
    end
    return time
  end
end
