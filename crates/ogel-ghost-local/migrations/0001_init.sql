-- Everything the embedded Ghost remembers. Times are RFC 3339 text of fixed width, so they sort as text.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE users (
    id         TEXT PRIMARY KEY,
    email      TEXT NOT NULL UNIQUE COLLATE NOCASE,
    name       TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE projects (
    id                   TEXT PRIMARY KEY,
    name                 TEXT NOT NULL,
    region               TEXT NOT NULL,
    active_deployment_id TEXT,
    created_at           TEXT NOT NULL,
    updated_at           TEXT NOT NULL
) STRICT;

CREATE TABLE project_members (
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    PRIMARY KEY (project_id, user_id)
) STRICT, WITHOUT ROWID;

-- Only the SHA-256 of a secret is kept: the secret is shown once, in the answer that creates it.
CREATE TABLE project_keys (
    id          TEXT PRIMARY KEY,
    project_id  TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    created_at  TEXT NOT NULL
) STRICT;

-- `seq` is the order of creation: pages and the queue follow it, clocks do not matter.
CREATE TABLE deployments (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT NOT NULL UNIQUE,
    project_id       TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    build_id         TEXT NOT NULL UNIQUE,
    status           TEXT NOT NULL,
    repo_url         TEXT NOT NULL,
    branch           TEXT NOT NULL,
    commit_sha       TEXT,
    commit_message   TEXT,
    commit_author    TEXT,
    framework        TEXT,
    spec             TEXT NOT NULL,
    spa              INTEGER NOT NULL DEFAULT 0,
    error            TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL,
    started_at       TEXT,
    completed_at     TEXT
) STRICT;
CREATE INDEX deployments_by_project ON deployments (project_id, seq);
CREATE INDEX deployments_by_status ON deployments (status, seq);

CREATE TABLE build_steps (
    build_id     TEXT NOT NULL REFERENCES deployments (build_id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    name         TEXT NOT NULL,
    status       TEXT NOT NULL,
    started_at   TEXT NOT NULL,
    completed_at TEXT,
    PRIMARY KEY (build_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE build_lines (
    build_id TEXT NOT NULL REFERENCES deployments (build_id) ON DELETE CASCADE,
    n        INTEGER NOT NULL,
    at       TEXT NOT NULL,
    stream   TEXT NOT NULL,
    text     TEXT NOT NULL,
    PRIMARY KEY (build_id, n)
) STRICT, WITHOUT ROWID;

-- Process groups that are running now. A row left by a crash is how the next start finds what to kill;
-- `mark` tells the same leader from another process that got its number since.
CREATE TABLE build_groups (
    build_id TEXT NOT NULL REFERENCES deployments (build_id) ON DELETE CASCADE,
    pgid     INTEGER NOT NULL,
    mark     TEXT NOT NULL,
    PRIMARY KEY (build_id, pgid)
) STRICT, WITHOUT ROWID;

CREATE TABLE sites (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    settings   TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (project_id, id)
) STRICT;

CREATE TABLE domains (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL,
    project_id  TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    domain      TEXT NOT NULL UNIQUE,
    site_id     TEXT,
    status      TEXT NOT NULL,
    observed    TEXT NOT NULL DEFAULT '[]',
    checked_at  TEXT,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL,
    UNIQUE (project_id, id)
) STRICT;

CREATE TABLE data_databases (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    enabled    INTEGER NOT NULL DEFAULT 1,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (project_id, id)
) STRICT;

CREATE TABLE data_collections (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT NOT NULL,
    database_seq INTEGER NOT NULL REFERENCES data_databases (seq) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    enabled      INTEGER NOT NULL DEFAULT 1,
    created_at   TEXT NOT NULL,
    updated_at   TEXT NOT NULL,
    UNIQUE (database_seq, id)
) STRICT;

CREATE TABLE data_documents (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL,
    collection_seq INTEGER NOT NULL REFERENCES data_collections (seq) ON DELETE CASCADE,
    data           TEXT NOT NULL,
    created_at     TEXT NOT NULL,
    updated_at     TEXT NOT NULL,
    UNIQUE (collection_seq, id)
) STRICT;
