-- Which of Ghost's events were received, so that one that comes again changes nothing.

CREATE TABLE ghost_events (
  id_hash BYTEA NOT NULL PRIMARY KEY,
  received_at TIMESTAMPTZ NOT NULL,
  expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX ghost_events_expires ON ghost_events (expires_at);
