-- Begins several tasks as append-event.lua does it, each by itself: what one of them meets is no matter of the others.
-- That script stands before this one.
--
-- KEYS     for each task its log, its state and, if it is begun only once, what is remembered of that
-- ARGV     most events of a task; then for each task
--            pub/sub name, type, time in ms and data of its first event
--            its fingerprint and how long that is remembered in ms, '' and '' if it may be begun again
--            how many strings follow: field, value, field, value, …
-- returns  what append-batch.lua returns

local maxEvents = tonumber(ARGV[1])
local answers, key, arg = {}, 1, 2
while arg <= #ARGV do
  local topic, type, time, _, print, keptMs, count = unpack(ARGV, arg, arg + 6)
  local once = print ~= '' and { print, keptMs } or nil
  local append = {
    topic = topic,
    maxEvents = maxEvents,
    events = { { type, time, 'json' } },
    once = once,
    task = { from = '', set = { unpack(ARGV, arg + 7, arg + 6 + count) } },
  }
  local answer = appendByItself({ unpack(KEYS, key, key + (once and 2 or 1)) }, append, arg + 3)
  if answer.err then return answer end
  answers[#answers + 1] = answer
  key = key + (once and 3 or 2)
  arg = arg + 7 + count
end
return answers
