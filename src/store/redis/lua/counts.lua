-- Counts tasks.
-- ARGV[1] skew, ARGV[2] channel.
-- Returns { counters: state letter .. lane's number, n, …; lanes: "i" .. number, name, …, and the other way round }.
return { redis.call('HGETALL', K.counts), redis.call('HGETALL', K.lanes) }
