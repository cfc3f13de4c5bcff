-- Who holds the ordering key of a task.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] id.
-- Returns the holder's id, or nothing.
expect('t')
local task = load(ARGV[3])
return task and task.ordering and ordering_of(task.ordering).holder or false
