-- Removes finished tasks before their time.
-- ARGV[1] skew, ARGV[2] channel, then the ids.
-- Returns how many.
expect('', 't')
local ids, removed = {}, 0
for at = 3, #ARGV do ids[#ids + 1] = ARGV[at] end
preload(ids, false)
for _, id in ipairs(ids) do
  local task = load(id)
  if task and not task.lease and FINAL[task.state] then
    drop(task)
    removed = removed + 1
  end
end
commit()
-- One that held its ordering key has let the next go.
if removed > 0 then redis.call('PUBLISH', channel, 'work') end
return removed
