-- Begins several tasks, each by itself: what one of them meets is no matter of the others. append-event.lua stands before
-- this one.
--
-- KEYS     for each task its log, its state and, if it is begun only once, what is remembered of that
-- ARGV     most events of a task; then for each task
--            pub/sub name, type, time in ms and data of its first event
--            its fingerprint and how long that is remembered in ms, '' and '' if it may be begun again
--            how many strings follow: field, value, field, value, …
-- returns  what append-batch.lua returns

local maxEvents = tonumber(ARGV[1])
local epoch = newEpoch()

-- `arg` is where in ARGV the task begins, `set` where its fields do, up to `last`.
local function begin(keys, arg, set, last)
  local log, state, once = keys[1], keys[2], keys[3]
  local topic, type, time, data, print, keptMs = unpack(ARGV, arg, arg + 5)
  if redis.call('EXISTS', unpack(keys)) > 0 then
    return appendEvent(keys, {
      topic = topic,
      maxEvents = maxEvents,
      events = { { type, time, 'json' } },
      once = once and { print, keptMs },
      task = { from = '', set = { unpack(ARGV, set, last) } },
    }, arg + 3)
  end
  -- The common case, in which nothing is there of it, takes less.
  local id = epoch .. '-1'
  redis.call('XADD', log, id, 'type', type, 'time', time, 'json', data)
  redis.call('HSET', state, 'lastEventId', id, unpack(ARGV, set, last))
  if once then redis.call('SET', once, print .. ' ' .. id, 'PX', keptMs) end
  redis.call('PUBLISH', topic, messageOf(id, type, time, 'json', data))
  return { 'ok', id }
end

local answers, key, arg = {}, 1, 2
while arg <= #ARGV do
  local keys = ARGV[arg + 4] ~= '' and 3 or 2
  local set = arg + 7
  local last = set + ARGV[arg + 6] - 1
  local answer = byItself(begin, { unpack(KEYS, key, key + keys - 1) }, arg, set, last)
  if answer.err then return answer end
  answers[#answers + 1] = answer
  key, arg = key + keys, last + 1
end
return answers
