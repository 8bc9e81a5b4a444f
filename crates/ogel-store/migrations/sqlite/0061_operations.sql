-- What was asked for and takes its time, for those who ask how it stands; and who holds an idempotency key.

CREATE TABLE operations (
  id BLOB NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  organization_id BLOB NOT NULL,
  project_id BLOB NOT NULL,
  deployment_id BLOB,
  requested_by BLOB,
  reason TEXT,
  error_code TEXT,
  error TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  completed_at TEXT
) STRICT;
CREATE INDEX operations_open ON operations (deployment_id) WHERE completed_at IS NULL;
CREATE UNIQUE INDEX operations_one_deletion ON operations (deployment_id, kind)
  WHERE completed_at IS NULL AND kind IN ('cancel_deployment', 'delete_deployment', 'withdraw_deployment');
CREATE UNIQUE INDEX operations_one_project_deletion ON operations (project_id) WHERE completed_at IS NULL AND kind = 'delete_project';
CREATE INDEX operations_project ON operations (project_id, created_at);
CREATE INDEX operations_state ON operations (state, created_at DESC, id DESC);
CREATE INDEX operations_completed ON operations (completed_at) WHERE completed_at IS NOT NULL;

ALTER TABLE idempotency_keys ADD COLUMN made_id BLOB;
ALTER TABLE idempotency_keys ADD COLUMN fence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE idempotency_keys ADD COLUMN leased_until TEXT;
