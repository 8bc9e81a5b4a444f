//! Who belongs to an organization, as what. Whoever changes that holds the organization's row first, so the rules that
//! depend on other members (somebody must be owner) are looked at when nobody else can change them.

use crate::{
    Act, ApiKey, Entry, Expected, Outcome, Page, PageRequest, Refusal, Result, Store, Viewer,
    api_keys::{api_key_columns, revoked},
    audit::audited,
    change::is_expected,
    pool::on_read,
    viewer::{seen_by, sees_organization},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
    id::{OrganizationId, UserId},
    organizations::Role,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user_id: UserId,
    pub name: String,
    pub email: String,
    pub role: Role,
    pub created_at: DateTime<Utc>,
    /// One more with every change.
    pub row_version: i64,
}
row!(Member { user_id, name, email, role, created_at, row_version });

/// A member `o` with the account `u`.
macro_rules! member {
    () => {
        "SELECT o.user_id, COALESCE(u.name, '') AS name, COALESCE(u.email, '') AS email, o.role, o.created_at, \
         o.row_version FROM organization_members o JOIN users u ON u.id = o.user_id "
    };
}

/// The viewer's role, once the organization is held.
macro_rules! own_role {
    ($tx:expr, $viewer:expr, $id:expr) => {{
        sqlx::query($crate::organizations::HOLD).bind($id.0).execute(&mut *$tx).await?;
        let role: Option<String> = $crate::viewer::seen_by!(
            sqlx::query_scalar(concat!(
                "SELECT m.role FROM organizations",
                $crate::viewer::sees_organization!(),
                "WHERE organizations.id = $4"
            )),
            $viewer
        )
        .bind($id.0)
        .fetch_optional(&mut *$tx)
        .await?;
        role.and_then(|role| role.parse::<ogel_api::organizations::Role>().ok())
    }};
}

pub(crate) use own_role;

const OWNERS: &str = "SELECT COUNT(*) FROM organization_members WHERE organization_id = $1 AND role = 'owner'";

/// Who asks, of whom, and how many owners there are, once the organization is held.
macro_rules! standing {
    ($tx:expr, $viewer:expr, $id:expr, $user:expr) => {
        Standing {
            mine: own_role!($tx, $viewer, $id),
            there: sqlx::query_as(concat!(member!(), "WHERE o.organization_id = $1 AND o.user_id = $2"))
                .bind($id.0)
                .bind($user.0)
                .fetch_optional(&mut *$tx)
                .await?,
            owners: sqlx::query_scalar(OWNERS).bind($id.0).fetch_one(&mut *$tx).await?,
        }
    };
}

struct Standing {
    mine: Option<Role>,
    there: Option<Member>,
    owners: i64,
}

impl Standing {
    /// The member, unless they may not be changed. `stays_owner`: whether somebody who is one is an owner afterwards.
    fn allow(self, stays_owner: bool, may: impl Fn(Role, Role) -> bool) -> std::result::Result<Member, Refusal> {
        match (self.mine, self.there) {
            (None, _) | (_, None) => Err(Refusal::NotFound),
            (Some(mine), Some(there)) if !may(mine, there.role) => Err(Refusal::NotAllowed),
            (_, Some(there)) if there.role == Role::Owner && !stays_owner && self.owners < 2 => Err(Refusal::LastOwner),
            (_, Some(there)) => Ok(there),
        }
    }
}

impl Store {
    /// Of an organization the viewer belongs to, newest first.
    pub async fn members(&self, viewer: &Viewer, id: OrganizationId, request: &PageRequest) -> Result<Page<Member>> {
        let rows = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            member!(), "JOIN organizations ON organizations.id = o.organization_id", sees_organization!(),
            "WHERE o.organization_id = $4 AND (o.created_at, o.user_id) < ($5, $6) \
             ORDER BY o.created_at DESC, o.user_id DESC LIMIT $7")), viewer)
            .bind(id.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Member| (row.created_at, row.user_id.0)))
    }

    pub async fn member(&self, viewer: &Viewer, id: OrganizationId, user: UserId) -> Result<Option<Member>> {
        Ok(on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            member!(), "JOIN organizations ON organizations.id = o.organization_id", sees_organization!(),
            "WHERE o.organization_id = $4 AND o.user_id = $5")), viewer)
            .bind(id.0).bind(user.0).fetch_optional(db).await?))
    }

    /// Gives a member another role. `may` is told the viewer's role and the member's.
    pub async fn change_role(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: OrganizationId,
        (user, role): (UserId, Role),
        expected: &Expected,
        may: impl Fn(Role, Role) -> bool,
    ) -> Result<Outcome<Member>> {
        Ok(audited!(self, act, tx => {
            match standing!(tx, viewer, id, user).allow(role == Role::Owner, &may) {
                Err(refusal) => Err(refusal),
                Ok(there) => {
                    let changed = sqlx::query(concat!(
                        "UPDATE organization_members SET role = $3, row_version = row_version + 1 \
                         WHERE organization_id = $1 AND user_id = $2 AND ", is_expected!("organization_members", "$4")))
                        .bind(id.0).bind(user.0).bind(role.as_str()).bind(expected.text())
                        .execute(&mut *tx).await?.rows_affected();
                    let entry = Entry::new(id, AuditAction::MemberUpdated, user).changed("role", there.role, role);
                    let row_version = there.row_version + 1;
                    if changed == 0 { Err(Refusal::Stale) } else { Ok((Member { role, row_version, ..there }, vec![entry])) }
                }
            }
        }))
    }

    /// Ends a membership, and with it the keys that are bound to the organization. `may` is told the viewer's role and the
    /// member's.
    pub async fn remove_member(
        &self,
        act: &Act,
        viewer: &Viewer,
        id: OrganizationId,
        user: UserId,
        expected: &Expected,
        may: impl Fn(Role, Role) -> bool,
    ) -> Result<Outcome<()>> {
        Ok(audited!(self, act, tx => {
            match standing!(tx, viewer, id, user).allow(false, &may) {
                Err(refusal) => Err(refusal),
                Ok(there) => {
                    let removed = sqlx::query(concat!(
                        "DELETE FROM organization_members WHERE organization_id = $1 AND user_id = $2 AND ",
                        is_expected!("organization_members", "$3")))
                        .bind(id.0).bind(user.0).bind(expected.text()).execute(&mut *tx).await?.rows_affected();
                    let keys: Vec<ApiKey> = sqlx::query_as(concat!(
                        "DELETE FROM api_keys WHERE user_id = $2 AND (organization_id = $1 \
                         OR project_id IN (SELECT id FROM projects WHERE organization_id = $1)) RETURNING ", api_key_columns!()))
                        .bind(id.0).bind(user.0).fetch_all(&mut *tx).await?;
                    let mut entries = vec![Entry::new(id, AuditAction::MemberRemoved, user).before("role", there.role)];
                    entries.extend(revoked!(tx, keys, act));
                    if removed == 0 { Err(Refusal::Stale) } else { Ok(((), entries)) }
                }
            }
        }))
    }
}
