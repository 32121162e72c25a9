-- Notes that an account is at a node for a while, or that it left. Gives 1, or 0 if a later term of
-- the node was seen.
--
-- KEYS: the account's stays, a hash of "term until forget" by node, in milliseconds.
-- ARGV: node, term, for how long (ms; 0: it left), how long the term is remembered after that (ms).
-- Terms are as many digits each, so that they compare as text: they may be larger than what a number
-- holds here.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stays = redis.call('HGETALL', KEYS[1])
for at = 1, #stays, 2 do
  local term, forget = string.match(stays[at + 1], '^(%d+) %d+ (%d+)$')
  if not forget or tonumber(forget) <= now then
    redis.call('HDEL', KEYS[1], stays[at])
  elseif stays[at] == ARGV[1] and term > ARGV[2] then
    return 0
  end
end
local stay, memory = tonumber(ARGV[3]), tonumber(ARGV[4])
local till = stay > 0 and now + stay or 0
local forget = now + stay + memory
redis.call('HSET', KEYS[1], ARGV[1], string.format('%s %.0f %.0f', ARGV[2], till, forget))
if redis.call('PTTL', KEYS[1]) < stay + memory then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', stay + memory))
end
return 1
