-- Asks one path of many hosts in turn, and says what happened as one line of JSON.
-- Arguments: method, size of the body, hosts.

local requests = {}
local number = 0

function init(args)
    local body = nil
    if tonumber(args[2]) > 0 then
        body = string.rep("x", tonumber(args[2]))
    end
    for index = 3, #args do
        requests[#requests + 1] = wrk.format(args[1], nil, {["Host"] = args[index]}, body)
    end
end

function request()
    number = number % #requests + 1
    return requests[number]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "microseconds": %d, "bytes": %d, "p50": %d, "p99": %d, "slowest": %d, ' ..
        '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
        summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99), latency.max,
        errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
