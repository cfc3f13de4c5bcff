-- A task as the reading commands return it; included by those that do.

local function text(value)
  if not value then return '' end
  return tostring(value)
end

-- Eighteen strings; what is not there is empty. `fixed` is given where the rows are about to be dropped.
local function row(task, fixed)
  fixed = fixed or fixed_of(task)
  return {
    task.id, task.state, lane_name(task.lane), text(task.created), text(task.scheduled), text(task.due),
    text(task.retention), text(task.attempts), text(task.crashes), text(task.releases), text(task.fence),
    text(task.lease), text(task.worker), text(task.first), text(task.finished), text(task.reason), task.log, fixed,
  }
end
