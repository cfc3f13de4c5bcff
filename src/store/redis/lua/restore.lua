-- Takes in again what an earlier primary acknowledged and this one never had. Nothing is asked and nothing charged: that
-- was done when it was accepted.
-- ARGV[1] skew, ARGV[2] channel, then for each task two, as enqueue.lua is given them.
-- Returns for each "r" or "s" when it is there now, or the id of the task that has its name: its own where it was here
-- and is over.
expect('', 'tt')
-- Nothing is written before all of them were found to be such.
for at = 3, #ARGV, 2 do head_of(ARGV[at]:sub(ID + 1)) end
find_out(3)
local reply = {}
for at = 3, #ARGV, 2 do
  local id, head = ARGV[at]:sub(1, ID), head_of(ARGV[at]:sub(ID + 1))
  local holder = not is_there[id] and head.scopes and name_holder(head.scopes)
  if not holder then
    holder = accept(id, head, ARGV[at + 1])
    register_unknown(head)
  end
  reply[#reply + 1] = holder
end
commit()
redis.call('PUBLISH', channel, 'work')
return reply
