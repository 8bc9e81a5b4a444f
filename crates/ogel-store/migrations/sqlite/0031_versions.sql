-- Which version of a row a change was meant for, and rows that are deleted but can still come back.

ALTER TABLE users ADD COLUMN row_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE organizations ADD COLUMN row_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE organizations ADD COLUMN deleted_at TEXT;
ALTER TABLE organization_members ADD COLUMN row_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE projects ADD COLUMN row_version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE projects ADD COLUMN deleted_at TEXT;
CREATE INDEX organizations_deleted ON organizations (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX projects_deleted ON projects (deleted_at) WHERE deleted_at IS NOT NULL;

-- Slugs that an organization has given up lately: nobody else may take them yet.
CREATE TABLE organization_slugs (
  slug TEXT NOT NULL PRIMARY KEY,
  organization_id BLOB NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
  held_until TEXT NOT NULL
) STRICT;
CREATE INDEX organization_slugs_organization ON organization_slugs (organization_id);
CREATE INDEX organization_slugs_held ON organization_slugs (held_until);
