-- Logins that are confirmed on another device (RFC 8628), and the tokens that renew them (RFC 6749, 6). Device codes and
-- tokens are kept as their SHA-256; a user code is shown to its person, and worth nothing without a login.

CREATE TABLE device_logins (
  id BLOB NOT NULL PRIMARY KEY,
  device_code_hash BLOB NOT NULL UNIQUE,
  user_code TEXT NOT NULL UNIQUE CHECK (length(user_code) <= 16),
  client_id TEXT,
  scopes TEXT NOT NULL,
  ip TEXT,
  user_agent TEXT,
  status TEXT NOT NULL CHECK (length(status) <= 20),
  user_id BLOB REFERENCES users(id) ON DELETE CASCADE,
  interval_seconds INTEGER NOT NULL,
  next_poll_at TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX device_logins_expires ON device_logins (expires_at);
CREATE INDEX device_logins_user ON device_logins (user_id) WHERE user_id IS NOT NULL;

CREATE TABLE refresh_tokens (
  token_hash BLOB NOT NULL PRIMARY KEY,
  session_id BLOB NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  used_at TEXT
) STRICT;
CREATE INDEX refresh_tokens_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);
