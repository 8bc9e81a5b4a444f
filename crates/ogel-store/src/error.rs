//! What can go wrong, sorted by what a caller can do about it. SQL and its messages stay in the source.

type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is one already; `what` is `table.column`.
    #[error("{what} is taken")]
    Unique { what: &'static str },
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

/// Constraints by the names both databases give them.
const UNIQUE: &[(&str, &str)] = &[
    ("users_email_key", "users.email"),
    ("users.email", "users.email"),
    ("organizations_slug_key", "organizations.slug"),
    ("organizations.slug", "organizations.slug"),
    ("projects_organization_id_slug_key", "projects.slug"),
    ("projects.slug", "projects.slug"),
    ("api_keys_secret_hash_key", "api_keys.secret_hash"),
    ("deployments_pkey", "deployments.id"),
    ("deployments.id", "deployments.id"),
];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
                Self::Unavailable(Box::new(error))
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Corrupt(Box::new(error)),
            sqlx::Error::Database(database) => {
                if database.is_unique_violation() {
                    let text = format!("{} {}", database.constraint().unwrap_or_default(), database.message());
                    let known = UNIQUE.iter().find(|(name, _)| text.contains(name));
                    return Self::Unique { what: known.map_or("a row", |(_, what)| what) };
                }
                if database.is_foreign_key_violation() {
                    return Self::ForeignKey;
                }
                match database.code().as_deref() {
                    // SQLite: busy, locked, I/O, cannot open. PostgreSQL: out of resources, shutting down, timeouts.
                    Some("5" | "6" | "10" | "14" | "261" | "517" | "57P01" | "57P02" | "57P03" | "57014" | "55P03") => {
                        Self::Unavailable(Box::new(error))
                    }
                    Some("13" | "53100") => Self::Full(Box::new(error)),
                    Some(code) if code.starts_with("53") || code.starts_with("08") => {
                        Self::Unavailable(Box::new(error))
                    }
                    _ => Self::Other(Box::new(error)),
                }
            }
            _ => Self::Other(Box::new(error)),
        }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Other(Box::new(error))
    }
}
