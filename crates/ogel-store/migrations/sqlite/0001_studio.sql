-- Studio's tables. UUIDs are 16-byte blobs, times RFC 3339 text in UTC. Lengths are checked where PostgreSQL has them.

CREATE TABLE users (
  id BLOB NOT NULL PRIMARY KEY,
  email TEXT NOT NULL,
  name TEXT NOT NULL,
  password_hash TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_lower_email_key ON users (lower(email));

CREATE TABLE sessions (
  id BLOB NOT NULL PRIMARY KEY,
  user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  token_hash BLOB NOT NULL UNIQUE,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

CREATE TABLE organizations (
  id BLOB NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  slug TEXT NOT NULL UNIQUE,
  plan TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE organization_members (
  organization_id BLOB NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
  user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (organization_id, user_id)
) STRICT;
CREATE INDEX organization_members_user ON organization_members (user_id);

CREATE TABLE projects (
  id BLOB NOT NULL PRIMARY KEY,
  organization_id BLOB NOT NULL REFERENCES organizations(id),
  name TEXT NOT NULL,
  slug TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX projects_organization_slug_key ON projects (organization_id, slug);
CREATE INDEX projects_slug ON projects (slug);
CREATE INDEX projects_page ON projects (organization_id, created_at DESC, id DESC);

CREATE TABLE api_keys (
  id BLOB NOT NULL PRIMARY KEY,
  user_id BLOB NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  secret_hash BLOB NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  project_id BLOB REFERENCES projects(id) ON DELETE CASCADE,
  organization_id BLOB REFERENCES organizations(id) ON DELETE CASCADE,
  created_at TEXT NOT NULL,
  expires_at TEXT,
  last_used_at TEXT
) STRICT;
CREATE INDEX api_keys_page ON api_keys (user_id, created_at DESC, id DESC);
CREATE INDEX api_keys_project ON api_keys (project_id) WHERE project_id IS NOT NULL;
CREATE INDEX api_keys_organization ON api_keys (organization_id) WHERE organization_id IS NOT NULL;

CREATE TABLE ghost_accounts (
  user_id BLOB NOT NULL PRIMARY KEY REFERENCES users(id) ON DELETE CASCADE,
  ogel_user_id TEXT NOT NULL UNIQUE CHECK (length(ogel_user_id) <= 255),
  created_at TEXT NOT NULL
) STRICT;

CREATE TABLE ogel_projects (
  id BLOB NOT NULL PRIMARY KEY,
  project_id BLOB NOT NULL UNIQUE REFERENCES projects(id) ON DELETE CASCADE,
  ogel_project_id TEXT NOT NULL UNIQUE CHECK (length(ogel_project_id) <= 255),
  ogel_api_key TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE deployments (
  id BLOB NOT NULL PRIMARY KEY,
  project_id BLOB NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
  ogel_deployment_id TEXT NOT NULL UNIQUE CHECK (length(ogel_deployment_id) <= 255),
  build_id BLOB NOT NULL UNIQUE,
  ogel_build_id TEXT CHECK (length(ogel_build_id) <= 255),
  repo_url TEXT NOT NULL,
  branch TEXT NOT NULL CHECK (length(branch) <= 255),
  commit_sha TEXT CHECK (length(commit_sha) <= 40),
  commit_message TEXT,
  framework TEXT,
  root_directory TEXT,
  install_command TEXT,
  build_command TEXT,
  output_directory TEXT,
  env TEXT,
  tags TEXT NOT NULL DEFAULT '[]',
  status TEXT NOT NULL CHECK (length(status) <= 50),
  error TEXT,
  preview_url TEXT,
  created_by BLOB REFERENCES users(id),
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  submitted_at TEXT,
  cancel_requested_at TEXT,
  completed_at TEXT
) STRICT;
CREATE INDEX idx_deployments_project ON deployments (project_id, created_at DESC, id DESC);
CREATE INDEX idx_deployments_status ON deployments (status);

CREATE TABLE idempotency_keys (
  scope_hash BLOB NOT NULL PRIMARY KEY,
  body_hash BLOB NOT NULL,
  finished INTEGER NOT NULL,
  status INTEGER NOT NULL,
  body BLOB NOT NULL,
  content_type TEXT NOT NULL,
  created_at TEXT NOT NULL,
  expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX idempotency_keys_expires ON idempotency_keys (expires_at);
