-- Appends copies of another channel's events, if nobody has done it: the position in that channel which the copies
-- have reached is kept beside them, and moves with them.
--
-- KEYS[1]  the log (stream)
-- KEYS[2]  the position that is reached (string)
-- ARGV     those of append-to-log.lua, position that must have been reached ('' = none), position that is reached with
--          these events, how long that is to be remembered in ms (0 = for good)
-- returns  {'ok', id of the first copy} | {'moved', position ('' = none)}: nothing was changed

local expected, reached, keptMs = ARGV[rest], ARGV[rest + 1], tonumber(ARGV[rest + 2])

local position = redis.call('GET', KEYS[2]) or ''
if position ~= expected then return { 'moved', position } end
local firstId = appendToLog()
if firstId.err then return firstId end
redis.call('SET', KEYS[2], reached)
if keptMs > 0 then redis.call('PEXPIRE', KEYS[2], keptMs) end
return { 'ok', firstId }
