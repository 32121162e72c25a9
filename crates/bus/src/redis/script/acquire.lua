-- Takes a name, unless someone holds it. Gives the epoch, or nil.
--
-- KEYS: the hash of what is held ("epoch value" by name), the sorted set of when it ends
-- (microseconds by name), and the latest epoch of the group.
-- ARGV: name, value, lifetime (microseconds), names at most, how long the keys stay at least (ms).
--
-- An epoch is the time of its making, or one more than the one before if the clock was set back:
-- so it grows even when the server has forgotten everything.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ended = redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, 64)
for _, name in ipairs(ended) do
  redis.call('ZREM', KEYS[2], name)
  redis.call('HDEL', KEYS[1], name)
end
local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
if ends and tonumber(ends) > now then
  return false
end
if not ends and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then
  return redis.error_reply('FULL it keeps ' .. ARGV[4] .. ' names already')
end
local last = tonumber(redis.call('GET', KEYS[3]) or '0')
local epoch = string.format('%.0f', math.max(now, last + 1))
redis.call('HSET', KEYS[1], ARGV[1], epoch .. ' ' .. ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
redis.call('SET', KEYS[3], epoch, 'KEEPTTL')
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) < tonumber(ARGV[5]) then
    redis.call('PEXPIRE', key, ARGV[5])
  end
end
return tonumber(epoch)
