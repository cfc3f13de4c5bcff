-- Reads a part of the log of accepted tasks, newest first, and returns those that fit.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] place to begin before (empty: the newest), ARGV[4] the most to return,
--   ARGV[5] queue or empty, ARGV[6] client or empty, ARGV[7] letters of the states wanted or empty, ARGV[8] and
--   ARGV[9] accepted from and before, in milliseconds.
-- Returns { place where it stopped (0: nothing is left), row, … }.
expect('octttbb')
local SEGMENTS = 8
local wanted, queue_name, client, states = tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
local from, to = tonumber(ARGV[8]), tonumber(ARGV[9])
local accepted = tonumber(redis.call('HGET', K.meta, 'accepted') or '0')
local first = tonumber(redis.call('HGET', K.meta, 'log_first') or '0') * SEGMENT
local place = math.min(ARGV[3] == '' and accepted or tonumber(ARGV[3]), accepted)
local reply = { '0' }

local function fits(task)
  if states ~= '' and not states:find(task.state, 1, true) then return false end
  if task.created < from or task.created >= to then return false end
  if queue_name == '' and client == '' then return true end
  local _, its_queue, its_client = lane_name(task.lane):match('^(%d)/([^/]*)/(.*)$')
  return (queue_name == '' or its_queue == queue_name) and (client == '' or its_client == client)
end

for _ = 1, SEGMENTS do
  if place <= first or #reply > wanted then break end
  local segment = math.floor((place - 1) / SEGMENT)
  local ids = redis.call('HGET', K.log, segment)
  while place > segment * SEGMENT and #reply <= wanted do
    local at = (place - 1 - segment * SEGMENT) * ID
    local id = ids and ids:sub(at + 1, at + ID) or ''
    local task = #id == ID and load(id)
    if task and fits(task) then reply[#reply + 1] = row(task) end
    place = ids and place - 1 or segment * SEGMENT
  end
end
reply[1] = tostring(place > first and place or 0)
return reply
