-- Takes in several tasks: records each with its first event, notes it as open, lists it, and queues those that need no more
-- than a place in line. What one of them meets is no matter of the others. append-event.lua stands before this one.
--
-- KEYS     the open tasks, the index; of the queue what BullMQ calls wait, meta, id, active and marker; then for each task
--          its log, its state, its job and, if it is begun only once, what is remembered of that
-- ARGV     for each task
--            its member among the open tasks and in the index
--            id and name of its job, '' and '' if it is not queued here
--            its fingerprint and how long that is remembered in ms, '' and '' if it may be begun again
--            pub/sub name, type, time in ms and data of its first event
--            how many strings follow: field, value, field, value, …
-- returns  what append-batch.lua returns

local open, index, wait, meta, counter, active, marker = unpack(KEYS, 1, 7)
local epoch = newEpoch()
-- Of those that are begun: scores and members, and the ids of their jobs.
local entries, jobIds = {}, {}

local function addJob(job, jobId, name, time)
  redis.call('HSET', job, 'name', name, 'data', '{}', 'opts', '{}', 'timestamp', time, 'delay', '0', 'priority', '0')
  jobIds[#jobIds + 1] = jobId
end

-- The common case, in which nothing is there of the task, takes less than the other. `key` and `arg` are where the task
-- begins in KEYS and ARGV, `lastKey` and `last` where it ends.
local function begin(key, lastKey, arg, last)
  local log, state, job, once = unpack(KEYS, key, lastKey)
  local member, jobId, name, print, keptMs, topic, type, time, data = unpack(ARGV, arg, arg + 8)
  local answer
  local isNew = redis.call('EXISTS', unpack(KEYS, key, lastKey)) == 0
  if isNew then
    local id = epoch .. '-1'
    redis.call('XADD', log, id, 'type', type, 'time', time, 'json', data)
    redis.call('HSET', state, 'lastEventId', id, unpack(ARGV, arg + 10, last))
    if once then redis.call('SET', once, print .. ' ' .. id, 'PX', keptMs) end
    redis.call('PUBLISH', topic, messageOf(id, type, time, 'json', data))
    answer = { 'ok', id }
  else
    answer = appendEvent({ log, state, once }, {
      topic = topic,
      -- What is too much in a log that is left of another task goes with the next event.
      maxEvents = 10000,
      events = { { type, time, 'json' } },
      once = once and { print, keptMs },
      task = { from = '', set = { unpack(ARGV, arg + 10, last) } },
    }, arg + 8)
    if answer[1] ~= 'ok' then return answer end
  end
  if jobId ~= '' and (isNew or redis.call('EXISTS', job) == 0) then addJob(job, jobId, name, time) end
  entries[#entries + 1] = '0'
  entries[#entries + 1] = member
  return answer
end

-- What BullMQ's own script does for a job without options, less its events, which nobody reads, and done but once.
local function queueJobs()
  redis.call('INCRBY', counter, #jobIds)
  redis.call('LPUSH', wait, unpack(jobIds))
  local paused, concurrency, maxEvents = unpack(redis.call('HMGET', meta, 'paused', 'concurrency', 'opts.maxLenEvents'))
  if not maxEvents then redis.call('HSET', meta, 'opts.maxLenEvents', '10000') end
  local isMaxed = concurrency and redis.call('LLEN', active) >= tonumber(concurrency)
  if not paused and not isMaxed then redis.call('ZADD', marker, '0', '0') end
end

local answers, key, arg = {}, 8, 1
while arg <= #ARGV do
  local lastKey = key + (ARGV[arg + 3] ~= '' and 3 or 2)
  local last = arg + 9 + ARGV[arg + 9]
  local answer = byItself(begin, key, lastKey, arg, last)
  if answer.err then return answer end
  answers[#answers + 1] = answer
  key, arg = lastKey + 1, last + 1
end
if #entries > 0 then
  redis.call('ZADD', open, unpack(entries))
  redis.call('ZADD', index, unpack(entries))
end
if #jobIds > 0 then queueJobs() end
return answers
