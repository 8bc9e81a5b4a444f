-- Who changed what. An entry is written in the transaction of the change, and keeps its actor's id when the account is gone.

CREATE TABLE audit_log (
  id BLOB NOT NULL PRIMARY KEY,
  organization_id BLOB REFERENCES organizations(id) ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  actor_user BLOB,
  actor_key BLOB,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  before_fields TEXT,
  after_fields TEXT,
  ip TEXT,
  request_id TEXT
) STRICT;
CREATE INDEX audit_log_page ON audit_log (organization_id, created_at DESC, id DESC);
CREATE INDEX audit_log_actor ON audit_log (actor_user, created_at DESC, id DESC);
CREATE INDEX audit_log_target ON audit_log (target);
CREATE INDEX audit_log_created ON audit_log (created_at);
