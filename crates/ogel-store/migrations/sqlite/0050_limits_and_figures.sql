-- Limits that operators set for somebody until a certain time, and the daily figures of a service without Redis.

CREATE TABLE limit_overrides (
  holder_kind TEXT NOT NULL,
  holder TEXT NOT NULL,
  policy TEXT NOT NULL,
  max_requests INTEGER NOT NULL CHECK (max_requests >= 0),
  expires_at TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (holder_kind, holder, policy)
) STRICT;
CREATE INDEX limit_overrides_expires ON limit_overrides (expires_at);

CREATE TABLE daily_metrics (
  resource TEXT NOT NULL,
  day TEXT NOT NULL,
  field TEXT NOT NULL,
  amount INTEGER NOT NULL,
  PRIMARY KEY (day, resource, field)
) STRICT;
