-- Moves every end of something under a prefix so much nearer, as if the clock had gone on.
--
-- ARGV: the prefix, how many milliseconds have passed.
local passed = tonumber(ARGV[2])
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local left = redis.call('PTTL', key)
  if string.find(key, '}/ends', 1, true) then
    local ends = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for at = 1, #ends, 2 do
      redis.call('ZADD', key, string.format('%.0f', ends[at + 1] - passed * 1000), ends[at])
    end
  elseif string.find(key, ':present/', 1, true) then
    local stays = redis.call('HGETALL', key)
    for at = 1, #stays, 2 do
      local term, till, forget = string.match(stays[at + 1], '^(%d+) (%d+) (%d+)$')
      till, forget = math.max(till - passed, 0), forget - passed
      redis.call('HSET', key, stays[at], string.format('%s %.0f %.0f', term, till, forget))
    end
  end
  if left >= 0 and left <= passed then
    redis.call('DEL', key)
  elseif left >= 0 then
    redis.call('PEXPIRE', key, string.format('%.0f', left - passed))
  end
end
return 1
