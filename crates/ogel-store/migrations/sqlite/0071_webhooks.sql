-- Webhooks of the platform's users: where they go, what is to be told, and what became of it.

CREATE TABLE webhooks (
  id BLOB NOT NULL PRIMARY KEY,
  organization_id BLOB NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
  project_id BLOB REFERENCES projects(id) ON DELETE CASCADE,
  url TEXT NOT NULL,
  description TEXT NOT NULL,
  events TEXT,
  secret TEXT NOT NULL,
  previous_secret TEXT,
  previous_secret_expires_at TEXT,
  is_enabled INTEGER NOT NULL,
  disabled_reason TEXT,
  failing_since TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX webhooks_page ON webhooks (organization_id, created_at DESC, id DESC);
CREATE INDEX webhooks_project ON webhooks (project_id) WHERE project_id IS NOT NULL;

-- What happened, written with it. Rows leave when deliveries are made of them.
CREATE TABLE webhook_outbox (
  seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  organization_id BLOB NOT NULL,
  project_id BLOB,
  kind TEXT NOT NULL,
  data TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE webhook_deliveries (
  id BLOB NOT NULL PRIMARY KEY,
  webhook_id BLOB NOT NULL REFERENCES webhooks(id) ON DELETE CASCADE,
  event_id BLOB NOT NULL,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,
  status TEXT NOT NULL,
  attempts TEXT NOT NULL,
  next_attempt_at TEXT,
  redelivery_of BLOB,
  created_at TEXT NOT NULL,
  completed_at TEXT
) STRICT;
CREATE INDEX webhook_deliveries_page ON webhook_deliveries (webhook_id, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX webhook_deliveries_completed ON webhook_deliveries (completed_at) WHERE completed_at IS NOT NULL;
