-- Billing. What is used and billed is kept without references: books outlive what they are about.

-- Which plan an organization had when. No row: the free plan. At most one is open.
CREATE TABLE plan_spans (
  id UUID NOT NULL PRIMARY KEY,
  organization_id UUID NOT NULL,
  plan TEXT NOT NULL,
  started_at TIMESTAMPTZ NOT NULL,
  ended_at TIMESTAMPTZ,
  actor UUID
);
CREATE UNIQUE INDEX plan_spans_open_key ON plan_spans (organization_id) WHERE ended_at IS NULL;
CREATE INDEX plan_spans_organization ON plan_spans (organization_id, started_at);

CREATE TABLE usage_hourly (
  organization_id UUID NOT NULL,
  project_id UUID NOT NULL,
  metric TEXT NOT NULL,
  hour TIMESTAMPTZ NOT NULL,
  quantity BIGINT NOT NULL,
  PRIMARY KEY (organization_id, hour, metric, project_id)
);

-- The last batch of counters each process has written: one written twice counts once.
CREATE TABLE usage_flushes (
  process_id UUID NOT NULL PRIMARY KEY,
  last_sequence BIGINT NOT NULL,
  flushed_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX usage_flushes_age ON usage_flushes (flushed_at);

CREATE TABLE invoices (
  id UUID NOT NULL PRIMARY KEY,
  organization_id UUID NOT NULL,
  organization_name TEXT NOT NULL,
  number TEXT NOT NULL,
  status TEXT NOT NULL,
  period_start TIMESTAMPTZ NOT NULL,
  period_end TIMESTAMPTZ NOT NULL,
  currency TEXT NOT NULL,
  total BIGINT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  paid_at TIMESTAMPTZ
);
-- A month is billed once, however many replicas close it.
CREATE UNIQUE INDEX invoices_month_key ON invoices (organization_id, period_start);
CREATE INDEX invoices_page ON invoices (organization_id, created_at DESC, id DESC);

CREATE TABLE invoice_lines (
  invoice_id UUID NOT NULL REFERENCES invoices(id) ON DELETE CASCADE,
  n BIGINT NOT NULL,
  kind TEXT NOT NULL,
  description TEXT NOT NULL,
  quantity BIGINT NOT NULL,
  amount BIGINT NOT NULL,
  from_at TIMESTAMPTZ NOT NULL,
  to_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (invoice_id, n)
);

CREATE TABLE budgets (
  organization_id UUID NOT NULL PRIMARY KEY REFERENCES organizations(id) ON DELETE CASCADE,
  amount BIGINT NOT NULL,
  alerts_at TEXT NOT NULL,
  action TEXT NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL
);

-- An alert is raised once a month, however many replicas look.
CREATE TABLE budget_alerts (
  organization_id UUID NOT NULL REFERENCES budgets(organization_id) ON DELETE CASCADE,
  period_start TIMESTAMPTZ NOT NULL,
  percent BIGINT NOT NULL,
  raised_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (organization_id, period_start, percent)
);

-- What a payment service told us: the same event twice is acted on once.
CREATE TABLE payment_events (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  received_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX payment_events_age ON payment_events (received_at);
