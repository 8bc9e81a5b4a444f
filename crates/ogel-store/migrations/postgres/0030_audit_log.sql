-- Who changed what. An entry is written in the transaction of the change, and keeps its actor's id when the account is gone.

CREATE TABLE audit_log (
  id UUID NOT NULL PRIMARY KEY,
  organization_id UUID REFERENCES organizations(id) ON DELETE CASCADE,
  created_at TIMESTAMPTZ NOT NULL,
  actor_user UUID,
  actor_key UUID,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  before_fields TEXT,
  after_fields TEXT,
  ip TEXT,
  request_id TEXT
);
CREATE INDEX audit_log_page ON audit_log (organization_id, created_at DESC, id DESC);
CREATE INDEX audit_log_actor ON audit_log (actor_user, created_at DESC, id DESC);
CREATE INDEX audit_log_target ON audit_log (target);
CREATE INDEX audit_log_created ON audit_log (created_at);
