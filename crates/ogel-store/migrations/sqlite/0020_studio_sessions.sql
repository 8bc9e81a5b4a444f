-- Who Studio's people are here, and which of their sessions ended before their time. A session is kept as a hash; a
-- revocation outlives its person, so that a deleted account does not come back with an old cookie.

CREATE TABLE studio_identities (
  subject TEXT NOT NULL PRIMARY KEY,
  user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX studio_identities_user ON studio_identities (user_id);

CREATE TABLE revoked_sessions (
  id_hash BLOB NOT NULL PRIMARY KEY,
  user_id BLOB NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX revoked_sessions_expires ON revoked_sessions (expires_at);

CREATE TABLE session_cutoffs (
  user_id BLOB NOT NULL PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  not_before TEXT NOT NULL
) STRICT;

-- Whoever remembers the person asks again.
CREATE TRIGGER studio_identities_identity_insert AFTER INSERT ON studio_identities
BEGIN INSERT INTO identity_changes (subject) VALUES (NEW.user_id); END;
CREATE TRIGGER studio_identities_identity_update AFTER UPDATE ON studio_identities
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.user_id), (NEW.user_id); END;
CREATE TRIGGER studio_identities_identity_delete AFTER DELETE ON studio_identities
BEGIN INSERT INTO identity_changes (subject) VALUES (OLD.user_id); END;
CREATE TRIGGER revoked_sessions_identity_insert AFTER INSERT ON revoked_sessions
BEGIN INSERT INTO identity_changes (subject) VALUES (NEW.user_id); END;
CREATE TRIGGER session_cutoffs_identity_insert AFTER INSERT ON session_cutoffs
BEGIN INSERT INTO identity_changes (subject) VALUES (NEW.user_id); END;
CREATE TRIGGER session_cutoffs_identity_update AFTER UPDATE ON session_cutoffs
BEGIN INSERT INTO identity_changes (subject) VALUES (NEW.user_id); END;
