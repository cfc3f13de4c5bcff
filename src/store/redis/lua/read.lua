-- Reads one task.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] id.
-- Returns its row, or nothing.
expect('t')
local task = load(ARGV[3])
return task and row(task) or false
