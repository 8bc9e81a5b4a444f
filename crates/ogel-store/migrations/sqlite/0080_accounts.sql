-- Accounts that were deleted: who must not come back by an old session of Studio's. Only hashes outlive the person.

CREATE TABLE closed_identities (
  id_hash BLOB NOT NULL PRIMARY KEY,
  closed_at TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX closed_identities_expires ON closed_identities (expires_at);

-- What a person made is found by them: for their export, and when they leave.
CREATE INDEX deployments_creator ON deployments (created_by, created_at DESC, id DESC) WHERE created_by IS NOT NULL;
CREATE INDEX operations_requester ON operations (requested_by, created_at DESC, id DESC) WHERE requested_by IS NOT NULL;
