//! The audit log. What belongs to an organization is changed in [`audited!`] only: a transaction that writes down who
//! did what before it commits. So there is no change without an entry, and no entry of something that did not happen.

use crate::{
    KeptAnswer, Page, PageRequest, Result, Store, Viewer,
    pool::{on_read, on_write},
    viewer::{seen_by, sees_organization},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
    id::{ApiKeyId, AuditEntryId, OrganizationId, UserId},
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::net::IpAddr;
use uuid::Uuid;

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    User(UserId),
    /// With a key of that person's.
    Key(UserId, ApiKeyId),
    /// What is due by itself.
    System,
}

/// Who does something, when and from where. Every function that changes what belongs to an organization takes one.
#[derive(Clone, Debug)]
pub struct Act {
    /// Fresh, and greater than those before: the entry's id.
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub actor: Actor,
    pub ip: Option<IpAddr>,
    pub request_id: Option<String>,
    /// The answer to a request with an `Idempotency-Key`, kept in the transaction of what is done: whoever repeats the
    /// request finds both or neither.
    pub answer: Option<KeptAnswer>,
}

impl Act {
    /// What is done because it is due.
    pub fn by_the_system(id: Uuid, at: DateTime<Utc>) -> Self {
        Self { id, at, actor: Actor::System, ip: None, request_id: None, answer: None }
    }

    /// The same by somebody who is known only now.
    pub(crate) fn by(&self, user: UserId) -> Self {
        Self { actor: Actor::User(user), ..self.clone() }
    }

    pub fn user(&self) -> Option<UserId> {
        match self.actor {
            Actor::User(user) | Actor::Key(user, _) => Some(user),
            Actor::System => None,
        }
    }

    fn key(&self) -> Option<ApiKeyId> {
        match self.actor {
            Actor::Key(_, key) => Some(key),
            Actor::User(_) | Actor::System => None,
        }
    }
}

/// What is written down of one change: fields that are no secret, as they were and as they are.
#[derive(Clone, Debug)]
pub struct Entry {
    organization: Option<OrganizationId>,
    action: AuditAction,
    target: String,
    before: Map<String, Value>,
    after: Map<String, Value>,
}

impl Entry {
    #[expect(clippy::needless_pass_by_value, reason = "ids are small, and so nobody writes `&id`")]
    pub fn new(organization: impl Into<Option<OrganizationId>>, action: AuditAction, target: impl ToString) -> Self {
        let (before, after) = (Map::new(), Map::new());
        Self { organization: organization.into(), action, target: target.to_string(), before, after }
    }

    /// A field as it was, of something that is removed.
    #[must_use]
    pub fn before(mut self, field: &str, value: impl Serialize) -> Self {
        self.before.insert(field.to_owned(), json(value));
        self
    }

    /// A field as it is, of something that is made.
    #[must_use]
    pub fn after(mut self, field: &str, value: impl Serialize) -> Self {
        self.after.insert(field.to_owned(), json(value));
        self
    }

    /// A field that may have changed; one that has not is left out.
    #[must_use]
    pub fn changed<T: Serialize + PartialEq>(self, field: &str, from: T, to: T) -> Self {
        if from == to {
            return self;
        }
        self.before(field, from).after(field, to)
    }

    /// What it says.
    pub(crate) fn fields(&self) -> (AuditAction, [&Map<String, Value>; 2]) {
        (self.action, [&self.before, &self.after])
    }

    /// The same with fields that were written down before.
    pub(crate) fn with_fields(self, before: Option<Map<String, Value>>, after: Option<Map<String, Value>>) -> Self {
        Self { before: before.unwrap_or_default(), after: after.unwrap_or_default(), ..self }
    }

    pub(crate) fn is_of_an_organization(&self) -> bool {
        self.organization.is_some()
    }

    /// What it is about, for those who are told of it.
    pub(crate) fn told(&self) -> (Option<OrganizationId>, AuditAction, &str, [&Map<String, Value>; 2]) {
        (self.organization, self.action, &self.target, [&self.before, &self.after])
    }

    pub(crate) fn values(&self) -> (Option<Uuid>, &'static str, &str, Option<String>, Option<String>) {
        let text = |fields: &Map<String, Value>| {
            (!fields.is_empty()).then(|| serde_json::to_string(fields).unwrap_or_default())
        };
        let organization = self.organization.map(|id| id.0);
        (organization, self.action.as_str(), &self.target, text(&self.before), text(&self.after))
    }
}

/// Ids, words, numbers and lists of them: nothing that JSON cannot hold.
fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

pub(crate) const ADD: &str = "INSERT INTO audit_log (id, organization_id, created_at, actor_user, actor_key, action, target, \
     before_fields, after_fields, ip, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// Writes `$entries` in the transaction `$tx`. The first has the act's id, each further one the next. Those who want to be
/// told of such a thing are.
macro_rules! write_down {
    ($tx:expr, $act:expr, $entries:expr) => {{
        let act: &$crate::audit::Act = $act;
        for (n, entry) in $entries.iter().enumerate() {
            let (organization, action, target, before, after) = $crate::audit::Entry::values(entry);
            sqlx::query($crate::audit::ADD)
                .bind(act.entry_id(n))
                .bind(organization)
                .bind(act.at)
                .bind(act.user_and_key().0)
                .bind(act.user_and_key().1)
                .bind(action)
                .bind(target)
                .bind(before)
                .bind(after)
                .bind(act.ip.map(|ip| ip.to_string()))
                .bind(&act.request_id)
                .execute(&mut *$tx)
                .await?;
            if let Some(emission) = $crate::Emission::of_entry(entry, act.at) {
                $crate::webhooks::outbox::emit!($tx, &emission);
            }
        }
    }};
}
pub(crate) use write_down;

/// Runs `$body` in a transaction `$tx`. `Ok((value, entries))`: the entries are written, and the act's answer is kept, then
/// all of it is committed. `Err(refusal)`: nothing is kept.
macro_rules! audited {
    ($store:expr, $act:expr, $tx:ident => $body:expr) => {
        $crate::pool::on_write!($store, db => {
            let mut $tx = db.begin_with(BEGIN).await?;
            match $body {
                Ok((value, entries)) => {
                    let entries: Vec<$crate::audit::Entry> = entries;
                    $crate::audit::write_down!($tx, $act, entries);
                    $crate::idempotency::keep_answer!($tx, $act);
                    $tx.commit().await?;
                    Ok(value)
                }
                Err(refusal) => {
                    $tx.rollback().await?;
                    Err(refusal)
                }
            }
        })
    };
}
pub(crate) use audited;

impl Act {
    pub(crate) fn entry_id(&self, n: usize) -> Uuid {
        Uuid::from_u128(self.id.as_u128().wrapping_add(n as u128))
    }

    pub(crate) fn user_and_key(&self) -> (Option<Uuid>, Option<Uuid>) {
        (self.user().map(|id| id.0), self.key().map(|id| id.0))
    }
}

/// An entry as it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    pub id: AuditEntryId,
    pub organization_id: Option<OrganizationId>,
    pub created_at: DateTime<Utc>,
    pub actor_user: Option<UserId>,
    pub actor_key: Option<ApiKeyId>,
    /// `None` when the account is gone.
    pub actor_name: Option<String>,
    pub action: AuditAction,
    pub target: String,
    pub before_fields: Option<Map<String, Value>>,
    pub after_fields: Option<Map<String, Value>>,
    pub ip: Option<String>,
    pub request_id: Option<String>,
}
row!(AuditRecord {
    id,
    organization_id,
    created_at,
    actor_user,
    actor_key,
    actor_name,
    action,
    target,
    before_fields,
    after_fields,
    ip,
    request_id
});

macro_rules! columns {
    () => {
        "audit_log.id, audit_log.organization_id, audit_log.created_at, audit_log.actor_user, audit_log.actor_key, \
         u.name AS actor_name, audit_log.action, audit_log.target, audit_log.before_fields, audit_log.after_fields, \
         audit_log.ip, audit_log.request_id"
    };
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub actor: Option<UserId>,
    pub action: Option<AuditAction>,
    pub target: Option<String>,
    pub created_after: Option<DateTime<Utc>>,
    pub created_before: Option<DateTime<Utc>>,
}

impl Store {
    /// Of an organization the viewer belongs to, newest first.
    pub async fn audit_log(
        &self,
        viewer: &Viewer,
        organization: OrganizationId,
        filter: &AuditFilter,
        request: &PageRequest,
    ) -> Result<Page<AuditRecord>> {
        let rows = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM audit_log \
             JOIN organizations ON organizations.id = audit_log.organization_id", sees_organization!(),
            "LEFT JOIN users u ON u.id = audit_log.actor_user \
             WHERE audit_log.organization_id = $4 AND (audit_log.created_at, audit_log.id) < ($5, $6) \
             AND ($8 IS NULL OR audit_log.actor_user = $8) AND ($9 IS NULL OR audit_log.action = $9) \
             AND ($10 IS NULL OR audit_log.target = $10) AND ($11 IS NULL OR audit_log.created_at > $11) \
             AND ($12 IS NULL OR audit_log.created_at < $12) \
             ORDER BY audit_log.created_at DESC, audit_log.id DESC LIMIT $7")), viewer)
            .bind(organization.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .bind(filter.actor.map(|id| id.0)).bind(filter.action.map(AuditAction::as_str)).bind(filter.target.as_deref())
            .bind(filter.created_after).bind(filter.created_before)
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &AuditRecord| (row.created_at, row.id.0)))
    }

    /// What somebody did, newest first, and what was done to their account: outside of organizations, or anywhere.
    pub async fn acted(
        &self,
        actor: UserId,
        anywhere: bool,
        filter: &AuditFilter,
        request: &PageRequest,
    ) -> Result<Page<AuditRecord>> {
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM audit_log LEFT JOIN users u ON u.id = audit_log.actor_user \
             WHERE (audit_log.actor_user = $1 OR audit_log.target = $10) AND ($2 OR audit_log.organization_id IS NULL) \
             AND (audit_log.actor_user = $1 OR audit_log.organization_id IS NULL) \
             AND (audit_log.created_at, audit_log.id) < ($3, $4) \
             AND ($6 IS NULL OR audit_log.action = $6) AND ($7 IS NULL OR audit_log.target = $7) \
             AND ($8 IS NULL OR audit_log.created_at > $8) AND ($9 IS NULL OR audit_log.created_at < $9) \
             ORDER BY audit_log.created_at DESC, audit_log.id DESC LIMIT $5"))
            .bind(actor.0).bind(anywhere).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .bind(filter.action.map(AuditAction::as_str)).bind(filter.target.as_deref())
            .bind(filter.created_after).bind(filter.created_before).bind(actor.to_string())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &AuditRecord| (row.created_at, row.id.0)))
    }

    /// Removes at most `limit` entries from before then; answers how many.
    pub async fn delete_old_audit_entries(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE created_at < $1 LIMIT $2)")
            .bind(before).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
