-- Begins the purge of a queue, in place of one that is under way, and keeps an entry of it.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] queue, ARGV[4] token of this call, ARGV[5] entry for the audit, ARGV[6] the
--   most entries to keep.
expect('tttc')
if was_kept(ARGV[4]) then return true end
-- Tells the tasks that wait now from those that begin to wait again later.
local number = redis.call('HINCRBY', K.meta, 'purges', 1)
local first = tonumber(redis.call('HGET', K.meta, 'log_first') or '0') * SEGMENT
local upto = tonumber(redis.call('HGET', K.meta, 'accepted') or '0')
save_purge(ARGV[3], { started = now, first = first, place = first, upto = upto, removed = 0, number = number })
keep_entry(ARGV[4], ARGV[5], ARGV[6])
return true
