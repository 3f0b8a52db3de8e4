-- `appendEvent` appends events to a channel's log, all or nothing. For a task it first checks that the transition is
-- allowed and that the writer is not an older run (fencing), and updates the task's state in the same step.
-- append-to-log.lua stands before this; append-batch.lua, which stands behind it, calls it.
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
--     returning  fields to answer; absent = none
-- data     where in ARGV the events' data begin
-- returns  {'ok', id of the first event, cancel flag ('' or '1'), channels for copies (JSON, '' = none),
--            {value, …} of the fields}
--          {'repeated', id of the last event, cancel flag, channels for copies}    this write was done before
--          {'repeated', id of the first event, cancel flag, channels for copies}   this append, done only once, was
--          {'reused'}                                        another append was, under the same key
--          {'exists'} | {'unknown'} | {'fenced', state} | {'refused', state} | {'cancelling'}
--                                                            nothing was changed

local function appendEvent(keys, append, data)
  local log, task = keys[1], append.task
  local state = task and keys[2]
  local once = append.once and keys[#keys]
  local cancel, copies, last = '', '', nil

  local now = state and redis.call('HMGET', state, 'state', 'run', 'write', 'lastEventId', 'cancel', 'expiresAt', 'channels')
  if state then
    last, cancel, copies = now[4], now[5] or '', now[7] or ''
  end

  if once then
    local done = redis.call('GET', once)
    if done then
      local print, id = string.match(done, '^(%S+) (%S+)$')
      if print ~= append.once[1] then return { 'reused' } end
      return { 'repeated', id, cancel, copies }
    end
  end

  if task and task.from == '' then
    if now[1] then return { 'exists' } end
  elseif task then
    if not now[1] then return { 'unknown' } end
    if task.run and tonumber(now[2]) ~= task.run then return { 'fenced', now[1] } end
    if task.write and task.write <= tonumber(now[3] or 0) then return { 'repeated', last, cancel, copies } end
    if not string.find(' ' .. task.from .. ' ', ' ' .. now[1] .. ' ', 1, true) then return { 'refused', now[1] } end
    if task.givesWay and cancel == '1' then return { 'cancelling' } end
    if task.startBy and now[6] and tonumber(now[6]) <= task.startBy then return { 'refused', now[1] } end
  end

  local firstId, lastId = appendToLog(log, append, data, last)
  if firstId.err then return firstId end
  if once then redis.call('SET', once, append.once[1] .. ' ' .. firstId, 'PX', append.once[2]) end
  if not task then return { 'ok', firstId } end

  redis.call('HSET', state, 'lastEventId', lastId, unpack(task.set))
  if task.unset then redis.call('HDEL', state, unpack(task.unset)) end
  if append.expireMs then redis.call('PEXPIRE', state, append.expireMs) end
  return { 'ok', firstId, cancel, copies, task.returning and redis.call('HMGET', state, unpack(task.returning)) }
end
