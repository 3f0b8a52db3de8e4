-- The places of one concurrency key. A task has a slot from when it goes to the queue until it ends or waits for its
-- time; past the limit it is held back, in order of priority, then of arrival. At most one task with a slot waits in
-- the queue at a time: so the keys take turns there, however many tasks each of them has. Every step may be done twice.
--
-- KEYS[1]  the key's slots (sorted set: task id, score 1 = waits in the queue, 0 = taken by a worker)
-- KEYS[2]  the key's tasks that are held back (sorted set: '<task id>:<its limit>', score = place in line)
-- KEYS[3]  all tasks that are held back (set: task id)
-- KEYS[4]  all keys that have either (sorted set of equal scores)
-- KEYS[5]  counts tasks that were held back
-- ARGV     step ('queue': the task wants to go to the queue; 'begin': a worker begins it; 'end': it needs no slot
--          for now), key, task id, limit, priority
-- returns  {'1' if the task has a slot now, else '', id of another task that has to be put into the queue, or ''}

local slots, held, allHeld, keys, counter = unpack(KEYS)
local step, key, id, limit, priority = unpack(ARGV)
local IN_QUEUE, TAKEN = 1, 0

local function letGo(member, taskId)
  redis.call('SREM', allHeld, taskId)
  return redis.call('ZREM', held, member)
end

local slot = redis.call('ZSCORE', slots, id)
local member = id .. ':' .. limit
-- Whether this step was not done before.
local isNew = false
if step == 'queue' then
  if not slot and not redis.call('ZSCORE', held, member) then
    local place = redis.call('INCR', counter) % 0x100000000
    redis.call('ZADD', held, priority * 0x100000000 + place, member)
    redis.call('SADD', allHeld, id)
    isNew = true
  end
elseif step == 'begin' then
  if slot or redis.call('ZCARD', slots) < tonumber(limit) then
    isNew = tonumber(slot) ~= TAKEN
    redis.call('ZADD', slots, TAKEN, id)
    letGo(member, id)
  end
else
  isNew = redis.call('ZREM', slots, id) + letGo(member, id) > 0
end

local next = redis.call('ZRANGE', slots, IN_QUEUE, IN_QUEUE, 'BYSCORE', 'LIMIT', 0, 1)[1]
if next then
  -- Whoever gave it its slot also queues it; but if this step is a repetition that may have been lost.
  if isNew then next = nil end
else
  local first = redis.call('ZRANGE', held, 0, 0)[1]
  local firstId, firstLimit = string.match(first or '', '^(.+):(%d+)$')
  if firstId and redis.call('ZCARD', slots) < tonumber(firstLimit) then
    letGo(first, firstId)
    redis.call('ZADD', slots, IN_QUEUE, firstId)
    next = firstId
  end
end

if redis.call('EXISTS', slots, held) > 0 then redis.call('ZADD', keys, 0, key) else redis.call('ZREM', keys, key) end
local hasSlot = redis.call('ZSCORE', slots, id) and '1' or ''
return { hasSlot, next and next ~= id and next or '' }
