-- What the scripts that append have in common: `appendToLog` appends events to a channel's log, trims it, sets its expiry
-- and publishes. It is put before them; they check first whether they may.
--
-- An append is a table, which comes as JSON:
--   topic      pub/sub name
--   maxEvents  most events kept
--   expireMs   the log then expires after this long; absent = it stays as it is
--   known      last id that the writer knows to have been in the log; absent = none
--   events     {type, time in ms, format ('json' or 'text')} of each event
-- The events' data, which can be long, stand in ARGV: from `data` on, one after the other.

local function nextOfEpoch(id) return string.sub(id, 1, string.find(id, '-', 1, true)) .. '*' end

local function seqOf(id) return tonumber(string.sub(id, string.find(id, '-', 1, true) + 1)) end

-- Adds the i-th event. False where there is no log.
local function add(log, append, data, id, i)
  -- Approximate trimming is cheaper but keeps whole nodes of up to 100 entries, too coarse for a small limit.
  local trim = append.maxEvents < 1000 and '=' or '~'
  local event = append.events[i]
  return redis.pcall('XADD', log, 'NOMKSTREAM', 'MAXLEN', trim, append.maxEvents, id, 'type', event[1], 'time', event[2],
    event[3], ARGV[data + i - 1])
end

-- An epoch that begins now, after all that are known, as the digits of its ids.
local function newEpoch(known)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  return string.format('%.0f', math.max(now, (tonumber(string.match(known or '', '^%d+')) or 0) + 1))
end

-- Where the common case fails: the epoch is not known, or over, or has to end.
local function addFirstAnyhow(log, append, data, endsEpoch)
  if endsEpoch or redis.call('EXISTS', log) == 0 then
    local event = append.events[1]
    -- '-*', which continues an epoch, would begin one with 0.
    local id = newEpoch(append.known) .. '-1'
    return redis.pcall('XADD', log, id, 'type', event[1], 'time', event[2], event[3], ARGV[data])
  end
  -- Of an empty log, or one that new-epoch.lua has moved on, the last id stands nowhere else.
  local info = redis.call('XINFO', 'STREAM', log)
  for k = 1, #info, 2 do
    if info[k] == 'last-generated-id' then return add(log, append, data, nextOfEpoch(info[k + 1]), 1) end
  end
end

-- The common case asks nothing first: in the epoch that the writer knows, the next number has to be greater than
-- that of the last event it knows. If it isn't, the log went back (failover, restore), and goes on in a new epoch, so
-- that no number is given to another event. What was added is taken back: nobody has seen it.
local function addFirst(log, append, data, last)
  local known = append.known
  local at = known or last
  local id = at and add(log, append, data, nextOfEpoch(at), 1)
  if not id or id.err then return addFirstAnyhow(log, append, data) end
  if not known or seqOf(id) > seqOf(known) then return id end
  redis.call('XDEL', log, id)
  return addFirstAnyhow(log, append, data, true)
end

-- An event as it is published.
local function messageOf(id, type, time, format, text)
  return id .. ' ' .. time .. ' ' .. type .. ' ' .. format .. ' ' .. #text .. '\n' .. text
end

-- `last` is an id in the log's last epoch, where one is known. Returns the ids of the first and the last event, or
-- an error, and then nothing was changed.
local function appendToLog(log, append, data, last)
  local firstId = addFirst(log, append, data, last)
  if firstId.err then return firstId end
  local lastId = firstId
  local message = {}
  for i, event in ipairs(append.events) do
    if i > 1 then lastId = add(log, append, data, nextOfEpoch(firstId), i) end
    message[i] = messageOf(lastId, event[1], event[2], event[3], ARGV[data + i - 1])
  end
  if append.expireMs then redis.call('PEXPIRE', log, append.expireMs) end
  redis.call('PUBLISH', append.topic, table.concat(message))
  return firstId, lastId
end
