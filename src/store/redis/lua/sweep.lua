-- Forgets finished tasks whose retention is over, names that are free again, and what the log has of them.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] the most of each to forget, ARGV[4] "1" when memory is short: then finished
--   tasks go before their time, those first that would go first.
-- Returns { tasks, names }.
expect('cf')
local limit = tonumber(ARGV[3])
local pressed = ARGV[4] == '1'
local tasks = 0
visit_spans('e', K.expiry, pressed and '+inf' or now, limit * 4, function(_, task, span)
  if not task or not task.expires or math.floor(task.expires / EXPIRY_SPAN_MS) ~= span then return nil end
  if (task.expires > now and not pressed) or tasks >= limit then return 'stay' end
  task.was_expiring = false
  drop(task)
  tasks = tasks + 1
  return 'done'
end)

local scopes = redis.call('ZRANGEBYSCORE', K.names_until, '-inf', now, 'LIMIT', 0, limit)
for _, scope in ipairs(scopes) do
  redis.call('ZREM', K.names_until, scope)
  redis.call('HDEL', K.names, scope)
end

commit()

-- The log is walked in step with what goes, from its oldest part on and round again; the segment that still
-- grows is left alone.
local accepted = tonumber(redis.call('HGET', K.meta, 'accepted') or '0')
local growing = math.floor(accepted / SEGMENT)
local first = tonumber(redis.call('HGET', K.meta, 'log_first') or '0')
local cursor = math.max(first, tonumber(redis.call('HGET', K.meta, 'log_cursor') or '0'))
local start_first, start_cursor = first, cursor
local budget = math.min(1 + 2 * math.ceil(tasks / SEGMENT), growing - first)
for _ = 1, budget do
  if cursor >= growing then cursor = first end
  local ids = redis.call('HGET', K.log, cursor)
  local alive = false
  if ids then
    for at = 1, #ids, ID do
      if redis.call('HEXISTS', K.tasks, ids:sub(at, at + ID - 1)) == 1 then
        alive = true
        break
      end
    end
    if not alive then redis.call('HDEL', K.log, cursor) end
  end
  if not alive and cursor == first then first = first + 1 end
  cursor = cursor + 1
end
if first ~= start_first or cursor ~= start_cursor then
  redis.call('HSET', K.meta, 'log_first', first, 'log_cursor', cursor)
end
return { tasks, #scopes }
