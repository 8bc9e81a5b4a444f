-- Where Studio's record and Ghost's disagree, and when that was last looked at.

CREATE TABLE reconciliation_findings (
  kind TEXT NOT NULL,
  project_id UUID NOT NULL,
  ghost_id TEXT NOT NULL,
  detail TEXT NOT NULL,
  first_seen_at TIMESTAMPTZ NOT NULL,
  last_seen_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (kind, project_id, ghost_id)
);
CREATE INDEX reconciliation_findings_seen ON reconciliation_findings (first_seen_at);

CREATE TABLE reconciliations (
  id BIGINT PRIMARY KEY,
  started_at TIMESTAMPTZ NOT NULL,
  finished_at TIMESTAMPTZ NOT NULL,
  projects BIGINT NOT NULL,
  deployments BIGINT NOT NULL,
  repaired BIGINT NOT NULL
);
