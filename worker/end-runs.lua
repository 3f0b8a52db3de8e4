-- Ends runs, each by itself: appends the last events of its task and, where these are written, ends its job as BullMQ's
-- own script does it, which hands out the next job; and begins the first run of that one's task, where nothing else comes
-- first. append-event.lua stands before this one, and BullMQ's script as `endJobs(cmsgpack, redis)`, which answers the
-- function `endJob(KEYS, ARGV)`; it unpacks its options, which come here as they are.
--
-- KEYS     those of BullMQ's script, with the jobs' prefix in the job's place; then for each run its job, and log and state
--          of its task
-- ARGV     time in ms, BullMQ's options (JSON), how the next run begins (JSON; '' = no next job is taken); then for each run:
--          id and lock token of its job, the append as JSON, number of its events, data of each
-- returns  for each run {the answer to the append, that of BullMQ's script ('' = not asked, {code} = no job is handed out),
--          the answer to the begin ('' = not tried)}; or the error of a server that does not write, by which clients know
--          that they have to look for another one

local prefix, time, options, start = KEYS[12], ARGV[1], cjson.decode(ARGV[2]), ARGV[3] ~= '' and cjson.decode(ARGV[3])

local asIs = { unpack = function(value) return value end }

-- All but its events, since nobody reads them, and its look for jobs that this one would have to wait for, since ours
-- never do: both are a good part of what a job costs. (After its last step it counts another set, for an event.)
local skipped = { XADD = true, XTRIM = true, SCARD = true, ZCARD = true }
local withoutThose = {
  pcall = redis.pcall,
  call = function(command, ...) return skipped[command] and 0 or redis.call(command, ...) end,
}

local endJob = endJobs(asIs, withoutThose)

local function endOf(job, id, token)
  KEYS[12] = job
  options.token = token
  local arguments = { id, time, 'returnvalue', 'null', 'completed', start and '1' or '0', prefix, options }
  local answer = endJob(KEYS, arguments)
  return type(answer) == 'table' and answer or { answer }
end

local function typeOf(job)
  for i = 1, #job, 2 do
    if job[i] == 'name' then return job[i + 1] end
  end
end

-- `start` says of the task's names what stands before and after its id.
local function begin(job, id)
  if not start.types[typeOf(job)] then return '' end
  local taskId = string.sub(id, #start.jobPrefix + 1)
  local function named(parts) return parts[1] .. taskId .. parts[2] end
  start.append.topic = named(start.topic)
  ARGV[#ARGV + 1] = named(start.data)
  return byItself(appendEvent, { named(start.log), named(start.state) }, start.append, #ARGV)
end

local answers, key, arg, last = {}, 15, 4, #ARGV
while arg <= last do
  local append, events = cjson.decode(ARGV[arg + 2]), tonumber(ARGV[arg + 3])
  local appended = byItself(appendEvent, { KEYS[key + 1], KEYS[key + 2] }, append, arg + 4)
  if appended.err then return appended end
  local job, begun = '', ''
  if appended[1] == 'ok' or appended[1] == 'repeated' then
    job = byItself(endOf, KEYS[key], ARGV[arg], ARGV[arg + 1])
    if type(job[1]) == 'table' then begun = begin(job[1], job[2]) end
  end
  answers[#answers + 1] = { appended, job, begun }
  key, arg = key + 3, arg + 4 + events
end
return answers
