//! What must happen in one step at Redis. Keys of one script share their hash tag, so that a cluster has them on one node.

/// Raises tags to an epoch above all of theirs and not below `ARGV[1]`, and tells every replica. Answers with the epoch.
pub(crate) const ADVANCE: &str = "
local epoch = tonumber(ARGV[1])
for _, key in ipairs(KEYS) do
  local known = tonumber(redis.call('GET', key) or '0')
  if known >= epoch then epoch = known + 1 end
end
local text = string.format('%.0f', epoch)
for _, key in ipairs(KEYS) do redis.call('SET', key, text, 'EX', ARGV[2]) end
redis.call('PUBLISH', ARGV[3], ARGV[4] .. ' ' .. text .. ' ' .. ARGV[5])
return text";

/// Keeps a value (the last key) that was read under the epochs of its tags (the others), unless one of them has moved on.
pub(crate) const KEEP: &str = "
local last = #KEYS
for i = 1, last - 1 do
  if tonumber(redis.call('GET', KEYS[i]) or '0') > tonumber(ARGV[i]) then return 0 end
end
for i = 1, last - 1 do redis.call('SET', KEYS[i], ARGV[i], 'EX', ARGV[last + 2]) end
redis.call('SET', KEYS[last], ARGV[last], 'PX', ARGV[last + 1])
return 1";

/// A share of a sliding window: `KEYS` are the current fixed window, the one before, and what was promised; `ARGV` limit, how
/// many are wanted, how many were let in already, the window's length and how much of it is over, in milliseconds, the
/// window's number, and whether promises are kept. Nothing that is refused is counted. A negative wish gives back. Answers
/// with what was granted and both counts.
///
/// Who gets nothing is told when there will be room, by the counts. So that it is true then, the counts stand still until the
/// next grant: what is let in on credit meanwhile is owed and counted with that grant, what is given back is lost. `KEYS[3]` is
/// the number of the window in which somebody was told, and what is owed.
pub(crate) const LEASE: &str = "
local limit, want, debt = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local length, elapsed, number, keeps = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local current = tonumber(redis.call('GET', KEYS[1]) or '0')
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
local promised, owed = -1, 0
if keeps then
  local told, count = string.match(redis.call('GET', KEYS[3]) or '', '^(%d+) (%d+)$')
  if told then promised, owed = tonumber(told), tonumber(count) end
end
if want < 0 then
  local back = math.min(-want, current)
  if promised >= number or back == 0 then return {0, current, before} end
  return {-back, redis.call('DECRBY', KEYS[1], back), before}
end
if promised < number - 1 then owed = 0 end
local free = math.max(0, limit - math.ceil(before * (length - elapsed) / length) - current)
local paid = keeps and math.min(debt, free) or debt
local grant = math.max(0, math.min(want, free - paid))
if grant + paid > 0 then
  current = redis.call('INCRBY', KEYS[1], grant + paid + owed)
  redis.call('PEXPIRE', KEYS[1], 2 * length)
  owed = 0
end
if keeps and grant == 0 then
  local text = string.format('%.0f %.0f', math.max(number, promised), owed + debt - paid)
  redis.call('SET', KEYS[3], text, 'PX', 2 * length)
elseif promised >= 0 then
  redis.call('DEL', KEYS[3])
end
return {grant, current, before}";

/// Adds to a hash once per batch: `KEYS` are the hash and who wrote which batch last, `ARGV` the batch's number, the
/// hash's and the marker's time to live, then pairs of field and amount. A batch that is sent again changes nothing.
pub(crate) const TALLY: &str = "
if tonumber(redis.call('GET', KEYS[2]) or '0') >= tonumber(ARGV[1]) then return 0 end
for i = 4, #ARGV, 2 do redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[3])
return 1";
