-- Reads a page of a channel's log, bounded in events and bytes, together with the head of the log at that
-- moment.
--
-- KEYS[1]  the log (stream)
-- ARGV     position to read after ('-' = from the oldest), most events, bytes after which no further event is
--          read
-- returns  {last id of the log ('' = there is none), {entry, …}}
--          with entry = {id, {'type', type, 'time', time, format, data}}

local log = KEYS[1]
local after, maxEvents, maxBytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local CHUNK = 32
local entries, bytes = {}, 0
local from = after == '-' and '-' or '(' .. after
while #entries < maxEvents and bytes < maxBytes do
  local chunk = redis.call('XRANGE', log, from, '+', 'COUNT', math.min(CHUNK, maxEvents - #entries))
  if #chunk == 0 then break end
  for _, entry in ipairs(chunk) do
    if bytes >= maxBytes then break end
    entries[#entries + 1] = entry
    bytes = bytes + #entry[2][6]
  end
  from = '(' .. entries[#entries][1]
end

-- The last id may be past the last entry, where new-epoch.lua has moved it.
if redis.call('EXISTS', log) == 0 then return { '', entries } end
local info = redis.call('XINFO', 'STREAM', log)
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then return { info[i + 1], entries } end
end
