-- Appends events to a channel's log, trims it, sets its expiry and publishes, all or nothing. For a task it
-- first checks that the transition is allowed and that the writer is not an older run (fencing), and updates
-- the task's state in the same step.
--
-- KEYS[1]  the log (stream)
-- KEYS[2]  the task's state (hash); absent for other channels
-- the last one, where there is a fingerprint: what is remembered of an append that is done only once (string)
-- ARGV     publish command ('PUBLISH' or 'SPUBLISH'), pub/sub name, most events kept, expiry in ms (0 = none),
--          last id that the writer knows to have been in the log ('' = none), fingerprint of an append that is
--          done only once ('' = of any other), how long that is remembered in ms, number of events, then per
--          event: type, time in ms, format ('json' or 'text'), data;
--          for a task then: allowed states separated by blanks ('' = the task must not exist yet),
--          run that must be the current one ('' = any), number of this write within the run ('' = none),
--          '1' to change nothing when the task is to be cancelled, then pairs of field and value to set in the
--          state ('' as value deletes the field)
-- returns  {'ok', id of the first event, cancel flag ('' or '1')}
--          {'repeated', id of the last event, cancel flag}   this write was done before
--          {'repeated', id of the first event, cancel flag}  this append, which is done only once, was
--          {'reused'}                                        another append was, under the same key
--          {'exists'} | {'unknown'} | {'fenced', state} | {'refused', state} | {'cancelling'}
--                                                            nothing was changed

local publish, topic, maxEvents, expireMs = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local known, fingerprint, onceMs, count = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local once = fingerprint ~= '' and KEYS[#KEYS] or nil
local log, state = KEYS[1], KEYS[2] ~= once and KEYS[2] or nil
local firstEvent = 9
local firstGuard = firstEvent + count * 4
local allowed, run, write, givesWay = unpack(ARGV, firstGuard, firstGuard + 3)
local firstField = firstGuard + 4
local cancel, lastOfTask = '', nil

if once then
  local done = redis.call('GET', once)
  if done then
    local print, id = string.match(done, '^(%S+) (%S+)$')
    if print ~= fingerprint then return { 'reused' } end
    return { 'repeated', id, state and redis.call('HGET', state, 'cancel') or '' }
  end
end

if state then
  local now = redis.call('HMGET', state, 'state', 'run', 'write', 'lastEventId', 'cancel')
  cancel, lastOfTask = now[5] or '', now[4]
  if allowed == '' then
    if now[1] then return { 'exists' } end
  else
    if not now[1] then return { 'unknown' } end
    if run ~= '' and now[2] ~= run then return { 'fenced', now[1] } end
    if write ~= '' and tonumber(write) <= tonumber(now[3] or 0) then return { 'repeated', now[4], cancel } end
    if not string.find(' ' .. allowed .. ' ', ' ' .. now[1] .. ' ', 1, true) then return { 'refused', now[1] } end
    if givesWay == '1' and cancel == '1' then return { 'cancelling' } end
  end
end

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

local knownEpoch, knownSeq = parts(known)
local function isBeforeKnown(id)
  local epoch, seq = parts(id)
  return epoch < knownEpoch or (epoch == knownEpoch and seq < knownSeq)
end

-- A fresh epoch begins with an explicit 1, since '-*', which continues one, would begin it with 0.
local function firstOfEpoch()
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  return string.format('%.0f-1', math.max(now, knownEpoch + 1))
end
local function nextOfEpoch(id) return string.match(id, '^%d+') .. '-*' end

local nextId
if redis.call('EXISTS', log) == 0 then
  nextId = firstOfEpoch()
else
  local last = lastOfTask
  if not last then
    local entries = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
    last = #entries > 0 and entries[1][1]
  end
  if not last or isBeforeKnown(last) then last = lastGeneratedId() end
  -- A log that went back (failover, restore) must not give a number to another event.
  nextId = isBeforeKnown(last) and firstOfEpoch() or nextOfEpoch(last)
end

-- Approximate trimming is cheaper but keeps whole nodes of up to 100 entries, too coarse for a small limit.
local trim = maxEvents < 1000 and '=' or '~'
local function add(id, type, time, format, data)
  return redis.pcall('XADD', log, 'MAXLEN', trim, maxEvents, id, 'type', type, 'time', time, format, data)
end

local firstId, lastId
local message = {}
for i = firstEvent, firstGuard - 1, 4 do
  local type, time, format, data = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  lastId = add(nextId, type, time, format, data)
  if not firstId then
    if lastId.err and redis.call('EXISTS', log) == 1 then
      -- new-epoch.lua moved the log's last id past its last entry.
      lastId = add(nextOfEpoch(lastGeneratedId()), type, time, format, data)
    end
    if lastId.err then return lastId end
    firstId = lastId
    nextId = nextOfEpoch(firstId)
  end
  message[#message + 1] = lastId .. ' ' .. time .. ' ' .. type .. ' ' .. format .. ' ' .. #data .. '\n'
  message[#message + 1] = data
end

if state then
  for i = firstField, #ARGV, 2 do
    if ARGV[i + 1] == '' then redis.call('HDEL', state, ARGV[i]) else redis.call('HSET', state, ARGV[i], ARGV[i + 1]) end
  end
  redis.call('HSET', state, 'lastEventId', lastId)
  if write ~= '' then redis.call('HSET', state, 'write', write) end
  if expireMs > 0 then redis.call('PEXPIRE', state, expireMs) end
end
if expireMs > 0 then redis.call('PEXPIRE', log, expireMs) end
if once then redis.call('SET', once, fingerprint .. ' ' .. firstId, 'PX', onceMs) end
redis.call(publish, topic, table.concat(message))
return { 'ok', firstId, cancel }
