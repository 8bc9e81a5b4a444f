//! How columns become fields: ids from UUIDs, enums from words, lists from text; and `row!`, which reads a row of either
//! database into a struct by its field names and names its columns for the statements that fetch it.

use crate::{DeviceStatus, ObjectKind};
use chrono::{DateTime, Utc};
use ogel_api::{
    admin::{FindingKind, Queue},
    audit::AuditAction,
    auth::{Scope, SessionKind},
    billing::{BudgetAction, InvoiceStatus, LineKind, Metric},
    deployments::{DeploymentEventType, DeploymentStatus},
    domains::DomainStatus,
    id::{
        ApiKeyId, AuditEntryId, BuildId, DeploymentId, EventId, InvitationId, InvoiceId, OperationId, OrganizationId,
        ProjectId, SessionId, UserId, WebhookDeliveryId, WebhookId,
    },
    operations::{OperationKind, OperationState},
    organizations::{MailState, Plan, Role},
    webhooks::{WebhookDeliveryStatus, WebhookDisabledReason, WebhookEventType},
};
use sqlx::{ColumnIndex, Decode, Row, Type};
use std::net::IpAddr;
use uuid::Uuid;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A field that is read from a column of another type.
pub(crate) trait Column: Sized {
    type Raw;
    fn read(raw: Self::Raw) -> Result<Self, BoxError>;
}

macro_rules! as_it_is { ($($type:ty),+) => { $(
    impl Column for $type {
        type Raw = $type;
        fn read(raw: $type) -> Result<Self, BoxError> { Ok(raw) }
    }
)+ } }
as_it_is!(String, i64, bool, Uuid, DateTime<Utc>, Vec<u8>);

macro_rules! ids { ($($id:ident),+) => { $(
    impl Column for $id {
        type Raw = Uuid;
        fn read(raw: Uuid) -> Result<Self, BoxError> { Ok($id(raw)) }
    }
)+ } }
ids!(
    ApiKeyId,
    AuditEntryId,
    BuildId,
    DeploymentId,
    EventId,
    InvitationId,
    InvoiceId,
    OperationId,
    OrganizationId,
    ProjectId,
    SessionId,
    UserId,
    WebhookDeliveryId,
    WebhookId
);

macro_rules! words { ($($word:ident),+) => { $(
    impl Column for $word {
        type Raw = String;
        fn read(raw: String) -> Result<Self, BoxError> { Ok(raw.parse()?) }
    }
)+ } }
words!(
    MailState,
    BudgetAction,
    DeploymentStatus,
    DeviceStatus,
    DomainStatus,
    InvoiceStatus,
    IpAddr,
    LineKind,
    Metric,
    ObjectKind,
    OperationState,
    Plan,
    Role,
    SessionKind,
    WebhookDeliveryStatus,
    WebhookDisabledReason,
    WebhookEventType
);

impl<T: Column> Column for Option<T> {
    type Raw = Option<T::Raw>;
    fn read(raw: Option<T::Raw>) -> Result<Self, BoxError> {
        raw.map(T::read).transpose()
    }
}

impl Column for [u8; 32] {
    type Raw = Vec<u8>;
    fn read(raw: Vec<u8>) -> Result<Self, BoxError> {
        raw.try_into().map_err(|_| "a hash has 32 bytes".into())
    }
}

/// Words separated by blanks. Scopes a newer build wrote are passed over: they cannot grant anything here.
impl Column for Vec<Scope> {
    type Raw = String;
    fn read(raw: String) -> Result<Self, BoxError> {
        Ok(raw.split(' ').filter_map(|word| word.parse().ok()).collect())
    }
}

/// The inverse of it.
pub(crate) fn scopes_text(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

/// A JSON list. One that a newer build wrote stays in it, as a word that nothing here is equal to.
impl Column for Vec<WebhookEventType> {
    type Raw = String;
    fn read(raw: String) -> Result<Self, BoxError> {
        Ok(serde_json::from_str(&raw)?)
    }
}

/// What is shown, and acted on only under a word that this build asked for. A newer one may have written others; they are
/// read all the same.
macro_rules! shown { ($($word:ident),+) => { $(
    impl Column for $word {
        type Raw = String;
        fn read(raw: String) -> Result<Self, BoxError> { Ok(raw.parse().unwrap_or($word::Unrecognized)) }
    }
)+ } }
shown!(AuditAction, DeploymentEventType, FindingKind, OperationKind, Queue);

/// A JSON object.
impl Column for serde_json::Map<String, serde_json::Value> {
    type Raw = String;
    fn read(raw: String) -> Result<Self, BoxError> {
        Ok(serde_json::from_str(&raw)?)
    }
}

/// A JSON list.
impl Column for Vec<i64> {
    type Raw = String;
    fn read(raw: String) -> Result<Self, BoxError> {
        Ok(serde_json::from_str(&raw)?)
    }
}

/// A JSON list.
impl Column for Vec<String> {
    type Raw = String;
    fn read(raw: String) -> Result<Self, BoxError> {
        Ok(serde_json::from_str(&raw)?)
    }
}

/// One field of a row.
pub(crate) fn get<'r, R: Row, T: Column>(row: &'r R, name: &'static str) -> sqlx::Result<T>
where
    T::Raw: Decode<'r, R::Database> + Type<R::Database>,
    &'static str: ColumnIndex<R>,
{
    let raw = row.try_get::<T::Raw, _>(name)?;
    T::read(raw).map_err(|source| sqlx::Error::ColumnDecode { index: name.to_owned(), source })
}

macro_rules! row {
    // Statements name their columns. PostgreSQL refuses to run a prepared `SELECT *` again once a newer replica's migration
    // has added a column.
    ($name:ident, $columns:ident of $table:literal { $first:ident $(, $field:ident)* $(,)? }) => {
        $crate::words::row!($name { $first $(, $field)* });
        macro_rules! $columns {
            () => { concat!($table, ".", stringify!($first) $(, ", ", $table, ".", stringify!($field))*) }
        }
    };
    ($name:ident { $($field:ident),+ $(,)? }) => {
        $crate::words::row!(@for sqlx::postgres::PgRow, $name { $($field),+ });
        $crate::words::row!(@for sqlx::sqlite::SqliteRow, $name { $($field),+ });
    };
    (@for $row:ty, $name:ident { $($field:ident),+ }) => {
        impl sqlx::FromRow<'_, $row> for $name {
            fn from_row(row: &$row) -> sqlx::Result<Self> {
                Ok(Self { $($field: $crate::words::get(row, stringify!($field))?,)+ })
            }
        }
    };
}
pub(crate) use row;

/// Something together with the viewer's role in its organization (column `role`).
pub(crate) struct Seen<T>(pub(crate) T, pub(crate) Role);

impl<'r, R: Row, T: sqlx::FromRow<'r, R>> sqlx::FromRow<'r, R> for Seen<T>
where
    String: Decode<'r, R::Database> + Type<R::Database>,
    &'static str: ColumnIndex<R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self(T::from_row(row)?, get(row, "role")?))
    }
}

impl<T> From<Seen<T>> for (T, Role) {
    fn from(Seen(row, role): Seen<T>) -> Self {
        (row, role)
    }
}
