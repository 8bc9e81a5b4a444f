-- What changed about who may do what, for the processes that remember it. Triggers write it down in the transaction of the
-- change, whoever makes it; each row names one person or project, or nobody: then it may be about everybody.

CREATE TABLE identity_changes (
  n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Numbers are given before the commit, so a smaller one may show up later. What is certain is that no transaction older
  -- than a snapshot's oldest running one can still add anything: readers go on from there. Nobody waits for a lock.
  position BIGINT NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
  subject UUID,
  changed_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX identity_changes_position ON identity_changes (position);
CREATE INDEX identity_changes_changed ON identity_changes (changed_at);

-- Every change before this position has been seen by whoever reads it.
CREATE VIEW identity_horizon (position) AS SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- The argument is the column that names the subject. With its owner's rights: another program that may write a table
-- of people or projects need not know of this one.
CREATE FUNCTION identity_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = platform, pg_temp AS $$
DECLARE
  before UUID;
  after UUID;
BEGIN
  IF TG_OP <> 'INSERT' THEN
    before := (to_jsonb(OLD) ->> TG_ARGV[0])::uuid;
    INSERT INTO identity_changes (subject) VALUES (before);
  END IF;
  IF TG_OP <> 'DELETE' THEN
    after := (to_jsonb(NEW) ->> TG_ARGV[0])::uuid;
    IF TG_OP = 'INSERT' OR after IS DISTINCT FROM before THEN
      INSERT INTO identity_changes (subject) VALUES (after);
    END IF;
  END IF;
  RETURN NULL;
END $$;

-- An organization's plan is its members' plan. Deleting one deletes its memberships, which tell it themselves.
CREATE FUNCTION identity_changed_of_members() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = platform, pg_temp AS $$
BEGIN
  INSERT INTO identity_changes (subject) SELECT user_id FROM organization_members WHERE organization_id = NEW.id;
  RETURN NULL;
END $$;

CREATE TRIGGER users_identity_update AFTER UPDATE OF id, email, name, password_hash ON users FOR EACH ROW
WHEN ((OLD.id, OLD.email, OLD.name, OLD.password_hash) IS DISTINCT FROM (NEW.id, NEW.email, NEW.name, NEW.password_hash))
EXECUTE FUNCTION identity_changed('id');
CREATE TRIGGER users_identity_delete AFTER DELETE ON users FOR EACH ROW EXECUTE FUNCTION identity_changed('id');

-- Not when a session or key was last used: that is written all the time and changes nothing.
CREATE TRIGGER sessions_identity AFTER DELETE OR UPDATE OF user_id, token_hash ON sessions
FOR EACH ROW EXECUTE FUNCTION identity_changed('user_id');
CREATE TRIGGER api_keys_identity
AFTER DELETE OR UPDATE OF user_id, secret_hash, scopes, project_id, organization_id, expires_at ON api_keys
FOR EACH ROW EXECUTE FUNCTION identity_changed('user_id');
CREATE TRIGGER organization_members_identity AFTER INSERT OR UPDATE OR DELETE ON organization_members
FOR EACH ROW EXECUTE FUNCTION identity_changed('user_id');
CREATE TRIGGER organizations_identity AFTER UPDATE OF plan ON organizations
FOR EACH ROW WHEN (OLD.plan IS DISTINCT FROM NEW.plan) EXECUTE FUNCTION identity_changed_of_members();
CREATE TRIGGER projects_identity AFTER UPDATE OR DELETE ON projects
FOR EACH ROW EXECUTE FUNCTION identity_changed('id');
