//! What is kept about one person, for them to take along; and the end of an account.
//!
//! What only the person had goes: logins, keys, memberships, organizations without anybody else. What others share stays
//! without them: deployments lose their maker, entries of an organization's audit log keep an id that means nobody any more.

use crate::{
    Act, ApiKey, Deployment, Entry, Invitation, NewJob, Operation, Organization, Outcome, Page, PageRequest, Refusal,
    Result, Store,
    api_keys::{api_key_columns, revoked},
    audit::audited,
    deployments::deployment_columns,
    invitations::invitation_columns,
    operations::operation_columns,
    organizations::{HOLD, organization_columns},
    pool::{on_read, on_write},
    words::row,
    work::enqueue,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    admin::Queue,
    audit::AuditAction,
    id::{OrganizationId, UserId},
    organizations::Role,
};
use uuid::Uuid;

/// That somebody belongs to an organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    pub organization_id: OrganizationId,
    pub name: String,
    pub slug: String,
    pub role: Role,
    pub created_at: DateTime<Utc>,
}
row!(Membership { organization_id, name, slug, role, created_at });

/// The person `$1` is the only owner of organization `o`, and not its only member.
macro_rules! holds_alone {
    () => {
        " o.deleted_at IS NULL AND EXISTS (SELECT 1 FROM organization_members m \
           WHERE m.organization_id = o.id AND m.user_id = $1 AND m.role = 'owner') \
         AND NOT EXISTS (SELECT 1 FROM organization_members x \
           WHERE x.organization_id = o.id AND x.user_id <> $1 AND x.role = 'owner') \
         AND EXISTS (SELECT 1 FROM organization_members y WHERE y.organization_id = o.id AND y.user_id <> $1) "
    };
}

impl Store {
    /// Where somebody belongs, what is deleted too.
    pub async fn memberships(&self, user: UserId, request: &PageRequest) -> Result<Page<Membership>> {
        let rows = on_read!(self, db => sqlx::query_as(
            "SELECT m.organization_id, o.name, o.slug, m.role, m.created_at FROM organization_members m \
             JOIN organizations o ON o.id = m.organization_id \
             WHERE m.user_id = $1 AND (m.created_at, m.organization_id) < ($2, $3) \
             ORDER BY m.created_at DESC, m.organization_id DESC LIMIT $4")
            .bind(user.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Membership| (row.created_at, row.organization_id.0)))
    }

    pub async fn invitations_by(&self, user: UserId, request: &PageRequest) -> Result<Page<Invitation>> {
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", invitation_columns!(), " FROM invitations \
             WHERE invitations.invited_by = $1 AND (invitations.created_at, invitations.id) < ($2, $3) \
             ORDER BY invitations.created_at DESC, invitations.id DESC LIMIT $4"))
            .bind(user.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Invitation| (row.created_at, row.id.0)))
    }

    pub async fn deployments_by(&self, user: UserId, request: &PageRequest) -> Result<Page<Deployment>> {
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", deployment_columns!(), " FROM deployments WHERE created_by = $1 AND (created_at, id) < ($2, $3) \
             ORDER BY created_at DESC, id DESC LIMIT $4"))
            .bind(user.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Deployment| (row.created_at, row.id.0)))
    }

    pub async fn operations_by(&self, user: UserId, request: &PageRequest) -> Result<Page<Operation>> {
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", operation_columns!(), " FROM operations WHERE requested_by = $1 AND (created_at, id) < ($2, $3) \
             ORDER BY created_at DESC, id DESC LIMIT $4"))
            .bind(user.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Operation| (row.created_at, row.id.0)))
    }

    /// Organizations that would be left with members but without an owner; at most `limit`.
    pub async fn held_alone(&self, user: UserId, limit: u32) -> Result<Vec<Organization>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", organization_columns!(), " FROM organizations JOIN organizations o ON o.id = organizations.id \
             WHERE", holds_alone!(), "ORDER BY organizations.name, organizations.id LIMIT $2"))
            .bind(user.0).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// The end of an account. Refused with `LastOwner` as long as [`Store::held_alone`] names any, and with `Stale` if the person
    /// made or joined an organization in this very moment. Organizations without
    /// another member are deleted with their projects; nobody is left who could restore them, so they are due to be purged.
    ///
    /// Who shows one of `closed`, hashes of what Studio calls the person, in a session from before now is not let in until
    /// `closed_until`. A job in the queue `accounts` with the person's id removes what the backend has.
    pub async fn delete_account(
        &self,
        act: &Act,
        user: UserId,
        closed: &[[u8; 32]],
        closed_until: DateTime<Utc>,
    ) -> Result<Outcome<()>> {
        // What is written down of it holds nothing of the person but the id, which means nobody from now on.
        let act = &Act { ip: None, ..act.clone() };
        let job = NewJob { queue: Queue::Accounts, id: user.0, due_at: act.at, hold: None, created_at: act.at };
        Ok(audited!(self, act, tx => {
            // In one order, so that two of these do not wait for each other.
            let places: Vec<Uuid> = sqlx::query_scalar(
                "SELECT organization_id FROM organization_members WHERE user_id = $1 ORDER BY organization_id")
                .bind(user.0).fetch_all(&mut *tx).await?;
            for organization in &places {
                sqlx::query(HOLD).bind(organization).execute(&mut *tx).await?;
            }
            // From here on nobody makes or joins an organization as this person.
            sqlx::query(HOLD_PERSON).bind(user.0).execute(&mut *tx).await?;
            let held = places;
            let alone: i64 = sqlx::query_scalar(concat!("SELECT COUNT(*) FROM organizations o WHERE", holds_alone!()))
                .bind(user.0).fetch_one(&mut *tx).await?;
            let places: Vec<(Uuid, String, i64)> = sqlx::query_as(
                "SELECT m.organization_id, m.role, (SELECT COUNT(*) FROM organization_members x \
                   WHERE x.organization_id = m.organization_id AND x.user_id <> $1) \
                 FROM organization_members m WHERE m.user_id = $1")
                .bind(user.0).fetch_all(&mut *tx).await?;
            let is_new = places.iter().any(|(organization, ..)| !held.contains(organization));
            let keys: Vec<ApiKey> = sqlx::query_as(concat!(
                "DELETE FROM api_keys WHERE user_id = $1 RETURNING ", api_key_columns!()))
                .bind(user.0).fetch_all(&mut *tx).await?;
            let mut entries = vec![Entry::new(None, AuditAction::UserDeleted, user)];
            // What is not an organization's goes with the person.
            entries.extend(revoked!(tx, keys, act).into_iter().filter(Entry::is_of_an_organization));
            for (organization, role, others) in places {
                let id = OrganizationId(organization);
                if others > 0 {
                    entries.push(Entry::new(id, AuditAction::MemberRemoved, user).before("role", role));
                    continue;
                }
                let deleted = sqlx::query("UPDATE organizations SET row_version = row_version + 1, deleted_at = $2, updated_at = $2 \
                             WHERE id = $1 AND deleted_at IS NULL")
                    .bind(organization).bind(act.at).execute(&mut *tx).await?.rows_affected();
                sqlx::query("UPDATE projects SET row_version = row_version + 1, deleted_at = $2, updated_at = $2 \
                             WHERE organization_id = $1 AND deleted_at IS NULL")
                    .bind(organization).bind(act.at).execute(&mut *tx).await?;
                if deleted > 0 {
                    entries.push(Entry::new(id, AuditAction::OrganizationDeleted, id));
                }
            }
            for hash in closed {
                sqlx::query("INSERT INTO closed_identities (id_hash, closed_at, expires_at) VALUES ($1, $2, $3) \
                             ON CONFLICT (id_hash) DO UPDATE SET closed_at = excluded.closed_at, expires_at = excluded.expires_at")
                    .bind(&hash[..]).bind(act.at).bind(closed_until).execute(&mut *tx).await?;
            }
            sqlx::query("UPDATE deployments SET created_by = NULL WHERE created_by = $1").bind(user.0).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM audit_log WHERE organization_id IS NULL AND (actor_user = $1 OR target = $2)")
                .bind(user.0).bind(user.to_string()).execute(&mut *tx).await?;
            sqlx::query("UPDATE audit_log SET ip = NULL WHERE actor_user = $1").bind(user.0).execute(&mut *tx).await?;
            enqueue!(tx, &job);
            // Everything else about the person hangs on this row.
            let deleted = sqlx::query("DELETE FROM users WHERE id = $1").bind(user.0).execute(&mut *tx).await?.rows_affected();
            match (alone, deleted) {
                (_, 0) => Err(Refusal::NotFound),
                // Waiting for it while the person is held could be waiting in a circle.
                _ if is_new => Err(Refusal::Stale),
                (0, _) => Ok(((), entries)),
                _ => Err(Refusal::LastOwner),
            }
        }))
    }

    /// Removes at most `limit` of which every session has ended anyway; answers how many.
    pub async fn delete_expired_closures(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM closed_identities WHERE expires_at <= $1 AND id_hash IN \
             (SELECT id_hash FROM closed_identities WHERE expires_at <= $1 LIMIT $2)")
            .bind(now).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
