//! Invitations: asking somebody by e-mail to join, and joining. Who joins must hold the token, which only the mailbox got, and
//! be logged in with the invited address: to everybody else the token is none.

use super::{members, refuse_project_key, visible};
use crate::{
    caller::{Allowed, Caller, scope},
    error::{Failure, Result},
    extract::{Json, NoParameters, Path, PathPair, Query, Versioned, invalid_field},
    mail,
    permissions::{Rule, rule},
    pipeline::Made,
    resources::{
        auth,
        shared::{self, Paged, refused},
    },
    router::{Routes, routes},
    secrets,
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    error::{Error, ErrorCode},
    id::{InvitationId, OrganizationId},
    organizations::{Invitation, InvitationList, NewInvitation, Organization, Role},
};
use ogel_store::{Mail, Refusal, Resent};

/// How long an invitation is good when nothing is said.
const DAYS: u32 = 7;
/// Between two mails of one invitation.
const PAUSE: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

pub(crate) fn wire(row: &ogel_store::Invitation) -> Invitation {
    Invitation {
        id: row.id,
        organization_id: row.organization_id,
        email: row.email.clone(),
        role: row.role,
        invited_by: row.invited_by,
        created_at: row.created_at.into(),
        expires_at: row.expires_at.into(),
        sent_at: row.sent_at.into(),
        mail: row.mail,
    }
}

/// The mail that takes `token` there.
fn letter(
    app: &App,
    organization: &str,
    inviter: &str,
    email: &str,
    role: Role,
    token: &str,
    days: u32,
) -> Result<Mail> {
    let link = &app.config().mail.invitation_url;
    let way = if link.is_empty() { String::new() } else { format!("  {}\n\nor\n\n", link.replace("{token}", token)) };
    let text = format!(
        "{inviter} invites you to join `{organization}` on Ogel as {role}.\n\nLog in as {email} and accept:\n\n{way}  \
         ogel invite accept {token}\n\nThe invitation is good for {days} days. If you did not expect it, do nothing.\n"
    );
    Ok(mail::sealed(&app.world, &app.sealer, email, format!("Join {organization} on Ogel"), &text)?)
}

/// The invitations that are open or have lapsed, newest first. Takes the role admin.
#[utoipa::path(get, path = "/organizations/{id}/invitations", operation_id = "list_invitations", tag = "organizations",
    params(("id" = OrganizationId, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = InvitationList)), security(("bearer" = [])))]
pub(super) async fn list_invitations(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsRead>,
    Path(id): Path<OrganizationId>,
    Query(Paged(query)): Query<Paged>,
) -> Result<Json<InvitationList>> {
    let viewer = &caller.caller.viewer;
    let (_, role) = visible(&app, viewer, id).await?;
    refuse_project_key(viewer)?;
    rule::LIST_INVITATIONS.permit(role)?;
    let page = app.store.invitations(viewer, id, &query.request("")?).await?;
    let pagination = shared::pagination(&page, "");
    Ok(Json(InvitationList { invitations: page.rows.iter().map(wire).collect(), pagination }))
}

/// Invites somebody by e-mail. One invitation for an address at a time. Takes the role admin; only owners invite owners.
#[utoipa::path(post, path = "/organizations/{id}/invitations", operation_id = "create_invitation", tag = "organizations",
    params(("id" = OrganizationId, Path)), request_body = NewInvitation, responses((status = 201, body = Invitation)),
    security(("bearer" = [])))]
pub(super) async fn create_invitation(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    Path(id): Path<OrganizationId>,
    made: Made,
    Json(body): Json<NewInvitation>,
) -> Result<(StatusCode, Json<Invitation>)> {
    let viewer = &caller.caller.viewer;
    let (organization, role) = visible(&app, viewer, id).await?;
    refuse_project_key(viewer)?;
    rule::CREATE_INVITATION.permit(role)?;
    mailing(&app)?;
    let (email, wanted) = (auth::email(&body.email)?, members::known(body.role)?);
    let days = body.expires_in_days.unwrap_or(DAYS);
    if !(1..=30).contains(&days) {
        let message = "`expiresInDays` takes a whole number from 1 to 30";
        return Err(invalid_field(ErrorCode::InvalidValue, "body.expiresInDays", message, None));
    }
    let token = secrets::new_invitation_token(&app.world.entropy);
    let new = ogel_store::NewInvitation {
        id: InvitationId(app.world.uuid()),
        organization: id,
        email: &email,
        role: wanted,
        token_hash: secrets::token_hash(&token),
        expires_at: app.world.now() + chrono::TimeDelta::days(days.into()),
        mail: letter(&app, &organization.name, &caller.caller.user.name, &email, wanted, &token, days)?,
    };
    let may = |mine| rule::CREATE_INVITATION.allows(mine) && (mine == Role::Owner || wanted != Role::Owner);
    let act = caller.act(&app);
    let invitation = wire(&new.row(&act));
    let act = made.answered(&app, act, StatusCode::CREATED, &invitation)?;
    let outcome = app.store.invite(&act, viewer, &new, may).await?;
    outcome.map_err(|refusal| refused(refusal, "organization", id))?;
    app.mailer.wake();
    Ok((StatusCode::CREATED, Json(invitation)))
}

fn mailing(app: &App) -> Result<()> {
    if app.mailer.is_there() {
        return Ok(());
    }
    let message = "this server sends no mail, so nobody can be invited; its operators can set `mail.url`";
    Err(Failure::new(ErrorCode::Forbidden, message))
}

/// Sends an invitation again, with another token; the one before holds no longer. Once a minute at most. Takes the role admin.
#[utoipa::path(post, path = "/organizations/{id}/invitations/{invitation}/resend", operation_id = "resend_invitation",
    tag = "organizations", params(("id" = OrganizationId, Path), ("invitation" = InvitationId, Path)),
    responses((status = 200, body = Invitation)), security(("bearer" = [])))]
pub(super) async fn resend_invitation(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    PathPair(id, invitation): PathPair<OrganizationId, InvitationId>,
    _: Query<NoParameters>,
) -> Result<Json<Invitation>> {
    let (organization, row) = find(&app, &caller.caller, id, invitation, rule::RESEND_INVITATION).await?;
    mailing(&app)?;
    let token = secrets::new_invitation_token(&app.world.entropy);
    let now = app.world.now();
    let resent = Resent {
        token_hash: secrets::token_hash(&token),
        expires_at: now + chrono::TimeDelta::days(DAYS.into()),
        last_before: now - PAUSE,
        mail: letter(&app, &organization.name, &caller.caller.user.name, &row.email, row.role, &token, DAYS)?,
    };
    let outcome = app.store.resend_invitation(&caller.act(&app), id, invitation, &resent).await?;
    let row = outcome.map_err(|refusal| refused(refusal, "invitation", invitation))?;
    app.mailer.wake();
    Ok(Json(wire(&row)))
}

/// Takes an invitation back; its token is good for nothing from now on. Takes the role admin.
#[utoipa::path(delete, path = "/organizations/{id}/invitations/{invitation}", operation_id = "revoke_invitation",
    tag = "organizations", params(("id" = OrganizationId, Path), ("invitation" = InvitationId, Path)),
    responses((status = 204, description = "Revoked")), security(("bearer" = [])))]
pub(super) async fn revoke_invitation(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    PathPair(id, invitation): PathPair<OrganizationId, InvitationId>,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    find(&app, &caller.caller, id, invitation, rule::REVOKE_INVITATION).await?;
    let outcome = app.store.revoke_invitation(&caller.act(&app), id, invitation).await?;
    outcome.map_err(|refusal| refused(refusal, "invitation", invitation))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(
    app: &App,
    caller: &Caller,
    id: OrganizationId,
    invitation: InvitationId,
    rule: Rule,
) -> Result<(ogel_store::Organization, ogel_store::Invitation)> {
    let (organization, role) = visible(app, &caller.viewer, id).await?;
    refuse_project_key(&caller.viewer)?;
    rule.permit(role)?;
    let row = app.store.invitation(&caller.viewer, id, invitation).await?;
    // Only owners invite owners, so only they do so again.
    if let Some(row) = &row
        && row.role == Role::Owner
        && role != Role::Owner
    {
        return Err(refused(Refusal::NotAllowed, "invitation", invitation));
    }
    Ok((organization, row.ok_or_else(|| Error::not_found("invitation", invitation))?))
}

/// Joins. The caller must be logged in with the address that was invited; to everybody else there is no such invitation.
/// Whoever joined by it and is still there gets the same answer again.
#[utoipa::path(post, path = "/invitations/{token}/accept", operation_id = "accept_invitation", tag = "invitations",
    params(("token" = String, Path, description = "From the mail")), responses((status = 200, body = Organization)),
    security(("bearer" = [])))]
async fn accept_invitation(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    Path(token): Path<String>,
    _: Query<NoParameters>,
) -> Result<Versioned<Organization>> {
    let viewer = &caller.caller.viewer;
    if viewer.organization.is_some() || viewer.project.is_some() {
        let message = "this API key is bound to one organization or project; use one that is not";
        return Err(Failure::new(ErrorCode::Forbidden, message));
    }
    let hash = secrets::token_hash(&token);
    let outcome = app.store.accept_invitation(&caller.act(&app), &caller.caller.user, &hash).await?;
    let row = outcome.map_err(|refusal| match refusal {
        // Never with the token: an answer may be logged.
        Refusal::NotFound => Failure::new(
            ErrorCode::NotFound,
            "there is no such invitation for you; log in with the address it was sent to, or ask for a new one",
        ),
        other => refused(other, "invitation", "this"),
    })?;
    app.callers.forget(viewer.user);
    Ok(Versioned(row.0.row_version, super::wire(&row)))
}

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(accept_invitation))
}
