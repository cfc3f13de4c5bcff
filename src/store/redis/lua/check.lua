-- Shows that the store takes writes: fails on a replica, and where memory has run out.
-- ARGV[1] skew, ARGV[2] channel.
redis.call('HSET', K.meta, 'probe', now)
return true
