-- Where a login comes from and what it may do, so that its owner can recognise and end it. API keys: where they were last
-- used from, and the secret before a rotation, which works until its time is over.

ALTER TABLE sessions ADD COLUMN kind TEXT NOT NULL DEFAULT 'browser';
ALTER TABLE sessions ADD COLUMN client_id TEXT;
ALTER TABLE sessions ADD COLUMN scopes TEXT;
ALTER TABLE sessions ADD COLUMN ip TEXT;
ALTER TABLE sessions ADD COLUMN user_agent TEXT;
ALTER TABLE sessions ADD COLUMN token_expires_at TEXT;
CREATE INDEX sessions_page ON sessions (user_id, created_at DESC, id DESC);
DROP INDEX sessions_user;

ALTER TABLE api_keys ADD COLUMN last_used_ip TEXT;
ALTER TABLE api_keys ADD COLUMN old_secret_hash BLOB;
ALTER TABLE api_keys ADD COLUMN old_secret_expires_at TEXT;
CREATE UNIQUE INDEX api_keys_old_secret_key ON api_keys (old_secret_hash) WHERE old_secret_hash IS NOT NULL;
