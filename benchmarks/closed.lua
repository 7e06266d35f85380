-- Sends the bodies in turns and prints what came of it as JSON. Arguments: path, content type, files of bodies.
local requests, turn = {}, 0

function init(args)
  for place = 3, #args do
    local file = assert(io.open(args[place], "rb"))
    local headers = {["Content-Type"] = args[2]}
    requests[place - 2] = wrk.format("POST", args[1], headers, file:read("*a"))
    file:close()
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nBENCH {"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p90_ms": %.4f, "p99_ms": %.4f, "mean_ms": %.4f, '
      .. '"not_ok": %d, "lost": %d, "timeouts": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.mean / 1e3, errors.status, errors.connect + errors.read + errors.write,
    errors.timeout))
end
