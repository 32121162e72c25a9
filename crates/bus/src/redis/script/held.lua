-- Lists what is held in a group: names that begin with a prefix, each followed by its value.
--
-- KEYS: as for acquire. ARGV: prefix.
local time = redis.call('TIME')
local now = string.format('(%.0f', time[1] * 1000000 + time[2])
local list = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[2], now, '+inf', 'BYSCORE')) do
  if string.sub(name, 1, #ARGV[1]) == ARGV[1] then
    local held = redis.call('HGET', KEYS[1], name)
    if held then
      list[#list + 1] = name
      list[#list + 1] = string.sub(held, string.find(held, ' ', 1, true) + 1)
    end
  end
end
return list
