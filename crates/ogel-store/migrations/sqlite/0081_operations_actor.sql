-- Who asked for an operation, for the entry that is written when it is done.

ALTER TABLE operations ADD COLUMN actor_key BLOB;
ALTER TABLE operations ADD COLUMN ip TEXT;
ALTER TABLE operations ADD COLUMN request_id TEXT;
