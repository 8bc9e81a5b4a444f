-- Which of Ghost's events were received, so that one that comes again changes nothing.

CREATE TABLE ghost_events (
  id_hash BLOB NOT NULL PRIMARY KEY,
  received_at TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX ghost_events_expires ON ghost_events (expires_at);
