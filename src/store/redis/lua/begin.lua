-- Opens the store: an empty one is given this build's version of the schema.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] the version this build reads and writes.
-- Returns the version that the store has.
redis.call('HSETNX', K.meta, 'version', ARGV[3])
return redis.call('HGET', K.meta, 'version')
