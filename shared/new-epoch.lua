-- Begins a new epoch in a log that went back (a replica that lagged took over, an older copy was restored), so
-- that a number which was used is never given to another event. Looks again first: somebody else may have
-- done it, and then nothing is changed.
--
-- KEYS[1]  the log (stream)
-- ARGV     epoch and seq of an event that is known to have been in the log
-- returns  nothing

local log, knownEpoch, knownSeq = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

-- Without a log the next append begins an epoch of its own.
if redis.call('EXISTS', log) == 0 then return end

local info = redis.call('XINFO', 'STREAM', log)
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then
    local epoch, seq = string.match(info[i + 1], '^(%d+)-(%d+)$')
    epoch, seq = tonumber(epoch), tonumber(seq)
    if epoch > knownEpoch or (epoch == knownEpoch and seq >= knownSeq) then return end
  end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('XSETID', log, string.format('%.0f-0', math.max(now, knownEpoch + 1)))
