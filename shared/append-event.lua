-- `appendEvent` appends events to a channel's log, all or nothing. For a task it first checks that the transition is
-- allowed and that the writer is not an older run (fencing), and updates the task's state in the same step.
-- append-to-log.lua stands before this; append-batch.lua or begin-tasks.lua, which stands behind it, calls it.
--
-- keys     the log (stream); the task's state (hash), absent for other channels; what is remembered of an append that
--          is done only once (string), absent for any other
-- append   that of append-to-log.lua, with
--   once   of an append that is done only once: {fingerprint, how long it is remembered in ms}
--   task   of a task's log, what has to hold and what changes:
--     from       allowed states separated by blanks ('' = the task must not exist yet)
--     run        run that must be the current one; absent = any
--     write      number of this write within the run; absent = none
--     givesWay   whether to change nothing when the task is to be cancelled
--     startBy    time in ms to change nothing when the task was to be started before it; absent = either way
--     set        field, value, field, value, … to set in the state
--     unset      fields to delete; absent = none
--     answersFields  whether to answer the state as it is then
-- data     where in ARGV the events' data begin
-- returns  {'ok', id of the first event, cancel flag ('' or '1'), channels for copies (JSON, '' = none),
--            state (JSON, {field: value, …})}
--          {'repeated', id of the last event, cancel flag, channels for copies}    this write was done before
--          {'repeated', id of the first event, cancel flag, channels for copies}   this append, done only once, was
--          {'reused'}                                        another append was, under the same key
--          {'exists'} | {'unknown'} | {'fenced', state} | {'refused', state} | {'cancelling'}
--                                                            nothing was changed

local CONDITION_FIELDS = { 'state', 'run', 'write', 'lastEventId', 'cancel', 'expiresAt', 'channels' }

-- The state's fields by their names: all of them, or those of which conditions speak.
local function stateOf(key, isWhole)
  local state = {}
  if isWhole then
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do state[fields[i]] = fields[i + 1] end
  else
    local values = redis.call('HMGET', key, unpack(CONDITION_FIELDS))
    for i, field in ipairs(CONDITION_FIELDS) do state[field] = values[i] or nil end
  end
  return state
end

local function startsFrom(states, state)
  return states == state or string.find(' ' .. states .. ' ', ' ' .. state .. ' ', 1, true)
end

local function appendEvent(keys, append, data)
  local log, task = keys[1], append.task
  local state = task and keys[2]
  local once = append.once and keys[#keys]
  local now = state and stateOf(state, task.answersFields) or {}
  local cancel, copies = now.cancel or '', now.channels or ''

  if once then
    local done = redis.call('GET', once)
    if done then
      local print, id = string.match(done, '^(%S+) (%S+)$')
      if print ~= append.once[1] then return { 'reused' } end
      return { 'repeated', id, cancel, copies }
    end
  end

  if task and task.from == '' then
    if now.state then return { 'exists' } end
  elseif task then
    if not now.state then return { 'unknown' } end
    if task.run and tonumber(now.run or 0) ~= task.run then return { 'fenced', now.state } end
    if task.write and task.write <= tonumber(now.write or 0) then
      return { 'repeated', now.lastEventId, cancel, copies }
    end
    if not startsFrom(task.from, now.state) then return { 'refused', now.state } end
    if task.givesWay and cancel == '1' then return { 'cancelling' } end
    if task.startBy and now.expiresAt and tonumber(now.expiresAt) <= task.startBy then
      return { 'refused', now.state }
    end
  end

  local firstId, lastId = appendToLog(log, append, data, now.lastEventId)
  if firstId.err then return firstId end
  if once then redis.call('SET', once, append.once[1] .. ' ' .. firstId, 'PX', append.once[2]) end
  if not task then return { 'ok', firstId } end

  redis.call('HSET', state, 'lastEventId', lastId, unpack(task.set))
  if task.unset then redis.call('HDEL', state, unpack(task.unset)) end
  if append.expireMs then redis.call('PEXPIRE', state, append.expireMs) end
  if not task.answersFields then return { 'ok', firstId, cancel, copies } end
  now.lastEventId = lastId
  for i = 1, #task.set, 2 do now[task.set[i]] = task.set[i + 1] end
  for _, field in ipairs(task.unset or {}) do now[field] = nil end
  return { 'ok', firstId, cancel, copies, cjson.encode(now) }
end

-- Does one of several steps: answers {'failed', message} where it failed, an error only where nothing can be written at all.
local function byItself(step, ...)
  local _, answer = pcall(step, ...)
  if type(answer) ~= 'table' then answer = { err = answer } end
  if not answer.err or string.find(answer.err, '^READONLY') then return answer end
  return { 'failed', answer.err }
end
