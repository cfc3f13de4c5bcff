-- Put in front of a command that runs as a function: its library is run once, when the server takes it in, and what its
-- parts remember must be begun anew at each call.

local KEYS, ARGV
local begins = {}

-- State of one call, as a part of the command begins with it: nothing of an earlier call, which may have failed half-way
-- or been another store's, is to be seen.
local function per_call(begin) begins[#begins + 1] = begin end

local function run(body)
  redis.register_function({
    function_name = NAME,
    flags = { FLAGS },
    callback = function(keys, args)
      KEYS, ARGV = keys, args
      for _, begin in ipairs(begins) do begin() end
      return body()
    end,
  })
end
