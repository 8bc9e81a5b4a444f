-- What changed about who may do what, for the processes that remember it. Triggers write it down in the transaction of the
-- change, whoever makes it; each row names one person or project, or nobody: then it may be about everybody.

CREATE TABLE identity_changes (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  -- SQLite has one writer, so numbers are given in the order of commits. PostgreSQL's are not, see there.
  position INTEGER GENERATED ALWAYS AS (n) VIRTUAL,
  subject BLOB,
  changed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))
) STRICT;
CREATE INDEX identity_changes_changed ON identity_changes (changed_at);

-- Every change before this position has been seen by whoever reads it.
CREATE VIEW identity_horizon (position) AS
SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'identity_changes'), 0) + 1;

CREATE TRIGGER users_identity_update AFTER UPDATE OF id, email, name, password_hash ON users
WHEN (OLD.id, OLD.email, OLD.name, OLD.password_hash) IS NOT (NEW.id, NEW.email, NEW.name, NEW.password_hash)
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.id); END;
CREATE TRIGGER users_identity_delete AFTER DELETE ON users
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.id); END;

-- Not when a session or key was last used: that is written all the time and changes nothing.
CREATE TRIGGER sessions_identity_update AFTER UPDATE OF user_id, token_hash ON sessions
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.user_id); END;
CREATE TRIGGER sessions_identity_delete AFTER DELETE ON sessions
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.user_id); END;

CREATE TRIGGER api_keys_identity_update
AFTER UPDATE OF user_id, secret_hash, scopes, project_id, organization_id, expires_at ON api_keys
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.user_id); END;
CREATE TRIGGER api_keys_identity_delete AFTER DELETE ON api_keys
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.user_id); END;

CREATE TRIGGER organization_members_identity_insert AFTER INSERT ON organization_members
BEGIN INSERT INTO identity_changes (subject) VALUES (NEW.user_id); END;
CREATE TRIGGER organization_members_identity_update AFTER UPDATE ON organization_members
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.user_id), (NEW.user_id); END;
CREATE TRIGGER organization_members_identity_delete AFTER DELETE ON organization_members
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.user_id); END;

-- An organization's plan is its members' plan. Deleting one deletes its memberships, which tell it themselves.
CREATE TRIGGER organizations_identity_update AFTER UPDATE OF plan ON organizations WHEN OLD.plan IS NOT NEW.plan
BEGIN INSERT INTO identity_changes (subject) SELECT user_id FROM organization_members WHERE organization_id = NEW.id; END;

CREATE TRIGGER projects_identity_update AFTER UPDATE ON projects
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.id); END;
CREATE TRIGGER projects_identity_delete AFTER DELETE ON projects
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.id); END;
