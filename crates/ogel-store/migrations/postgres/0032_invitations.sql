-- Who is asked to join an organization, and mail that waits to be sent.

CREATE TABLE invitations (
  id UUID NOT NULL PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
  email TEXT NOT NULL,
  role TEXT NOT NULL,
  token_hash BYTEA NOT NULL UNIQUE,
  invited_by UUID REFERENCES users(id) ON DELETE SET NULL,
  created_at TIMESTAMPTZ NOT NULL,
  expires_at TIMESTAMPTZ NOT NULL,
  sent_at TIMESTAMPTZ NOT NULL,
  UNIQUE (organization_id, email)
);
CREATE INDEX invitations_page ON invitations (organization_id, created_at DESC, id DESC);
CREATE INDEX invitations_email ON invitations (email);
CREATE INDEX invitations_expires ON invitations (expires_at);
CREATE INDEX invitations_inviter ON invitations (invited_by) WHERE invited_by IS NOT NULL;

-- The text is sealed: it can hold a token.
CREATE TABLE mails (
  id UUID NOT NULL PRIMARY KEY,
  invitation_id UUID REFERENCES invitations(id) ON DELETE CASCADE,
  recipient TEXT NOT NULL,
  subject TEXT NOT NULL,
  sealed_text TEXT NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  next_attempt_at TIMESTAMPTZ NOT NULL,
  failed_at TIMESTAMPTZ,
  created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX mails_due ON mails (next_attempt_at) WHERE failed_at IS NULL;
CREATE INDEX mails_invitation ON mails (invitation_id) WHERE invitation_id IS NOT NULL;
CREATE INDEX mails_recipient ON mails (recipient);
