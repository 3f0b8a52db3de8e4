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

-- Approximate trimming is cheaper but keeps whole nodes of up to 100 entries, too coarse for a small limit.
local trim = tonumber(maxEvents) < 1000 and '=' or '~'
-- False where there is no log.
local function add(id, i)
  return redis.pcall('XADD', log, 'NOMKSTREAM', 'MAXLEN', trim, maxEvents, id, 'type', ARGV[i], 'time', ARGV[i + 1],
    ARGV[i + 2], ARGV[i + 3])
end

local function nextOfEpoch(id) return string.sub(id, 1, string.find(id, '-', 1, true)) .. '*' end

-- Where the common case fails: the epoch is not known, or over, or has to end.
local function addAnyhow(i, endsEpoch)
  if endsEpoch or redis.call('EXISTS', log) == 0 then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local epoch = math.max(now, (tonumber(string.match(known, '^%d+')) or 0) + 1)
    -- '-*', which continues an epoch, would begin one with 0.
    return redis.pcall('XADD', log, string.format('%.0f-1', epoch), 'type', ARGV[i], 'time', ARGV[i + 1], ARGV[i + 2],
      ARGV[i + 3])
  end
  -- Of an empty log, or one that new-epoch.lua has moved on, the last id stands nowhere else.
  local info = redis.call('XINFO', 'STREAM', log)
  for k = 1, #info, 2 do
    if info[k] == 'last-generated-id' then return add(nextOfEpoch(info[k + 1]), i) end
  end
end

-- The common case asks nothing first: in the epoch that the writer knows, the next number has to be greater than
-- that of the last event it knows. If it isn't, the log went back (failover, restore), and goes on in a new epoch, so
-- that no number is given to another event. What was added is taken back: nobody has seen it.
local function addFirst(last, i)
  local at = known ~= '' and known or last
  local id = at and add(nextOfEpoch(at), i)
  if not id or id.err then return addAnyhow(i) end
  if known == '' or tonumber(string.match(id, '%d+$')) > tonumber(string.match(known, '%d+$')) then return id end
  redis.call('XDEL', log, id)
  return addAnyhow(i, true)
end

-- `last` is an id in the log's last epoch, where one is known. Returns the ids of the first and the last event, or
-- an error, and then nothing was changed.
local function appendToLog(last)
  local firstId = addFirst(last, firstEvent)
  if firstId.err then return firstId end
  local lastId = firstId
  local message = {}
  for i = firstEvent, rest - 1, 4 do
    if i > firstEvent then lastId = add(nextOfEpoch(firstId), i) end
    message[#message + 1] = lastId .. ' ' .. ARGV[i + 1] .. ' ' .. ARGV[i] .. ' ' .. ARGV[i + 2] .. ' ' .. #ARGV[i + 3] ..
      '\n' .. ARGV[i + 3]
  end
  if expireMs > 0 then redis.call('PEXPIRE', log, expireMs) end
  redis.call(publish, topic, table.concat(message))
  return firstId, lastId
end
