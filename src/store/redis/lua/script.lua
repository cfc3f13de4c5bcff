-- Put in front of a command that runs as a script: from its top, at every call.

-- State of one call, as a part of the command begins with it.
local function per_call(begin) begin() end

local function run(body) return body() end
