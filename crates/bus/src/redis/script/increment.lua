-- Adds one to a counter. Gives its value and the milliseconds until it starts anew.
--
-- KEYS: the counter. ARGV: the lifetime of a new one (ms).
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  left = tonumber(ARGV[1])
  redis.call('PEXPIRE', KEYS[1], left)
end
return { count, left }
