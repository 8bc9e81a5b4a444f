-- What is in production, what happened to a deployment, and which of Ghost's sites and domains has which id of ours.

ALTER TABLE deployments ADD COLUMN asked_framework TEXT;
ALTER TABLE deployments ADD COLUMN is_active BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE deployments ADD COLUMN promoted_at TIMESTAMPTZ;
CREATE UNIQUE INDEX deployments_active_key ON deployments (project_id) WHERE is_active;

CREATE TABLE deployment_events (
  deployment_id UUID NOT NULL REFERENCES deployments(id) ON DELETE CASCADE,
  n BIGINT NOT NULL,
  kind TEXT NOT NULL,
  actor UUID REFERENCES users(id) ON DELETE SET NULL,
  reason TEXT,
  related_id UUID,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (deployment_id, n)
);
CREATE INDEX deployment_events_actor ON deployment_events (actor) WHERE actor IS NOT NULL;

CREATE TABLE ghost_objects (
  id UUID PRIMARY KEY,
  project_id UUID NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  ghost_id VARCHAR(255) NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  UNIQUE (project_id, kind, ghost_id)
);
