-- Appends events to a channel's log, trims it, sets its expiry and publishes. Not a script by itself: it is put before
-- those that append, which check first whether they may.
--
-- KEYS[1]  the log (stream)
-- ARGV     publish command ('PUBLISH' or 'SPUBLISH'), pub/sub name, most events kept, expiry in ms (0 = none),
--          last id that the writer knows to have been in the log ('' = none), number of events, then per event:
--          type, time in ms, format ('json' or 'text'), data; then what belongs to the script, from `rest` on

local log = KEYS[1]
local publish, topic, maxEvents, expireMs = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local known, count = ARGV[5], tonumber(ARGV[6])
local firstEvent = 7
local rest = firstEvent + count * 4

-- That of an empty log, or of one that new-epoch.lua has moved on, stands nowhere else.
local function lastGeneratedId()
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end

local function parts(id)
  local epoch, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(epoch) or 0, tonumber(seq) or 0
end

local function isBeforeKnown(id)
  if known == '' or known == id then return false end
  local epoch, seq = parts(id)
  local knownEpoch, knownSeq = parts(known)
  return epoch < knownEpoch or (epoch == knownEpoch and seq < knownSeq)
end

-- A fresh epoch begins with an explicit 1, since '-*', which continues one, would begin it with 0.
local function firstOfEpoch()
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  return string.format('%.0f-1', math.max(now, parts(known) + 1))
end
local function nextOfEpoch(id) return string.sub(id, 1, string.find(id, '-', 1, true)) .. '*' end

-- Approximate trimming is cheaper but keeps whole nodes of up to 100 entries, too coarse for a small limit.
local trim = tonumber(maxEvents) < 1000 and '=' or '~'
-- False where there is no log.
local function add(id, i)
  return redis.pcall('XADD', log, 'NOMKSTREAM', 'MAXLEN', trim, maxEvents, id, 'type', ARGV[i], 'time', ARGV[i + 1],
    ARGV[i + 2], ARGV[i + 3])
end

local function addFirst(last)
  local i = firstEvent
  if last and not isBeforeKnown(last) then
    local id = add(nextOfEpoch(last), i)
    if id and not id.err then return id end
  end
  if redis.call('EXISTS', log) == 0 then
    return redis.pcall('XADD', log, firstOfEpoch(), 'type', ARGV[i], 'time', ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  end
  -- new-epoch.lua has moved the log's last id past its last entry, or the log went back (failover, restore), which
  -- must not give a number to another event.
  last = lastGeneratedId()
  return add(isBeforeKnown(last) and firstOfEpoch() or nextOfEpoch(last), i)
end

local function lastEntryId()
  local entries = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  return #entries > 0 and entries[1][1]
end

-- `last` is the id of the log's last entry, where that is known. Returns the ids of the first and the last event, or
-- an error, and then nothing was changed.
local function appendToLog(last)
  local firstId = addFirst(last or lastEntryId())
  if firstId.err then return firstId end
  local lastId, nextId = firstId, nextOfEpoch(firstId)
  local message = {}
  for i = firstEvent, rest - 1, 4 do
    if i > firstEvent then lastId = add(nextId, i) end
    message[#message + 1] = lastId .. ' ' .. ARGV[i + 1] .. ' ' .. ARGV[i] .. ' ' .. ARGV[i + 2] .. ' ' .. #ARGV[i + 3] ..
      '\n' .. ARGV[i + 3]
  end
  if expireMs > 0 then redis.call('PEXPIRE', log, expireMs) end
  redis.call(publish, topic, table.concat(message))
  return firstId, lastId
end
