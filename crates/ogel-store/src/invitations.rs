//! Invitations by e-mail. A token is kept as its SHA-256 only; whoever joins must be logged in as the invited address.

use crate::{
    Act, Entry, Mail, Organization, Outcome, Page, PageRequest, Refusal, Result, Store, User, Viewer,
    audit::audited,
    mails,
    members::own_role,
    organizations::{HOLD, INSERT_MEMBER, organization_columns},
    pool::{on_read, on_write},
    viewer::{seen_by, sees_organization},
    words::{Seen, row},
};
use chrono::{DateTime, Utc};
use ogel_api::{
    audit::AuditAction,
    id::{InvitationId, OrganizationId, UserId},
    organizations::{MailState, Role},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    pub id: InvitationId,
    pub organization_id: OrganizationId,
    /// Lower case.
    pub email: String,
    pub role: Role,
    /// None when the account is gone.
    pub invited_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// When it was last asked to be sent.
    pub sent_at: DateTime<Utc>,
    pub mail: MailState,
}
row!(Invitation { id, organization_id, email, role, invited_by, created_at, expires_at, sent_at, mail });

/// A mail is removed once it is sent.
macro_rules! columns {
    () => {
        "invitations.id, invitations.organization_id, invitations.email, invitations.role, invitations.invited_by, \
         invitations.created_at, invitations.expires_at, invitations.sent_at, \
         CASE WHEN EXISTS (SELECT 1 FROM mails q WHERE q.invitation_id = invitations.id AND q.failed_at IS NULL) THEN 'queued' \
              WHEN EXISTS (SELECT 1 FROM mails f WHERE f.invitation_id = invitations.id) THEN 'failed' ELSE 'sent' END AS mail"
    };
}
pub(crate) use columns as invitation_columns;

/// What a new one is made of.
pub struct NewInvitation<'a> {
    pub id: InvitationId,
    pub organization: OrganizationId,
    pub email: &'a str,
    pub role: Role,
    pub token_hash: [u8; 32],
    pub expires_at: DateTime<Utc>,
    pub mail: Mail,
}

impl NewInvitation<'_> {
    /// As it is once it is there.
    pub fn row(&self, act: &Act) -> Invitation {
        Invitation {
            id: self.id,
            organization_id: self.organization,
            email: self.email.to_owned(),
            role: self.role,
            invited_by: act.user(),
            created_at: act.at,
            expires_at: self.expires_at,
            sent_at: act.at,
            mail: MailState::Queued,
        }
    }
}

/// A fresh token for an invitation, and the mail that takes it there.
pub struct Resent {
    pub token_hash: [u8; 32],
    pub expires_at: DateTime<Utc>,
    /// Not again if it was asked for after this.
    pub last_before: DateTime<Utc>,
    pub mail: Mail,
}

/// Open invitations an organization may have.
const MOST: i64 = 200;

impl Store {
    /// Asks somebody to join, with the mail that tells them. `may` is told the viewer's role.
    pub async fn invite(
        &self,
        act: &Act,
        viewer: &Viewer,
        new: &NewInvitation<'_>,
        may: impl Fn(Role) -> bool,
    ) -> Result<Outcome<()>> {
        Ok(audited!(self, act, tx => {
            let id = new.organization;
            let mine = own_role!(tx, viewer, id);
            let members: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM organization_members o JOIN users u ON u.id = o.user_id \
                 WHERE o.organization_id = $1 AND lower(u.email) = $2")
                .bind(id.0).bind(new.email).fetch_one(&mut *tx).await?;
            sqlx::query("DELETE FROM invitations WHERE organization_id = $1 AND email = $2 AND expires_at <= $3")
                .bind(id.0).bind(new.email).bind(act.at).execute(&mut *tx).await?;
            let open: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM invitations WHERE organization_id = $1")
                .bind(id.0).fetch_one(&mut *tx).await?;
            match mine {
                None => Err(Refusal::NotFound),
                Some(mine) if !may(mine) => Err(Refusal::NotAllowed),
                Some(_) if members > 0 => Err(Refusal::AlreadyMember),
                Some(_) if open >= MOST => Err(Refusal::TooMany),
                Some(_) => {
                    sqlx::query("INSERT INTO invitations (id, organization_id, email, role, token_hash, invited_by, \
                                 created_at, expires_at, sent_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7)")
                        .bind(new.id.0).bind(id.0).bind(new.email).bind(new.role.as_str()).bind(&new.token_hash[..])
                        .bind(act.user_and_key().0).bind(act.at).bind(new.expires_at)
                        .execute(&mut *tx).await?;
                    mails::queue!(tx, &new.mail, Some(new.id.0), act.at);
                    let entry = Entry::new(id, AuditAction::InvitationCreated, new.id)
                        .after("email", new.email).after("role", new.role);
                    Ok(((), vec![entry]))
                }
            }
        }))
    }

    /// Those that are open or have lapsed, newest first.
    pub async fn invitations(
        &self,
        viewer: &Viewer,
        id: OrganizationId,
        request: &PageRequest,
    ) -> Result<Page<Invitation>> {
        let rows = on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM invitations \
             JOIN organizations ON organizations.id = invitations.organization_id", sees_organization!(),
            "WHERE invitations.organization_id = $4 AND (invitations.created_at, invitations.id) < ($5, $6) \
             ORDER BY invitations.created_at DESC, invitations.id DESC LIMIT $7")), viewer)
            .bind(id.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Invitation| (row.created_at, row.id.0)))
    }

    pub async fn invitation(
        &self,
        viewer: &Viewer,
        organization: OrganizationId,
        id: InvitationId,
    ) -> Result<Option<Invitation>> {
        Ok(on_read!(self, db => seen_by!(sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM invitations \
             JOIN organizations ON organizations.id = invitations.organization_id", sees_organization!(),
            "WHERE invitations.organization_id = $4 AND invitations.id = $5")), viewer)
            .bind(organization.0).bind(id.0).fetch_optional(db).await?))
    }

    /// Another token and another mail; the token before holds no longer.
    pub async fn resend_invitation(
        &self,
        act: &Act,
        organization: OrganizationId,
        id: InvitationId,
        resent: &Resent,
    ) -> Result<Outcome<Invitation>> {
        Ok(audited!(self, act, tx => {
            let changed = sqlx::query("UPDATE invitations SET token_hash = $3, expires_at = $4, sent_at = $5 \
                 WHERE organization_id = $1 AND id = $2 AND sent_at <= $6")
                .bind(organization.0).bind(id.0).bind(&resent.token_hash[..]).bind(resent.expires_at).bind(act.at)
                .bind(resent.last_before).execute(&mut *tx).await?.rows_affected();
            let row: Option<Invitation> = sqlx::query_as(concat!("SELECT ", columns!(), " FROM invitations WHERE organization_id = $1 AND id = $2"))
                .bind(organization.0).bind(id.0).fetch_optional(&mut *tx).await?;
            match row {
                None => Err(Refusal::NotFound),
                Some(_) if changed == 0 => Err(Refusal::TooSoon),
                Some(row) => {
                    sqlx::query("DELETE FROM mails WHERE invitation_id = $1").bind(id.0).execute(&mut *tx).await?;
                    mails::queue!(tx, &resent.mail, Some(id.0), act.at);
                    let entry = Entry::new(organization, AuditAction::InvitationResent, id)
                        .after("email", &row.email).after("role", row.role);
                    Ok((Invitation { mail: MailState::Queued, ..row }, vec![entry]))
                }
            }
        }))
    }

    pub async fn revoke_invitation(
        &self,
        act: &Act,
        organization: OrganizationId,
        id: InvitationId,
    ) -> Result<Outcome<()>> {
        Ok(audited!(self, act, tx => {
            let row: Option<Invitation> = sqlx::query_as(concat!("SELECT ", columns!(), " FROM invitations WHERE organization_id = $1 AND id = $2"))
                .bind(organization.0).bind(id.0).fetch_optional(&mut *tx).await?;
            let gone = sqlx::query("DELETE FROM invitations WHERE organization_id = $1 AND id = $2")
                .bind(organization.0).bind(id.0).execute(&mut *tx).await?.rows_affected();
            match row {
                Some(row) if gone > 0 => {
                    let entry = Entry::new(organization, AuditAction::InvitationRevoked, id)
                        .before("email", row.email).before("role", row.role);
                    Ok(((), vec![entry]))
                }
                _ => Err(Refusal::NotFound),
            }
        }))
    }

    /// Lets the person join whose address was invited. A token is good once, and for nobody else; whoever joined by it and
    /// is still there gets the same answer again.
    pub async fn accept_invitation(
        &self,
        act: &Act,
        user: &User,
        token_hash: &[u8; 32],
    ) -> Result<Outcome<(Organization, Role)>> {
        Ok(audited!(self, act, tx => {
            let found: Option<Invitation> = sqlx::query_as(concat!(
                "SELECT ", columns!(), " FROM invitations WHERE token_hash = $1 AND email = $2 AND expires_at > $3"))
                .bind(&token_hash[..]).bind(user.email.to_lowercase()).bind(act.at).fetch_optional(&mut *tx).await?;
            match found {
                None => {
                    let joined: Option<Seen<Organization>> = sqlx::query_as(concat!(
                        "SELECT ", organization_columns!(), ", m.role FROM accepted_invitations a \
                         JOIN organizations ON organizations.id = a.organization_id AND organizations.deleted_at IS NULL \
                         JOIN organization_members m ON m.organization_id = a.organization_id AND m.user_id = a.user_id \
                         WHERE a.token_hash = $1 AND a.user_id = $2"))
                        .bind(&token_hash[..]).bind(user.id.0).fetch_optional(&mut *tx).await?;
                    joined.map(|joined| (joined.into(), Vec::new())).ok_or(Refusal::NotFound)
                }
                Some(found) => {
                    let held = sqlx::query(HOLD).bind(found.organization_id.0).execute(&mut *tx).await?.rows_affected();
                    // Of two who come at once, the second finds it gone.
                    let taken = sqlx::query("DELETE FROM invitations WHERE id = $1 AND token_hash = $2")
                        .bind(found.id.0).bind(&token_hash[..]).execute(&mut *tx).await?.rows_affected();
                    let members: i64 = sqlx::query_scalar(
                        "SELECT COUNT(*) FROM organization_members WHERE organization_id = $1 AND user_id = $2")
                        .bind(found.organization_id.0).bind(user.id.0).fetch_one(&mut *tx).await?;
                    if held == 0 || taken == 0 {
                        Err(Refusal::NotFound)
                    } else if members > 0 {
                        Err(Refusal::AlreadyMember)
                    } else {
                        sqlx::query(INSERT_MEMBER)
                            .bind(found.organization_id.0).bind(user.id.0).bind(found.role.as_str()).bind(act.at)
                            .execute(&mut *tx).await?;
                        sqlx::query("INSERT INTO accepted_invitations (token_hash, organization_id, user_id, accepted_at) \
                                     VALUES ($1, $2, $3, $4)")
                            .bind(&token_hash[..]).bind(found.organization_id.0).bind(user.id.0).bind(act.at)
                            .execute(&mut *tx).await?;
                        let row: Organization = sqlx::query_as(concat!(
                            "SELECT ", organization_columns!(), " FROM organizations WHERE id = $1"))
                            .bind(found.organization_id.0).fetch_one(&mut *tx).await?;
                        let entries = vec![
                            Entry::new(found.organization_id, AuditAction::InvitationAccepted, found.id)
                                .before("email", &found.email).before("role", found.role),
                            Entry::new(found.organization_id, AuditAction::MemberAdded, user.id).after("role", found.role),
                        ];
                        Ok(((row, found.role), entries))
                    }
                }
            }
        }))
    }

    /// Removes at most `limit` that lapsed before then, and as many that were accepted before then.
    pub async fn delete_lapsed_invitations(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        on_write!(self, db => sqlx::query(
            "DELETE FROM accepted_invitations WHERE token_hash IN (SELECT token_hash FROM accepted_invitations \
             WHERE accepted_at < $1 LIMIT $2)")
            .bind(before).bind(i64::from(limit)).execute(db).await?.rows_affected());
        Ok(on_write!(self, db => sqlx::query(
            "DELETE FROM invitations WHERE expires_at < $1 AND id IN (SELECT id FROM invitations WHERE expires_at < $1 LIMIT $2)")
            .bind(before).bind(i64::from(limit)).execute(db).await?.rows_affected()))
    }
}
