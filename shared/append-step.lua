-- Appends events and moves a state that is kept beside the log on, both or neither: refused where the state is not the
-- one from which the writer comes. So of several writers that bring the same events one appends them. append-to-log.lua
-- stands before this.
--
-- KEYS[1]  the log (stream)
-- KEYS[2]  the state (string)
-- ARGV     state that must be there ('' = none), state that is reached with these events, how long that is to be
--          remembered in ms (0 = for good), the append as JSON, data of each of its events
-- returns  {'ok', id of the first event} | {'moved', state ('' = none)}: nothing was changed

local expected, reached, keptMs, append, data = ARGV[1], ARGV[2], tonumber(ARGV[3]), cjson.decode(ARGV[4]), 5

local state = redis.call('GET', KEYS[2]) or ''
if state ~= expected then return { 'moved', state } end
local firstId = appendToLog(KEYS[1], append, data)
if firstId.err then return firstId end
redis.call('SET', KEYS[2], reached)
if keptMs > 0 then redis.call('PEXPIRE', KEYS[2], keptMs) end
return { 'ok', firstId }
