//! The errors this Ghost answers with, in Appwrite's form `{"message","code","type","version"}`, and the error of a
//! start that failed. Refuses to leak what went wrong inside: that is logged, the caller reads `general_server_error`.
//! Next: `body.rs` for argument errors, `auth.rs` for credential errors.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

/// The version answers carry.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Why the embedded Ghost could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another process works in the data directory.
    #[error("another Ghost already runs in `{0}`; stop it or choose another data directory")]
    DataDirInUse(std::path::PathBuf),
    /// The data directory could not be made or read.
    #[error("cannot prepare the data directory `{path}`")]
    DataDir {
        /// The directory.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The state could not be opened or migrated.
    #[error("cannot open Ghost's database")]
    Database(#[from] sqlx::Error),
    /// The migrations do not fit the database file.
    #[error("cannot migrate Ghost's database")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// An address could not be bound.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A setting makes no sense.
    #[error("setting `{name}` is wrong: {reason}")]
    Setting {
        /// The field of `Config`.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
}

/// One error answer.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, kind, message: message.into() }
    }

    pub(crate) fn argument(name: &str, reason: impl std::fmt::Display) -> ApiError {
        let message = format!("Invalid `{name}` param: {reason}");
        ApiError::new(StatusCode::BAD_REQUEST, "general_argument_invalid", message)
    }

    pub(crate) fn missing_argument(name: &str) -> ApiError {
        let message = format!("Param \"{name}\" is not optional.");
        ApiError::new(StatusCode::BAD_REQUEST, "general_argument_invalid", message)
    }

    pub(crate) fn unauthorized() -> ApiError {
        let message = "The current user is not authorized to perform the requested action.";
        ApiError::new(StatusCode::UNAUTHORIZED, "user_unauthorized", message)
    }

    pub(crate) fn scope(role: &str, scope: &str) -> ApiError {
        let message = format!("{role} missing scopes ([\"{scope}\"])");
        ApiError::new(StatusCode::UNAUTHORIZED, "general_unauthorized_scope", message)
    }

    pub(crate) fn not_found(kind: &'static str, noun: &str) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, kind, format!("{noun} with the requested ID could not be found."))
    }

    pub(crate) fn conflict(kind: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, kind, message)
    }

    pub(crate) fn internal() -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "general_server_error", "Server Error")
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> ApiError {
        tracing::error!(%error, "ghost database failed");
        ApiError::internal()
    }
}

impl From<getrandom::Error> for ApiError {
    fn from(error: getrandom::Error) -> ApiError {
        tracing::error!(%error, "no random bytes");
        ApiError::internal()
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> ApiError {
        tracing::error!(%error, "stored JSON is damaged");
        ApiError::internal()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({
            "message": self.message, "code": self.status.as_u16(), "type": self.kind, "version": VERSION,
        });
        (self.status, Json(body)).into_response()
    }
}

/// Whether a write failed because the row exists already.
pub(crate) fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}
