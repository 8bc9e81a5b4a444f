//! What can go wrong, sorted by what a caller can do about it. SQL and its messages stay in the source.

use sqlx::error::DatabaseError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A limit of an organization that a new deployment would go beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// Deployments that have not ended.
    Unfinished,
    /// Deployments in a day.
    PerDay,
    /// Deployments in a month.
    PerMonth,
    /// Seconds of builds in a month.
    BuildSeconds,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The organization has as many as it may have.
    #[error("a limit of the organization is reached: {0:?}")]
    Capped(Cap),
    /// There is one already; `what` is `table.column`.
    #[error("{what} is taken")]
    Unique { what: &'static str },
    /// Another request holds the `Idempotency-Key` by now; nothing was done.
    #[error("the idempotency key is held by another request")]
    KeyLost,
    /// It refers to something that is not there, or something refers to it.
    #[error("a row this refers to is missing, or one refers to this")]
    ForeignKey,
    /// No connection, or too busy: later may be better.
    #[error("the database is not available")]
    Unavailable(#[source] Source),
    /// No space left.
    #[error("the database's disk is full")]
    Full(#[source] Source),
    /// A row holds what this build does not understand.
    #[error("a row cannot be read")]
    Corrupt(#[source] Source),
    #[error("the database failed")]
    Other(#[source] Source),
}

/// Unique constraints: PostgreSQL's name, what SQLite says instead, and what callers are told.
const UNIQUE: &[(&str, &str, &str)] = &[
    ("users_pkey", "users.id", "users.id"),
    ("users_lower_email_key", "index 'users_lower_email_key'", "users.email"),
    ("sessions_pkey", "sessions.id", "sessions.id"),
    ("sessions_token_hash_key", "sessions.token_hash", "sessions.token_hash"),
    ("organizations_pkey", "organizations.id", "organizations.id"),
    ("organizations_slug_key", "organizations.slug", "organizations.slug"),
    (
        "organization_members_pkey",
        "organization_members.organization_id, organization_members.user_id",
        "organization_members.user_id",
    ),
    ("audit_log_pkey", "audit_log.id", "audit_log.id"),
    ("invitations_organization_id_email_key", "invitations.organization_id, invitations.email", "invitations.email"),
    ("projects_pkey", "projects.id", "projects.id"),
    ("projects_organization_slug_key", "projects.organization_id, projects.slug", "projects.slug"),
    ("api_keys_pkey", "api_keys.id", "api_keys.id"),
    ("api_keys_old_secret_key", "api_keys.old_secret_hash", "api_keys.secret_hash"),
    ("device_logins_user_code_key", "device_logins.user_code", "device_logins.user_code"),
    ("api_keys_secret_hash_key", "api_keys.secret_hash", "api_keys.secret_hash"),
    ("ghost_accounts_ogel_user_id_key", "ghost_accounts.ogel_user_id", "ghost_accounts.ogel_user_id"),
    ("ogel_projects_pkey", "ogel_projects.id", "ogel_projects.id"),
    ("ogel_projects_ogel_project_id_key", "ogel_projects.ogel_project_id", "ogel_projects.ogel_project_id"),
    ("deployments_pkey", "deployments.id", "deployments.id"),
    ("deployments_build_id_key", "deployments.build_id", "deployments.build_id"),
    // The same id as text: which of the two is looked at first is the database's business.
    ("deployments_ogel_deployment_id_key", "deployments.ogel_deployment_id", "deployments.id"),
    ("ghost_objects_pkey", "ghost_objects.id", "ghost_objects.id"),
    // What a Studio that was there before us calls it.
    ("users_email_key", "users.email", "users.email"),
];

fn unique(database: &dyn DatabaseError) -> StoreError {
    let named = database.constraint();
    let said = database.message().strip_prefix("UNIQUE constraint failed: ");
    let known = UNIQUE.iter().find(|(postgres, sqlite, _)| named == Some(postgres) || said == Some(sqlite));
    StoreError::Unique { what: known.map_or("a row", |(_, _, what)| what) }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            // A connection that was cut in the middle of an answer, or of a greeting.
            | sqlx::Error::Protocol(_)
            | sqlx::Error::BeginFailed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_) => Self::Unavailable(Box::new(error)),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Corrupt(Box::new(error)),
            sqlx::Error::Database(database) if database.is_unique_violation() => unique(database.as_ref()),
            sqlx::Error::Database(database) if database.is_foreign_key_violation() => Self::ForeignKey,
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                // SQLSTATE has five characters; SQLite's extended codes have fewer than five digits.
                let sorted = if code.len() == 5 { by_sqlstate(&code) } else { by_sqlite_code(&code) };
                sorted(Box::new(error))
            }
            _ => Self::Other(Box::new(error)),
        }
    }
}

fn by_sqlstate(code: &str) -> fn(Source) -> StoreError {
    match code {
        "53100" => StoreError::Full,
        "XX001" | "XX002" => StoreError::Corrupt,
        // Statement and lock timeouts, deadlock and serialization victims, a primary that became a replica, a
        // database that was dropped or is not restored yet.
        "57014" | "55P03" | "40001" | "40P01" | "25006" | "3D000" => StoreError::Unavailable,
        // Shutting down, starting up, out of resources, connection lost, or nobody lets us in.
        _ if ["57P", "53", "08", "28", "3D"].iter().any(|class| code.starts_with(class)) => StoreError::Unavailable,
        _ => StoreError::Other,
    }
}

fn by_sqlite_code(code: &str) -> fn(Source) -> StoreError {
    // The low byte is the kind, the rest where exactly it happened.
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(13) => StoreError::Full,
        Ok(11 | 26) => StoreError::Corrupt,
        // Busy, locked, read-only, I/O error, cannot open.
        Ok(5 | 6 | 8 | 10 | 14) => StoreError::Unavailable,
        _ => StoreError::Other,
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            error => Self::Other(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_busy_database_are_told_apart_on_both() {
        let sorted = |code: &str, by: fn(&str) -> fn(Source) -> StoreError| by(code)("why".into());
        assert!(matches!(sorted("13", by_sqlite_code), StoreError::Full(_)));
        assert!(matches!(sorted("53100", by_sqlstate), StoreError::Full(_)));
        for code in ["5", "517", "6", "10", "778", "14"] {
            assert!(matches!(sorted(code, by_sqlite_code), StoreError::Unavailable(_)), "{code}");
        }
        for code in ["57P01", "57P03", "53300", "08006", "57014", "40P01", "28P01", "3D000"] {
            assert!(matches!(sorted(code, by_sqlstate), StoreError::Unavailable(_)), "{code}");
        }
        assert!(matches!(sorted("11", by_sqlite_code), StoreError::Corrupt(_)));
        assert!(matches!(sorted("1", by_sqlite_code), StoreError::Other(_)));
        assert!(matches!(sorted("42P01", by_sqlstate), StoreError::Other(_)));
    }

    #[test]
    fn what_people_may_read_says_nothing_of_the_statement() {
        let error = StoreError::Other("SELECT secret FROM users".into());
        assert_eq!(error.to_string(), "the database failed");
    }
}
