-- Gives a name up. Gives 1, or 0 if the lease was lost before.
--
-- KEYS: as for acquire. ARGV: name, epoch.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not ends or tonumber(ends) <= now then
  return 0
end
local held = redis.call('HGET', KEYS[1], ARGV[1])
local epoch = ARGV[2] .. ' '
if not held or string.sub(held, 1, #epoch) ~= epoch then
  return 0
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
