-- Appends events to a channel's log, all or nothing. For a task it first checks that the transition is allowed and
-- that the writer is not an older run (fencing), and updates the task's state in the same step.
--
-- KEYS[1]  the log (stream)
-- KEYS[2]  the task's state (hash); absent for other channels
-- the last one, where there is a fingerprint: what is remembered of an append that is done only once (string)
-- ARGV     those of append-to-log.lua, fingerprint of an append that is done only once ('' = of any other), how long
--          that is remembered in ms;
--          for a task then: allowed states separated by blanks ('' = the task must not exist yet),
--          run that must be the current one ('' = any), number of this write within the run ('' = none),
--          '1' to change nothing when the task is to be cancelled, time in ms to change nothing when the task
--          was to be started before it ('' = either way), number of fields to answer and their names, then pairs
--          of field and value to set in the state ('' as value deletes the field)
-- returns  {'ok', id of the first event, cancel flag ('' or '1'), channels for copies (JSON, '' = none),
--            {value, …} of the fields}
--          {'repeated', id of the last event, cancel flag, channels for copies}    this write was done before
--          {'repeated', id of the first event, cancel flag, channels for copies}   this append, done only once, was
--          {'reused'}                                        another append was, under the same key
--          {'exists'} | {'unknown'} | {'fenced', state} | {'refused', state} | {'cancelling'}
--                                                            nothing was changed

local fingerprint, onceMs = ARGV[rest], ARGV[rest + 1]
local once = fingerprint ~= '' and KEYS[#KEYS] or nil
local state = KEYS[2] ~= once and KEYS[2] or nil
local allowed, run, write, givesWay, startBy = unpack(ARGV, rest + 2, rest + 6)
local firstAnswered = rest + 8
local firstField = firstAnswered + (tonumber(ARGV[firstAnswered - 1]) or 0)
local cancel, copies, last = '', '', nil

local now = state and redis.call('HMGET', state, 'state', 'run', 'write', 'lastEventId', 'cancel', 'expiresAt', 'channels')
if state then
  last, cancel, copies = now[4], now[5] or '', now[7] or ''
end

if once then
  local done = redis.call('GET', once)
  if done then
    local print, id = string.match(done, '^(%S+) (%S+)$')
    if print ~= fingerprint then return { 'reused' } end
    return { 'repeated', id, cancel, copies }
  end
end

if state and allowed == '' then
  if now[1] then return { 'exists' } end
elseif state then
  if not now[1] then return { 'unknown' } end
  if run ~= '' and now[2] ~= run then return { 'fenced', now[1] } end
  if write ~= '' and tonumber(write) <= tonumber(now[3] or 0) then return { 'repeated', last, cancel, copies } end
  if not string.find(' ' .. allowed .. ' ', ' ' .. now[1] .. ' ', 1, true) then return { 'refused', now[1] } end
  if givesWay == '1' and cancel == '1' then return { 'cancelling' } end
  if startBy ~= '' and now[6] and tonumber(now[6]) <= tonumber(startBy) then return { 'refused', now[1] } end
end

local firstId, lastId = appendToLog(last)
if firstId.err then return firstId end
if once then redis.call('SET', once, fingerprint .. ' ' .. firstId, 'PX', onceMs) end
if not state then return { 'ok', firstId } end

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

local values = nil
if firstField > firstAnswered then values = redis.call('HMGET', state, unpack(ARGV, firstAnswered, firstField - 1)) end
return { 'ok', firstId, cancel, copies, values }
