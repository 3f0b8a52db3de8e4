-- Does several appends as append-event.lua does one, each by itself: what one of them meets is no matter of the others.
-- That script stands before this one.
--
-- KEYS     those of all appends, one after the other
-- ARGV     for each append: number of its keys, the append as JSON, data of each of its events
-- returns  {answer, …}, with {'failed', message} for an append that failed, and the id alone for {'ok', id}, since most
--          are that; or the error of a server that does not write, by which clients know that they have to look for another one

local answers, key, arg = {}, 1, 1
while arg <= #ARGV do
  local keys, append = tonumber(ARGV[arg]), cjson.decode(ARGV[arg + 1])
  local answer = byItself(appendEvent, { unpack(KEYS, key, key + keys - 1) }, append, arg + 2)
  if answer.err then return answer end
  answers[#answers + 1] = answer[1] == 'ok' and #answer == 2 and answer[2] or answer
  key = key + keys
  arg = arg + 2 + #append.events
end
return answers
