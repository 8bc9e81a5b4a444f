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

/// A share of a sliding window: `KEYS` are the current fixed window and the one before, `ARGV` limit, how many are wanted,
/// how many were let in already, the window's length and how much of it is over, in milliseconds. Nothing that is refused
/// is counted. A negative wish gives back. Answers with what was granted and both counts.
pub(crate) const LEASE: &str = "
local limit, want, debt = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local length, elapsed = tonumber(ARGV[4]), tonumber(ARGV[5])
local current = tonumber(redis.call('GET', KEYS[1]) or '0')
local before = tonumber(redis.call('GET', KEYS[2]) or '0')
local grant = want
if want < 0 then
  grant = math.max(want, -current)
else
  local used = math.ceil(before * (length - elapsed) / length) + current + debt
  grant = math.max(0, math.min(want, limit - used))
end
if grant + debt ~= 0 then
  current = redis.call('INCRBY', KEYS[1], grant + debt)
  redis.call('PEXPIRE', KEYS[1], 2 * length)
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
