-- Who Studio's people are here, and which of their sessions ended before their time. A session is kept as a hash; a
-- revocation outlives its person, so that a deleted account does not come back with an old cookie.

CREATE TABLE studio_identities (
  subject TEXT PRIMARY KEY,
  user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX studio_identities_user ON studio_identities (user_id);

CREATE TABLE revoked_sessions (
  id_hash BYTEA PRIMARY KEY,
  user_id UUID NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX revoked_sessions_expires ON revoked_sessions (expires_at);

CREATE TABLE session_cutoffs (
  user_id UUID PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  not_before TIMESTAMPTZ NOT NULL
);

-- Whoever remembers the person asks again.
CREATE TRIGGER studio_identities_identity AFTER INSERT OR UPDATE OR DELETE ON studio_identities
FOR EACH ROW EXECUTE FUNCTION identity_changed('user_id');
CREATE TRIGGER revoked_sessions_identity AFTER INSERT ON revoked_sessions
FOR EACH ROW EXECUTE FUNCTION identity_changed('user_id');
CREATE TRIGGER session_cutoffs_identity AFTER INSERT OR UPDATE ON session_cutoffs
FOR EACH ROW EXECUTE FUNCTION identity_changed('user_id');
