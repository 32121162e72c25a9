-- Whether an account is at any node: 1 or 0.
--
-- KEYS: as for stay.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, stay in ipairs(redis.call('HVALS', KEYS[1])) do
  local till = string.match(stay, '^%d+ (%d+) %d+$')
  if till and tonumber(till) > now then
    return 1
  end
end
return 0
