-- Limits that operators set for somebody until a certain time, and the daily figures of a service without Redis.

CREATE TABLE limit_overrides (
  holder_kind TEXT NOT NULL,
  holder TEXT NOT NULL,
  policy TEXT NOT NULL,
  max_requests BIGINT NOT NULL CHECK (max_requests >= 0),
  expires_at TIMESTAMPTZ NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (holder_kind, holder, policy)
);
CREATE INDEX limit_overrides_expires ON limit_overrides (expires_at);

CREATE TABLE daily_metrics (
  resource TEXT NOT NULL,
  day TEXT NOT NULL,
  field TEXT NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (day, resource, field)
);
