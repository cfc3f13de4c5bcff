-- Makes leases hold longer.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] milliseconds from now, then for each lease its task's id and its fence.
-- Returns one letter a lease: s extended, c extended and its task was cancelled, x lost.
return run(function()
  expect('d', 'tn')
  local until_ms = now + tonumber(ARGV[3])
  local told, ids = {}, {}
  for at = 4, #ARGV, 2 do ids[#ids + 1] = ARGV[at] end
  preload(ids, false)
  for at = 4, #ARGV, 2 do
    local id, fence = ARGV[at], tonumber(ARGV[at + 1])
    local task = load(id)
    local letter = 'x'
    if task and task.lease and task.fence == fence then
      letter = task.state == 'c' and 'c' or 's'
    elseif task and not task.lease and task.fence < fence and (task.state == 'r' or task.state == 's' or task.state == 't')
      and take_key(task) then
      -- A lease whose record a failover has lost, of a task that nobody has had since: it is taken up again, unless
      -- another task has its ordering key by now.
      if task.state ~= 'r' then stop_waiting(task) end
      become(task, 'u')
      occupy(task)
      task.fence = fence
      letter = 's'
    end
    if letter ~= 'x' then
      task.lease = until_ms
      task.worker = task.worker or ''
      save(task)
    end
    told[#told + 1] = letter
  end
  commit()
  return table.concat(told)
end)
