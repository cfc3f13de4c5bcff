-- Reads a part of the audit, newest first.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] number of the entry to begin before (empty: the newest), ARGV[4] the most.
-- Returns for each "number token JSON".
expect('oc')
local latest = tonumber(redis.call('HGET', K.meta, 'audited') or '0')
local start = ARGV[3] == '' and 0 or math.max(0, latest - tonumber(ARGV[3]) + 1)
return redis.call('LRANGE', K.audit, start, start + tonumber(ARGV[4]) - 1)
