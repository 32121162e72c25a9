-- Holds a name for longer with a new value. Gives 1, or 0 if the lease was lost.
--
-- KEYS: as for acquire. ARGV: name, epoch, value, lifetime (microseconds), how long the keys stay at
-- least (ms).
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
redis.call('HSET', KEYS[1], ARGV[1], epoch .. ARGV[3])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[4]), ARGV[1])
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ARGV[5]) then
    redis.call('PEXPIRE', key, ARGV[5])
  end
end
return 1
