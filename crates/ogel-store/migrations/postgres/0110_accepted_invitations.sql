-- Who joined by which token: whoever repeats that, because the answer was lost, gets it again.

CREATE TABLE accepted_invitations (
  token_hash BYTEA NOT NULL PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
  user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  accepted_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX accepted_invitations_organization ON accepted_invitations (organization_id);
CREATE INDEX accepted_invitations_user ON accepted_invitations (user_id);
CREATE INDEX accepted_invitations_accepted ON accepted_invitations (accepted_at);
