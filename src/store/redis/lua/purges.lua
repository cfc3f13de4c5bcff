-- How far the purges of queues are; included by the commands that know of them.
-- A purge goes through the log of accepted tasks, from its oldest part up to what was accepted when it began.

local function unpack_purge(packed)
  local p = cmsgpack.unpack(packed)
  return { started = p[1], first = p[2], place = p[3], upto = p[4], removed = p[5], number = p[6] }
end

local function share_of(p)
  return p.upto > p.first and (p.place - p.first) / (p.upto - p.first) or 1
end

-- Start, number removed and share done of a queue's purge, as text; all nought when there is none.
local function purge_of(queue_name)
  local packed = redis.call('HGET', K.purges, queue_name)
  if not packed then return '0', '0', '0' end
  local p = unpack_purge(packed)
  return string.format('%.0f', p.started), string.format('%.0f', p.removed), tostring(share_of(p))
end

local function save_purge(queue_name, p)
  redis.call('HSET', K.purges, queue_name, cmsgpack.pack({ p.started, p.first, p.place, p.upto, p.removed, p.number }))
end
