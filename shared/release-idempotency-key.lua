-- Gives an idempotency key free, if the lease is still its holder's: past its time another gateway may have taken the
-- request up.
--
-- KEYS[1]  the lease (string: who holds it)
-- KEYS[2]  what is known of the key (string)
-- ARGV     holder, whether what is known is forgotten ('1') or stays ('')
-- returns  1, or 0 when nothing was changed

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[2] == '1' then redis.call('DEL', KEYS[2]) end
return 1
