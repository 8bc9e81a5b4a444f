-- What is in production, what happened to a deployment, and which of Ghost's sites and domains has which id of ours.

ALTER TABLE deployments ADD COLUMN asked_framework TEXT;
ALTER TABLE deployments ADD COLUMN is_active INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deployments ADD COLUMN promoted_at TEXT;
CREATE UNIQUE INDEX deployments_active_key ON deployments (project_id) WHERE is_active;

CREATE TABLE deployment_events (
  deployment_id BLOB NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
  n INTEGER NOT NULL,
  kind TEXT NOT NULL,
  actor BLOB REFERENCES users(id) ON DELETE SET NULL,
  reason TEXT,
  related_id BLOB,
  created_at TEXT NOT NULL,
  PRIMARY KEY (deployment_id, n)
) STRICT;
CREATE INDEX deployment_events_actor ON deployment_events (actor) WHERE actor IS NOT NULL;

CREATE TABLE ghost_objects (
  id BLOB NOT NULL PRIMARY KEY,
  project_id BLOB NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  ghost_id TEXT NOT NULL CHECK (length(ghost_id) <= 255),
  created_at TEXT NOT NULL,
  UNIQUE (project_id, kind, ghost_id)
) STRICT;
