-- The audit: entries of what people did, each with its number; included by the commands that keep some.
-- An entry is kept as "number token JSON"; the token is that of the call that brought it.

-- Whether a call's entry is among the latest: then it was sent before, and its answer lost.
local RECENT = 20
local function was_kept(token)
  for _, kept in ipairs(redis.call('LRANGE', K.audit, 0, RECENT - 1)) do
    if kept:match('^%d+ (%S+) ') == token then return true end
  end
  return false
end

-- Keeps an entry (JSON), and of all entries the latest `most`.
local function keep_entry(token, entry, most)
  local number = redis.call('HINCRBY', K.meta, 'audited', 1)
  redis.call('LPUSH', K.audit, number .. ' ' .. token .. ' ' .. entry)
  redis.call('LTRIM', K.audit, 0, tonumber(most) - 1)
end
