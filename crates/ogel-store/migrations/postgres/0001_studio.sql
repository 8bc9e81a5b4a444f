-- Studio's tables, in the schema `platform` (the connection's search_path). A Studio that was there before us keeps its
-- users, projects, ogel_projects and deployments: missing columns are added, such that what it goes on to insert is still
-- accepted; nothing is renamed or removed, but what only it knows need not be filled in any more. Its users get an organization each, which owns their projects.
--
-- It stops, and changes nothing, when ids are not UUIDs, when times have no time zone, when two people's e-mail
-- addresses differ in upper and lower case only, or when another of our names is taken.

DO $$
DECLARE
  wrong TEXT;
BEGIN
  SELECT string_agg(format('platform.%s.%s is %s', table_name, column_name, data_type), ', ') INTO wrong
  FROM information_schema.columns
  WHERE table_schema = 'platform' AND table_name IN ('users', 'projects', 'ogel_projects', 'deployments')
    AND ((column_name IN ('id', 'project_id', 'organization_id', 'created_by', 'build_id') AND data_type <> 'uuid')
      OR (column_name IN ('created_at', 'updated_at', 'completed_at', 'submitted_at', 'cancel_requested_at')
          AND data_type <> 'timestamp with time zone'));
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION 'cannot adopt this database: %', wrong
      USING HINT = 'ids must be uuid and times timestamptz; change them with ALTER TABLE ... ALTER COLUMN ... TYPE';
  END IF;
END $$;

CREATE TABLE IF NOT EXISTS users (
  id UUID PRIMARY KEY,
  email TEXT NOT NULL,
  name TEXT NOT NULL,
  password_hash TEXT,
  created_at TIMESTAMPTZ NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL
);
ALTER TABLE users ADD COLUMN IF NOT EXISTS email TEXT;
ALTER TABLE users ADD COLUMN IF NOT EXISTS name TEXT;
ALTER TABLE users ADD COLUMN IF NOT EXISTS password_hash TEXT;
ALTER TABLE users ADD COLUMN IF NOT EXISTS created_at TIMESTAMPTZ DEFAULT now();
ALTER TABLE users ADD COLUMN IF NOT EXISTS updated_at TIMESTAMPTZ DEFAULT now();
CREATE UNIQUE INDEX users_lower_email_key ON users (lower(email));

CREATE TABLE sessions (
  id UUID PRIMARY KEY,
  user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  token_hash BYTEA NOT NULL UNIQUE,
  created_at TIMESTAMPTZ NOT NULL,
  expires_at TIMESTAMPTZ NOT NULL,
  last_seen_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE organizations (
  id UUID PRIMARY KEY,
  name TEXT NOT NULL,
  slug TEXT NOT NULL UNIQUE,
  plan TEXT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE organization_members (
  organization_id UUID NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
  user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX organization_members_user ON organization_members (user_id);

-- A project without an organization is seen by nobody.
CREATE TABLE IF NOT EXISTS projects (
  id UUID PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES organizations(id),
  name TEXT NOT NULL,
  slug TEXT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  updated_at TIMESTAMPTZ NOT NULL
);
ALTER TABLE projects ADD COLUMN IF NOT EXISTS organization_id UUID REFERENCES organizations(id);
ALTER TABLE projects ADD COLUMN IF NOT EXISTS name TEXT;
ALTER TABLE projects ADD COLUMN IF NOT EXISTS slug TEXT;
ALTER TABLE projects ADD COLUMN IF NOT EXISTS created_at TIMESTAMPTZ DEFAULT now();
ALTER TABLE projects ADD COLUMN IF NOT EXISTS updated_at TIMESTAMPTZ DEFAULT now();

-- Foreign keys need ids that are unique and say so.
DO $$
DECLARE
  adopted TEXT;
BEGIN
  FOREACH adopted IN ARRAY ARRAY['users', 'projects'] LOOP
    IF EXISTS (
      SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
      WHERE i.indrelid = format('platform.%I', adopted)::regclass AND i.indisunique AND i.indimmediate
        AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = 'id'
    ) THEN
      CONTINUE;
    END IF;
    EXECUTE format('ALTER TABLE platform.%I ADD CONSTRAINT %I UNIQUE (id)', adopted, adopted || '_id_key');
  END LOOP;
END $$;

-- What we do not know we cannot fill in.
DO $$
DECLARE
  unknown RECORD;
BEGIN
  FOR unknown IN
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'platform' AND is_nullable = 'NO' AND column_default IS NULL
      AND is_identity = 'NO' AND is_generated = 'NEVER'
      AND (table_name = 'users'
             AND column_name NOT IN ('id', 'email', 'name', 'password_hash', 'created_at', 'updated_at')
        OR table_name = 'projects'
             AND column_name NOT IN ('id', 'organization_id', 'name', 'slug', 'created_at', 'updated_at'))
  LOOP
    EXECUTE format('ALTER TABLE platform.%I ALTER COLUMN %I DROP NOT NULL', unknown.table_name, unknown.column_name);
  END LOOP;
END $$;

-- Everybody who is there already gets an organization. Its id is the person's: nothing random happens here.
INSERT INTO organizations (id, name, slug, plan, created_at, updated_at)
SELECT id, left(COALESCE(NULLIF(trim(name), ''), 'Personal'), 100), 'u-' || replace(id::text, '-', ''), 'free',
  COALESCE(created_at, now()), COALESCE(created_at, now())
FROM users;
INSERT INTO organization_members (organization_id, user_id, role, created_at)
SELECT id, id, 'owner', COALESCE(created_at, now()) FROM users;

-- Projects that say whose they are go to that person's organization.
DO $$
BEGIN
  IF EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = 'platform' AND table_name = 'projects'
             AND column_name = 'user_id' AND data_type = 'uuid') THEN
    UPDATE projects SET organization_id = user_id
    WHERE organization_id IS NULL AND EXISTS (SELECT 1 FROM users WHERE users.id = projects.user_id);
  END IF;
END $$;
UPDATE projects SET name = COALESCE(name, ''), slug = COALESCE(slug, 'p-' || replace(id::text, '-', '')),
  created_at = COALESCE(created_at, now()), updated_at = COALESCE(updated_at, now())
WHERE name IS NULL OR slug IS NULL OR created_at IS NULL OR updated_at IS NULL;

CREATE UNIQUE INDEX projects_organization_slug_key ON projects (organization_id, slug);
CREATE INDEX projects_slug ON projects (slug);
CREATE INDEX projects_page ON projects (organization_id, created_at DESC, id DESC);

CREATE TABLE api_keys (
  id UUID PRIMARY KEY,
  user_id UUID NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  secret_hash BYTEA NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  project_id UUID REFERENCES projects(id) ON DELETE CASCADE,
  organization_id UUID REFERENCES organizations(id) ON DELETE CASCADE,
  created_at TIMESTAMPTZ NOT NULL,
  expires_at TIMESTAMPTZ,
  last_used_at TIMESTAMPTZ
);
CREATE INDEX api_keys_page ON api_keys (user_id, created_at DESC, id DESC);
CREATE INDEX api_keys_project ON api_keys (project_id) WHERE project_id IS NOT NULL;
CREATE INDEX api_keys_organization ON api_keys (organization_id) WHERE organization_id IS NOT NULL;

CREATE TABLE ghost_accounts (
  user_id UUID PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  ogel_user_id VARCHAR(255) NOT NULL UNIQUE,
  created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE IF NOT EXISTS ogel_projects (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  project_id UUID NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  ogel_project_id VARCHAR(255) NOT NULL,
  ogel_api_key TEXT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  UNIQUE (project_id),
  UNIQUE (ogel_project_id)
);

CREATE TABLE IF NOT EXISTS deployments (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  project_id UUID NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  ogel_deployment_id VARCHAR(255) NOT NULL,
  repo_url TEXT NOT NULL,
  branch VARCHAR(255) NOT NULL,
  commit_sha VARCHAR(40),
  status VARCHAR(50) NOT NULL,
  preview_url TEXT,
  created_by UUID REFERENCES users(id),
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  completed_at TIMESTAMPTZ,
  UNIQUE (ogel_deployment_id)
);
-- Deployments that are there already have no build of ours; their own id names it, which no other row has.
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS build_id UUID;
UPDATE deployments SET build_id = id WHERE build_id IS NULL;
ALTER TABLE deployments ALTER COLUMN build_id SET DEFAULT gen_random_uuid(), ALTER COLUMN build_id SET NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS deployments_build_id_key ON deployments (build_id);
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS ogel_build_id VARCHAR(255);
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS commit_message TEXT;
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS framework TEXT;
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS root_directory TEXT;
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS install_command TEXT;
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS build_command TEXT;
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS output_directory TEXT;
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS env TEXT;
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS error TEXT;
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS updated_at TIMESTAMPTZ NOT NULL DEFAULT now();
-- Whoever else writes them has created them at Ghost first; we say NULL.
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS submitted_at TIMESTAMPTZ DEFAULT now();
UPDATE deployments SET submitted_at = created_at WHERE submitted_at IS NULL;
ALTER TABLE deployments ADD COLUMN IF NOT EXISTS cancel_requested_at TIMESTAMPTZ;
CREATE INDEX IF NOT EXISTS idx_deployments_project ON deployments (project_id);
CREATE INDEX IF NOT EXISTS idx_deployments_status ON deployments (status);
CREATE INDEX deployments_page ON deployments (project_id, created_at DESC, id DESC);
CREATE INDEX deployments_unfinished ON deployments (created_at DESC, id DESC) WHERE status IN ('pending', 'building');

CREATE TABLE idempotency_keys (
  scope_hash BYTEA PRIMARY KEY,
  body_hash BYTEA NOT NULL,
  finished BOOLEAN NOT NULL,
  status BIGINT NOT NULL,
  body BYTEA NOT NULL,
  content_type TEXT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX idempotency_keys_expires ON idempotency_keys (expires_at);
