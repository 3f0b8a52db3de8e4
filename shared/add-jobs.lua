-- Puts several jobs into a queue, each as BullMQ's own script does it that puts in one without delay and priority. That
-- script stands before this one as the function `addJob(KEYS, ARGV, cmsgpack, redis)`; it unpacks its arguments, which
-- come here as they are.
--
-- KEYS     the queue's, those of BullMQ's script
-- ARGV     prefix of the jobs' keys, data, time in ms; then id and name of each job
-- returns  for each job '' or why it failed; or the error of a server that does not write, by which clients know that
--          they have to look for another one

local asIs = { unpack = function(value) return value end }

-- All but its events: nobody reads them, and they are a quarter of what a job costs.
local withoutEvents = {
  pcall = redis.pcall,
  call = function(command, ...)
    if command ~= 'XADD' then return redis.call(command, ...) end
  end,
}

local prefix, data, time = ARGV[1], ARGV[2], tonumber(ARGV[3])
local answers = {}
for i = 4, #ARGV, 2 do
  local arguments = { { prefix, ARGV[i], ARGV[i + 1], time }, data, {} }
  local isDone, answer = pcall(addJob, KEYS, arguments, asIs, withoutEvents)
  local message = not isDone and (type(answer) == 'table' and answer.err or answer) or ''
  if string.find(message, '^READONLY') then return { err = message } end
  answers[#answers + 1] = message
end
return answers
