-- Where Studio's record and Ghost's disagree, and when that was last looked at.

CREATE TABLE reconciliation_findings (
  kind TEXT NOT NULL,
  project_id BLOB NOT NULL,
  ghost_id TEXT NOT NULL,
  detail TEXT NOT NULL,
  first_seen_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL,
  PRIMARY KEY (kind, project_id, ghost_id)
) STRICT;
CREATE INDEX reconciliation_findings_seen ON reconciliation_findings (first_seen_at);

CREATE TABLE reconciliations (
  id INTEGER NOT NULL PRIMARY KEY,
  started_at TEXT NOT NULL,
  finished_at TEXT NOT NULL,
  projects INTEGER NOT NULL,
  deployments INTEGER NOT NULL,
  repaired INTEGER NOT NULL
) STRICT;
