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
--          '1' to change nothing when the task is to be cancelled, time in ms to change nothing when the task
--          was to be started before it ('' = either way), number of fields to answer and their names, then pairs
--          of field and value to set in the state ('' as value deletes the field)
-- returns  {'ok', id of the first event, cancel flag ('' or '1'), {value, …} of the fields if there are any}
--          {'repeated', id of the last event, cancel flag}   this write was done before
--          {'repeated', id of the first event, cancel flag}  this append, which is done only once, was
--          {'reused'}                                        another append was, under the same key
--          {'exists'} | {'unknown'} | {'fenced', state} | {'refused', state} | {'cancelling'}
--                                                            nothing was changed

local publish, topic, maxEvents, expireMs = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local known, fingerprint, onceMs, count = ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local once = fingerprint ~= '' and KEYS[#KEYS] or nil
local log, state = KEYS[1], KEYS[2] ~= once and KEYS[2] or nil
local firstEvent = 9
local firstGuard = firstEvent + count * 4
local allowed, run, write, givesWay, startBy = unpack(ARGV, firstGuard, firstGuard + 4)
local firstAnswered = firstGuard + 6
local firstField = firstAnswered + (tonumber(ARGV[firstAnswered - 1]) or 0)
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
  local now = redis.call('HMGET', state, 'state', 'run', 'write', 'lastEventId', 'cancel', 'expiresAt')
  cancel, lastOfTask = now[5] or '', now[4]
  if allowed == '' then
    if now[1] then return { 'exists' } end
  else
    if not now[1] then return { 'unknown' } end
    if run ~= '' and now[2] ~= run then return { 'fenced', now[1] } end
    if write ~= '' and tonumber(write) <= tonumber(now[3] or 0) then return { 'repeated', now[4], cancel } end
    if not string.find(' ' .. allowed .. ' ', ' ' .. now[1] .. ' ', 1, true) then return { 'refused', now[1] } end
    if givesWay == '1' and cancel == '1' then return { 'cancelling' } end
    if startBy ~= '' and now[6] and tonumber(now[6]) <= tonumber(startBy) then return { 'refused', now[1] } end
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

local function addFirst(i)
  local last = lastOfTask
  if not state then
    local entries = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
    last = #entries > 0 and entries[1][1]
  end
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

local firstId = addFirst(firstEvent)
if firstId.err then return firstId end
local lastId, nextId = firstId, nextOfEpoch(firstId)
local message = {}
for i = firstEvent, firstGuard - 1, 4 do
  if i > firstEvent then lastId = add(nextId, i) end
  message[#message + 1] = lastId .. ' ' .. ARGV[i + 1] .. ' ' .. ARGV[i] .. ' ' .. ARGV[i + 2] .. ' ' .. #ARGV[i + 3] ..
    '\n' .. ARGV[i + 3]
end

if state then
  local set, unset = { 'lastEventId', lastId }, {}
  if write ~= '' then
    set[3], set[4] = 'write', write
  end
  for i = firstField, #ARGV, 2 do
    if ARGV[i + 1] == '' then
      unset[#unset + 1] = ARGV[i]
    else
      set[#set + 1], set[#set + 2] = ARGV[i], ARGV[i + 1]
    end
  end
  redis.call('HSET', state, unpack(set))
  if #unset > 0 then redis.call('HDEL', state, unpack(unset)) end
  if expireMs > 0 then redis.call('PEXPIRE', state, expireMs) end
end
if expireMs > 0 then redis.call('PEXPIRE', log, expireMs) end
if once then redis.call('SET', once, fingerprint .. ' ' .. firstId, 'PX', onceMs) end
redis.call(publish, topic, table.concat(message))
local values = nil
if firstField > firstAnswered then values = redis.call('HMGET', state, unpack(ARGV, firstAnswered, firstField - 1)) end
return { 'ok', firstId, cancel, values }
