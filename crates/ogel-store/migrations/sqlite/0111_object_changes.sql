-- Changes of sites and domains, from before the deployment backend is asked for them until it is known what became of them.

CREATE TABLE object_changes (
  id BLOB NOT NULL PRIMARY KEY,
  object_id BLOB NOT NULL,
  ghost_id TEXT NOT NULL,
  project_id BLOB NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  organization_id BLOB NOT NULL,
  kind TEXT NOT NULL,
  action TEXT NOT NULL,
  before_fields TEXT,
  after_fields TEXT,
  was TEXT,
  actor_user BLOB,
  actor_key BLOB,
  ip TEXT,
  request_id TEXT,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX object_changes_object ON object_changes (object_id);
CREATE INDEX object_changes_project ON object_changes (project_id);

-- When it was written down that it was made, and when webhooks were last told that it is verified: each is told once.
ALTER TABLE ghost_objects ADD COLUMN written_at TEXT;
ALTER TABLE ghost_objects ADD COLUMN verified_at TEXT;
