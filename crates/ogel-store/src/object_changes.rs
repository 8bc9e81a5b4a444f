//! Changes of sites and domains, which Ghost keeps. Each is written down before Ghost is asked for it, with a job that whoever
//! asks holds meanwhile, and ended in one transaction with its entry of the audit log and what webhooks are told. Should the
//! asker die in between, the job is left, and whoever takes it finds out from Ghost what became of the change.
//!
//! Everything is told once, however many attempts and settlers there were: that a thing was made by the mark on its mapping,
//! that it is gone by the row of the mapping, everything else by the row of the change.

use crate::{
    Act, Actor, Emission, Entry, GhostObject, Hold, Job, NewJob, ObjectKind, Result, Store,
    audit::write_down,
    pool::{on_read, on_write},
    webhooks::outbox::emit,
    words::row,
    work::enqueue,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    admin::Queue,
    audit::AuditAction,
    domains::DomainStatus,
    id::{ApiKeyId, DomainId, OrganizationId, ProjectId, SiteId, UserId},
};
use serde_json::{Map, Value};
use std::net::IpAddr;
use uuid::Uuid;

/// One that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectChange {
    /// Of the act: the job and the entry have it, too.
    pub id: Uuid,
    pub object_id: Uuid,
    pub ghost_id: String,
    pub project_id: ProjectId,
    pub organization_id: OrganizationId,
    pub kind: ObjectKind,
    pub action: AuditAction,
    /// Of the entry.
    pub before_fields: Option<Map<String, Value>>,
    pub after_fields: Option<Map<String, Value>>,
    /// How the domain stood before it was looked at again.
    pub was: Option<DomainStatus>,
    pub actor_user: Option<UserId>,
    pub actor_key: Option<ApiKeyId>,
    pub ip: Option<IpAddr>,
    pub request_id: Option<String>,
    pub created_at: DateTime<Utc>,
}
row!(ObjectChange, columns of "object_changes" {
    id,
    object_id,
    ghost_id,
    project_id,
    organization_id,
    kind,
    action,
    before_fields,
    after_fields,
    was,
    actor_user,
    actor_key,
    ip,
    request_id,
    created_at,
});

/// What became of one.
#[derive(Clone, Copy, Debug)]
pub enum ObjectOutcome<'a> {
    Done,
    /// DNS was asked, and this is how the domain stands.
    Checked {
        domain: &'a str,
        status: DomainStatus,
    },
    NotDone,
    /// It was not there. Whoever else is removing it tells that it is gone.
    NotThere,
}

/// What a change does to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectStep {
    Make,
    Change,
    Check,
    Remove,
}

impl ObjectChange {
    /// What `entry` says, to be asked for by whoever acts.
    pub fn new(act: &Act, object: &GhostObject, organization: OrganizationId, entry: &Entry) -> Self {
        let (action, [before, after]) = entry.fields();
        let some = |fields: &Map<String, Value>| (!fields.is_empty()).then(|| fields.clone());
        let (user, key) = act.user_and_key();
        Self {
            id: act.id,
            object_id: object.id,
            ghost_id: object.ghost_id.clone(),
            project_id: object.project_id,
            organization_id: organization,
            kind: object.kind,
            action,
            before_fields: some(before),
            after_fields: some(after),
            was: None,
            actor_user: user.map(UserId),
            actor_key: key.map(ApiKeyId),
            ip: act.ip,
            request_id: act.request_id.clone(),
            created_at: act.at,
        }
    }

    pub fn step(&self) -> ObjectStep {
        match self.action {
            AuditAction::SiteCreated | AuditAction::DomainCreated => ObjectStep::Make,
            AuditAction::SiteDeleted | AuditAction::DomainDeleted => ObjectStep::Remove,
            AuditAction::DomainChecked => ObjectStep::Check,
            _ => ObjectStep::Change,
        }
    }

    pub fn object(&self) -> GhostObject {
        GhostObject {
            id: self.object_id,
            project_id: self.project_id,
            kind: self.kind,
            ghost_id: self.ghost_id.clone(),
        }
    }

    fn act(&self, at: DateTime<Utc>) -> Act {
        let actor = match (self.actor_user, self.actor_key) {
            (Some(user), Some(key)) => Actor::Key(user, key),
            (Some(user), None) => Actor::User(user),
            (None, _) => Actor::System,
        };
        Act { actor, ip: self.ip, request_id: self.request_id.clone(), ..Act::by_the_system(self.id, at) }
    }

    fn entry(&self) -> Entry {
        let target = match self.kind {
            ObjectKind::Site => SiteId(self.object_id).to_string(),
            ObjectKind::Domain => DomainId(self.object_id).to_string(),
        };
        let entry = Entry::new(self.organization_id, self.action, target);
        entry.with_fields(self.before_fields.clone(), self.after_fields.clone())
    }
}

const FINISH_JOB: &str = "DELETE FROM work WHERE queue = 'changes' AND id = $1 AND fence = $2 AND dead_at IS NULL";
const FORGET: &str = "DELETE FROM object_changes WHERE id = $1";
const MADE: &str = "UPDATE ghost_objects SET written_at = $2 WHERE id = $1 AND written_at IS NULL";
const GONE: &str = "DELETE FROM ghost_objects WHERE id = $1";
/// A refused one leaves no mapping, unless an earlier attempt of the same may have made it.
const NEVER_MADE: &str = "DELETE FROM ghost_objects WHERE id = $1 AND written_at IS NULL AND NOT EXISTS \
     (SELECT 1 FROM object_changes c WHERE c.object_id = $1 AND c.action IN ('site.created', 'domain.created'))";
const IS_BEING_REMOVED: &str =
    "SELECT COUNT(*) FROM object_changes WHERE object_id = $1 AND action IN ('site.deleted', 'domain.deleted')";
/// It is told that a domain is verified, unless that was told since `$3`, when this look at it began.
const VERIFIED: &str =
    "UPDATE ghost_objects SET verified_at = $2 WHERE id = $1 AND (verified_at IS NULL OR verified_at < $3)";

/// Writes down that the object was made, unless that was done, in the transaction `$tx`.
macro_rules! write_down_made {
    ($tx:expr, $change:expr, $now:expr) => {{
        let change: &ObjectChange = $change;
        let first = sqlx::query(MADE).bind(change.object_id).bind($now).execute(&mut *$tx).await?.rows_affected() > 0;
        if first {
            write_down!($tx, &change.act($now), [change.entry()]);
            if change.kind == ObjectKind::Domain {
                emit!($tx, &Emission::of_domain_added(change, $now));
            }
        }
    }};
}

impl Store {
    /// Writes it down together with its job, which `hold` has from the start; what is to be made gets its mapping, so that it
    /// is no stranger when it shows up.
    pub async fn begin_object_change(&self, change: &ObjectChange, hold: Hold) -> Result<Job> {
        let job = NewJob {
            queue: Queue::Changes,
            id: change.id,
            due_at: change.created_at,
            hold: Some(hold),
            created_at: change.created_at,
        };
        let text =
            |fields: &Option<Map<String, Value>>| fields.as_ref().map(|fields| Value::from(fields.clone()).to_string());
        on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            if change.step() == ObjectStep::Make {
                sqlx::query("INSERT INTO ghost_objects (id, project_id, kind, ghost_id, created_at) \
                             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
                    .bind(change.object_id).bind(change.project_id.0).bind(change.kind.as_str()).bind(&change.ghost_id)
                    .bind(change.created_at).execute(&mut *tx).await?;
            }
            sqlx::query("INSERT INTO object_changes (id, object_id, ghost_id, project_id, organization_id, kind, action, \
                           before_fields, after_fields, was, actor_user, actor_key, ip, request_id, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)")
                .bind(change.id).bind(change.object_id).bind(&change.ghost_id).bind(change.project_id.0)
                .bind(change.organization_id.0).bind(change.kind.as_str()).bind(change.action.as_str())
                .bind(text(&change.before_fields)).bind(text(&change.after_fields)).bind(change.was.map(DomainStatus::as_str))
                .bind(change.actor_user.map(|id| id.0)).bind(change.actor_key.map(|id| id.0))
                .bind(change.ip.map(|ip| ip.to_string())).bind(&change.request_id).bind(change.created_at)
                .execute(&mut *tx).await?;
            enqueue!(tx, &job);
            tx.commit().await?;
        });
        Ok(job.taken())
    }

    /// For whoever settles it. `None`: it was settled, or its project is gone.
    pub async fn object_change(&self, id: Uuid) -> Result<Option<ObjectChange>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!("SELECT ", columns!(), " FROM object_changes WHERE id = $1"))
            .bind(id).fetch_optional(db).await?))
    }

    /// Ends it and its job, and writes down what became of it. Whether the job was still held; nothing happens otherwise.
    pub async fn end_object_change(
        &self,
        job: &Job,
        change: &ObjectChange,
        outcome: ObjectOutcome<'_>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let held = sqlx::query(FINISH_JOB).bind(job.id).bind(job.fence).execute(&mut *tx).await?.rows_affected() > 0;
            if held {
                sqlx::query(FORGET).bind(change.id).execute(&mut *tx).await?;
                match (change.step(), outcome) {
                    (ObjectStep::Make, ObjectOutcome::Done) => write_down_made!(tx, change, now),
                    (ObjectStep::Make, _) => {
                        sqlx::query(NEVER_MADE).bind(change.object_id).execute(&mut *tx).await?;
                    }
                    (ObjectStep::Remove, ObjectOutcome::Done) => {
                        // What could be removed was made, whatever its maker still has to say.
                        let unsaid: Vec<ObjectChange> = sqlx::query_as(concat!("SELECT ", columns!(), " FROM object_changes \
                            WHERE object_id = $1 AND action IN ('site.created', 'domain.created') ORDER BY created_at, id"))
                            .bind(change.object_id).fetch_all(&mut *tx).await?;
                        for made in &unsaid {
                            write_down_made!(tx, made, now);
                            sqlx::query(FORGET).bind(made.id).execute(&mut *tx).await?;
                        }
                        if sqlx::query(GONE).bind(change.object_id).execute(&mut *tx).await?.rows_affected() > 0 {
                            write_down!(tx, &change.act(now), [change.entry()]);
                            if change.kind == ObjectKind::Domain {
                                emit!(tx, &Emission::of_domain_removed(change, now));
                            }
                        }
                    }
                    (ObjectStep::Remove, ObjectOutcome::NotThere) => {
                        let others: i64 =
                            sqlx::query_scalar(IS_BEING_REMOVED).bind(change.object_id).fetch_one(&mut *tx).await?;
                        if others == 0
                            && sqlx::query(GONE).bind(change.object_id).execute(&mut *tx).await?.rows_affected() > 0
                            && change.kind == ObjectKind::Domain
                        {
                            emit!(tx, &Emission::of_domain_removed(change, now));
                        }
                    }
                    (ObjectStep::Check, ObjectOutcome::Checked { domain, status }) => {
                        write_down!(tx, &change.act(now), [change.entry().after("status", status)]);
                        let is_news = status == DomainStatus::Verified && change.was != Some(DomainStatus::Verified);
                        if is_news
                            && sqlx::query(VERIFIED).bind(change.object_id).bind(now).bind(change.created_at)
                                .execute(&mut *tx).await?.rows_affected() > 0
                        {
                            emit!(tx, &Emission::of_domain_verified(change, domain, now));
                        }
                    }
                    (ObjectStep::Change, ObjectOutcome::Done) => write_down!(tx, &change.act(now), [change.entry()]),
                    // Nothing was done, and there is nothing to say.
                    _ => {}
                }
            }
            tx.commit().await?;
            held
        }))
    }
}
