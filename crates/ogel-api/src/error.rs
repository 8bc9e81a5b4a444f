//! The one error table, and the envelope every failure travels in.
//!
//! A row gives the enum variant, the code on the wire, the HTTP status, whether repeating the same request may help,
//! and the sentence of the reference page. `docs/errors.md` and the OpenAPI enum are made from it. A new failure is a
//! new row, or better, an existing one.

use crate::string_enum::string_enum;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, time::Duration};
use utoipa::ToSchema;

macro_rules! error_table {
    ($($(#[doc = $summary:literal])+ $variant:ident = $code:tt, $status:ident, retry: $retry:literal;)+) => {
        /// What went wrong, in a word that never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[doc = $summary])+ $variant,)+ }

        impl ErrorCode {
            /// Every row, in the table's order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),+];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str { match self { $(ErrorCode::$variant => $code,)+ } }

            /// The HTTP status it always comes with.
            pub fn status(self) -> StatusCode { match self { $(ErrorCode::$variant => StatusCode::$status,)+ } }

            /// Whether the same request may succeed later.
            pub fn retryable(self) -> bool { match self { $(ErrorCode::$variant => $retry,)+ } }

            /// What it means and what to do, for the reference page.
            pub fn summary(self) -> &'static str {
                match self { $(ErrorCode::$variant => concat!($($summary),+).trim_ascii(),)+ }
            }
        }
    };
}

error_table! {
    /// The body is not JSON. Send one JSON object in UTF-8.
    MalformedJson = "MALFORMED_JSON", BAD_REQUEST, retry: false;
    /// The body has another media type. Send `Content-Type: application/json`.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", UNSUPPORTED_MEDIA_TYPE, retry: false;
    /// Several things about the request are wrong; `details` names each.
    ValidationFailed = "VALIDATION_FAILED", BAD_REQUEST, retry: false;
    /// A field holds another JSON type than the documented one.
    WrongType = "WRONG_TYPE", BAD_REQUEST, retry: false;
    /// The body has a field this operation does not know; `details` names the nearest known one.
    UnknownField = "UNKNOWN_FIELD", BAD_REQUEST, retry: false;
    /// A required field is missing; `details` names all that are.
    MissingField = "MISSING_FIELD", BAD_REQUEST, retry: false;
    /// A field's value is outside what is allowed; `details` says what is.
    InvalidValue = "INVALID_VALUE", BAD_REQUEST, retry: false;
    /// The query has a parameter this operation does not know.
    UnknownParameter = "UNKNOWN_PARAMETER", BAD_REQUEST, retry: false;
    /// Not an id of the kind the path asks for.
    InvalidId = "INVALID_ID", BAD_REQUEST, retry: false;
    /// The cursor is not one of ours, or belongs to other filters. Start again without it.
    InvalidCursor = "INVALID_CURSOR", BAD_REQUEST, retry: false;
    /// The path has dot segments, doubled slashes or escapes that could mean another path. Send it plainly.
    InvalidPath = "INVALID_PATH", BAD_REQUEST, retry: false;
    /// The request's head is not plain HTTP: a line without CR and LF, two lengths, no `Host` or two of them, or a target
    /// that names another host.
    InvalidRequest = "INVALID_REQUEST", BAD_REQUEST, retry: false;
    /// `repoUrl` is not a URL git could clone from.
    InvalidRepoUrl = "INVALID_REPO_URL", BAD_REQUEST, retry: false;
    /// `repoUrl` uses a scheme this server does not clone from.
    RepoSchemeNotAllowed = "REPO_SCHEME_NOT_ALLOWED", BAD_REQUEST, retry: false;
    /// `repoUrl` carries a user name or password, which would end up in logs. Connect the repository instead.
    RepoUrlHasCredentials = "REPO_URL_HAS_CREDENTIALS", BAD_REQUEST, retry: false;
    /// `repoUrl` names a private, loopback or link-local address.
    RepoHostNotAllowed = "REPO_HOST_NOT_ALLOWED", BAD_REQUEST, retry: false;
    /// `branch` is not a name git accepts.
    InvalidBranch = "INVALID_BRANCH", BAD_REQUEST, retry: false;
    /// No credential was sent. Log in, or send `Authorization: Bearer` with a session token or an API key.
    Unauthenticated = "UNAUTHENTICATED", UNAUTHORIZED, retry: false;
    /// The credential is not known, or was revoked.
    InvalidCredential = "INVALID_CREDENTIAL", UNAUTHORIZED, retry: false;
    /// The API key or session has expired. Make a new key, or log in again.
    CredentialExpired = "CREDENTIAL_EXPIRED", UNAUTHORIZED, retry: false;
    /// The webhook's signature does not hold, or it was signed more than five minutes ago.
    InvalidSignature = "INVALID_SIGNATURE", UNAUTHORIZED, retry: false;
    /// E-mail or password is wrong.
    InvalidLogin = "INVALID_LOGIN", UNAUTHORIZED, retry: false;
    /// The budget or plan does not allow more of this.
    PaymentRequired = "PAYMENT_REQUIRED", PAYMENT_REQUIRED, retry: false;
    /// The caller may see this but not do that; the message names the role or scope it takes.
    Forbidden = "FORBIDDEN", FORBIDDEN, retry: false;
    /// The API key lacks a scope; the message names it.
    MissingScope = "MISSING_SCOPE", FORBIDDEN, retry: false;
    /// The session of Studio's holds, but stands for nobody here. Ask the server's operators for an account.
    AccountNotLinked = "ACCOUNT_NOT_LINKED", FORBIDDEN, retry: false;
    /// This takes proof that it is still the person: the password again, or a login of the last minutes.
    ReauthenticationRequired = "REAUTHENTICATION_REQUIRED", FORBIDDEN, retry: false;
    /// A cookie request came from another site.
    CrossSiteRequest = "CROSS_SITE_REQUEST", FORBIDDEN, retry: false;
    /// There is no such thing, or it is not the caller's to know of.
    NotFound = "NOT_FOUND", NOT_FOUND, retry: false;
    /// No operation has this path.
    RouteNotFound = "ROUTE_NOT_FOUND", NOT_FOUND, retry: false;
    /// The path exists, but not with this method; `Allow` lists those it has.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", METHOD_NOT_ALLOWED, retry: false;
    /// Something like it exists already, or it changed meanwhile.
    Conflict = "CONFLICT", CONFLICT, retry: false;
    /// The organization would be left without an owner. Make somebody else one first.
    LastOwner = "LAST_OWNER", CONFLICT, retry: false;
    /// It has changed since the `ETag` that `If-Match` names. Read it again, then decide.
    PreconditionFailed = "PRECONDITION_FAILED", PRECONDITION_FAILED, retry: false;
    /// The slug names more than one of the caller's projects. Use the id.
    AmbiguousSlug = "AMBIGUOUS_SLUG", CONFLICT, retry: false;
    /// The deployment or build is over, so there is nothing to cancel.
    NotCancelable = "NOT_CANCELABLE", CONFLICT, retry: false;
    /// The deployment is still running; cancel it first.
    NotDeletable = "NOT_DELETABLE", CONFLICT, retry: false;
    /// A request with this `Idempotency-Key` is still running. Ask again in a moment.
    IdempotencyKeyInUse = "IDEMPOTENCY_KEY_IN_USE", CONFLICT, retry: true;
    /// This `Idempotency-Key` was used with another body. Use a fresh key.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", UNPROCESSABLE_ENTITY, retry: false;
    /// The request line is longer than is read. Send a shorter path or query.
    UriTooLong = "URI_TOO_LONG", URI_TOO_LONG, retry: false;
    /// The request's headers are more, or longer, than is read.
    HeadersTooLarge = "HEADERS_TOO_LARGE", REQUEST_HEADER_FIELDS_TOO_LARGE, retry: false;
    /// The request's head or body stopped coming before it was complete.
    RequestTimeout = "REQUEST_TIMEOUT", REQUEST_TIMEOUT, retry: true;
    /// The body is larger than this operation takes.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", PAYLOAD_TOO_LARGE, retry: false;
    /// Too many requests; `Retry-After` says when to come back.
    RateLimited = "RATE_LIMITED", TOO_MANY_REQUESTS, retry: true;
    /// The organization has as many of these as its plan allows.
    QuotaExceeded = "QUOTA_EXCEEDED", FORBIDDEN, retry: false;
    /// A fault of ours. It was logged under the `requestId`.
    Internal = "INTERNAL_ERROR", INTERNAL_SERVER_ERROR, retry: true;
    /// The deployment backend answered with an error we have no word for.
    UpstreamError = "UPSTREAM_ERROR", BAD_GATEWAY, retry: true;
    /// The deployment backend refused our own credential; the operators are told.
    UpstreamAuth = "UPSTREAM_AUTH", BAD_GATEWAY, retry: false;
    /// The backend closed the connection before it had answered.
    UpstreamReset = "UPSTREAM_RESET", BAD_GATEWAY, retry: true;
    /// No secure connection to the backend could be made; the operators are told.
    UpstreamTls = "UPSTREAM_TLS", BAD_GATEWAY, retry: false;
    /// The backend's answer was cut off.
    UpstreamTruncated = "UPSTREAM_TRUNCATED", BAD_GATEWAY, retry: true;
    /// The backend's answer is larger than we read.
    UpstreamTooLarge = "UPSTREAM_TOO_LARGE", BAD_GATEWAY, retry: false;
    /// The backend answered with nothing.
    UpstreamEmpty = "UPSTREAM_EMPTY", BAD_GATEWAY, retry: true;
    /// The backend's answer made no sense: no HTTP, or a page where JSON belongs.
    UpstreamInvalidResponse = "UPSTREAM_INVALID_RESPONSE", BAD_GATEWAY, retry: true;
    /// The deployment backend has too much to do; `Retry-After` says when to come back.
    UpstreamBusy = "UPSTREAM_BUSY", SERVICE_UNAVAILABLE, retry: true;
    /// The deployment backend cannot be reached.
    UpstreamUnavailable = "UPSTREAM_UNAVAILABLE", SERVICE_UNAVAILABLE, retry: true;
    /// The database cannot be reached, or has too much to do.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE", SERVICE_UNAVAILABLE, retry: true;
    /// What replicas share through Redis cannot be read now. Nothing is lost; it is there again with Redis.
    SharedStateUnavailable = "SHARED_STATE_UNAVAILABLE", SERVICE_UNAVAILABLE, retry: true;
    /// The database's disk is full: nothing can be written until an operator makes room. Reading works.
    StorageFull = "STORAGE_FULL", INSUFFICIENT_STORAGE, retry: true;
    /// This server has too much to do, or is shutting down; `Retry-After` says when to come back.
    Overloaded = "OVERLOADED", SERVICE_UNAVAILABLE, retry: true;
    /// The request took longer than its deadline.
    DeadlineExceeded = "DEADLINE_EXCEEDED", GATEWAY_TIMEOUT, retry: true;
    /// The deployment backend did not answer in time.
    UpstreamTimeout = "UPSTREAM_TIMEOUT", GATEWAY_TIMEOUT, retry: true;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl utoipa::PartialSchema for ErrorCode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(ErrorCode::ALL.iter().map(|code| code.as_str())))
            .into()
    }
}
impl ToSchema for ErrorCode {}

string_enum! {
    /// Whose fault it is.
    pub enum Source {
        /// The request itself, or the edge that read it.
        Gateway = "gateway",
        /// Studio's own data.
        Studio = "studio",
        /// The deployment backend.
        Ghost = "ghost",
    }
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Detail {
    /// Where: `body.repoUrl`, `query.limit`, `path.id`.
    pub location: String,
    /// What, as one of the error codes.
    pub code: String,
    /// The same for a person.
    pub message: String,
    /// The next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// A failure on its way to the caller: what they are told, and what only the log is told.
#[derive(Debug)]
pub struct Error {
    pub code: ErrorCode,
    /// One sentence for the caller; names the thing in backticks and says the next step.
    pub message: Cow<'static, str>,
    pub details: Vec<Detail>,
    pub source: Source,
    pub retry_after: Option<Duration>,
    /// For the log alone.
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What handlers return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The request is at fault.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Vec::new(),
            source: Source::Gateway,
            retry_after: None,
            cause: None,
        }
    }

    /// There is no `noun`, or it is not the caller's to know of: the two must not be told apart.
    pub fn not_found(noun: &str, name: impl std::fmt::Display) -> Self {
        let name: String = name.to_string().chars().take(64).collect();
        Self::new(ErrorCode::NotFound, format!("there is no {noun} `{name}` that you may see"))
    }

    /// A fault of ours; the caller learns nothing of `cause`.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorCode::Internal, "something broke on our side; it was logged under this `requestId`")
            .caused_by(cause)
    }

    #[must_use]
    pub fn with_details(mut self, details: Vec<Detail>) -> Self {
        self.details = details;
        self
    }

    #[must_use]
    pub fn from_source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

/// A word that is not in a closed list, and the list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {}", .known.join(", "))]
pub struct UnknownWord {
    pub word: String,
    pub known: Vec<&'static str>,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorEnvelope {
    pub error: ErrorBody,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// Stable; clients decide by it. Clients must accept codes they do not know.
    #[schema(value_type = ErrorCode)]
    pub code: Cow<'static, str>,
    /// For people; may change.
    pub message: Cow<'static, str>,
    /// Each thing that is wrong, where there can be several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Detail>,
    /// Quote it when asking for help.
    pub request_id: String,
    pub trace_id: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Whose fault it is.
    pub source: Source,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_upper_snake_case_and_errors() {
        let mut seen = std::collections::HashSet::new();
        for code in ErrorCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} stands twice");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code}");
            assert!(!code.summary().is_empty());
        }
    }

    #[test]
    fn the_schema_lists_the_codes_that_are_sent() {
        let schema = serde_json::to_value(<ErrorCode as utoipa::PartialSchema>::schema()).unwrap();
        let listed: Vec<_> = schema["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let sent: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(listed, sent);
    }
}
