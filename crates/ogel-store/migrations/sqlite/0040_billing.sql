-- Billing. What is used and billed is kept without references: books outlive what they are about.

-- Which plan an organization had when. No row: the free plan. At most one is open.
CREATE TABLE plan_spans (
  id BLOB NOT NULL PRIMARY KEY,
  organization_id BLOB NOT NULL,
  plan TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT,
  actor BLOB
) STRICT;
CREATE UNIQUE INDEX plan_spans_open_key ON plan_spans (organization_id) WHERE ended_at IS NULL;
CREATE INDEX plan_spans_organization ON plan_spans (organization_id, started_at);

CREATE TABLE usage_hourly (
  organization_id BLOB NOT NULL,
  project_id BLOB NOT NULL,
  metric TEXT NOT NULL,
  hour TEXT NOT NULL,
  quantity INTEGER NOT NULL,
  PRIMARY KEY (organization_id, hour, metric, project_id)
) STRICT;

-- The last batch of counters each process has written: one written twice counts once.
CREATE TABLE usage_flushes (
  process_id BLOB NOT NULL PRIMARY KEY,
  last_sequence INTEGER NOT NULL,
  flushed_at TEXT NOT NULL
) STRICT;
CREATE INDEX usage_flushes_age ON usage_flushes (flushed_at);

CREATE TABLE invoices (
  id BLOB NOT NULL PRIMARY KEY,
  organization_id BLOB NOT NULL,
  organization_name TEXT NOT NULL,
  number TEXT NOT NULL,
  status TEXT NOT NULL,
  period_start TEXT NOT NULL,
  period_end TEXT NOT NULL,
  currency TEXT NOT NULL,
  total INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  paid_at TEXT
) STRICT;
-- A month is billed once, however many replicas close it.
CREATE UNIQUE INDEX invoices_month_key ON invoices (organization_id, period_start);
CREATE INDEX invoices_page ON invoices (organization_id, created_at DESC, id DESC);

CREATE TABLE invoice_lines (
  invoice_id BLOB NOT NULL REFERENCES invoices(id) ON DELETE CASCADE,
  n INTEGER NOT NULL,
  kind TEXT NOT NULL,
  description TEXT NOT NULL,
  quantity INTEGER NOT NULL,
  amount INTEGER NOT NULL,
  from_at TEXT NOT NULL,
  to_at TEXT NOT NULL,
  PRIMARY KEY (invoice_id, n)
) STRICT;

CREATE TABLE budgets (
  organization_id BLOB NOT NULL PRIMARY KEY REFERENCES organizations(id) ON DELETE CASCADE,
  amount INTEGER NOT NULL,
  alerts_at TEXT NOT NULL,
  action TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;

-- An alert is raised once a month, however many replicas look.
CREATE TABLE budget_alerts (
  organization_id BLOB NOT NULL REFERENCES budgets(organization_id) ON DELETE CASCADE,
  period_start TEXT NOT NULL,
  percent INTEGER NOT NULL,
  raised_at TEXT NOT NULL,
  PRIMARY KEY (organization_id, period_start, percent)
) STRICT;

-- What a payment service told us: the same event twice is acted on once.
CREATE TABLE payment_events (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  received_at TEXT NOT NULL
) STRICT;
CREATE INDEX payment_events_age ON payment_events (received_at);
