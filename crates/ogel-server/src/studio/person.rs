//! Which of our people a session of Studio's stands for. On the control plane.

use super::{Claims, ROW_LASTS, StudioSession, Unknown, revocation_id};
use crate::{
    caller::Caller,
    error::{Failure, Result},
    resources::{auth, shared},
    state::App,
    uses::Noted,
};
use chrono::DateTime;
use ogel_api::{
    auth::{AuthMethod, Scope},
    error::ErrorCode,
    id::{OrganizationId, UserId},
    organizations::Plan,
};
use ogel_store::{Act, Actor, Organization, StoreError, User, Viewer};

/// The end of the year 9999: later than any "log out everywhere".
const END_OF_TIME: i64 = 253_402_300_799;

pub(crate) const NOT_LINKED: &str = "Studio knows you, but no account here is yours; ask the operators of this server \
                                     for one, or verify your e-mail address at Studio; if you deleted the account you \
                                     had, sign up here again";

/// The same for a session that is a row of Studio's; `None` where it is not there, too.
pub(crate) async fn look_up_row(app: &App, token: &str, unknown: Unknown) -> Result<Option<Caller>> {
    let Some(studio) = &app.studio_database else { return Ok(None) };
    let Some(row) = studio.session(token).await? else { return Ok(None) };
    let now = app.world.now();
    let claims = Claims {
        subject: row.subject,
        email: row.email,
        email_is_verified: row.email_is_verified || app.config().studio_sessions.trust_emails,
        name: row.name,
        // Rows do not say. Those that are to end are written down one by one.
        issued_at: DateTime::from_timestamp(END_OF_TIME, 0).unwrap_or(now),
        // Prolonging a row leaves its token as it is.
        says_login: true,
        expires_at: row.expires_at,
        revocation_id: revocation_id("token ", token),
    };
    let mut caller = look_up(app, &claims, unknown).await?;
    if let Some(studio) = caller.as_mut().and_then(|caller| caller.studio.as_mut()) {
        (studio.is_row, studio.ends_at, studio.began_at) = (true, now + ROW_LASTS, None);
    }
    Ok(caller)
}

/// The caller behind the session; `None` where it was revoked. Error `AccountNotLinked`: nobody here is meant.
pub(crate) async fn look_up(app: &App, claims: &Claims, unknown: Unknown) -> Result<Option<Caller>> {
    let (id, email) = (&claims.revocation_id, claims.email.as_deref().unwrap_or_default());
    let closed = [revocation_id("subject ", &claims.subject), revocation_id("email ", &email.to_lowercase())];
    let user = match app.store.studio_user(&claims.subject).await? {
        Some(user) => user,
        // A session that ended, or whose account was deleted, must not make an account anew.
        None if app.store.is_session_revoked(id, None, &closed, claims.issued_at).await? => return Ok(None),
        None => welcome(app, claims, unknown, &closed).await?,
    };
    if app.store.is_session_revoked(id, Some(user.id), &closed, claims.issued_at).await? {
        return Ok(None);
    }
    let viewer = Viewer { user: user.id, organization: None, project: None };
    let expires_at = claims.expires_at;
    Ok(Some(Caller {
        allowance: app.limiter.of_user(user.id.0),
        organization_allowance: None,
        project_allowance: None,
        log_id: user.id.to_string(),
        user,
        method: AuthMethod::StudioSession,
        scopes: Scope::ALL.to_vec(),
        plan: app.store.best_plan(&viewer).await?,
        viewer,
        session_id: None,
        session_kind: None,
        noted: Noted::default(),
        api_key_id: None,
        studio: Some(StudioSession {
            revocation_id: *id,
            is_row: false,
            ends_at: expires_at,
            began_at: Some(claims.issued_at),
        }),
        expires_at: Some(expires_at),
    }))
}

/// Somebody's first request: links them, or makes their account, as the configuration allows.
async fn welcome(app: &App, claims: &Claims, unknown: Unknown, closed: &[[u8; 32]; 2]) -> Result<User> {
    let refused = || Failure::new(ErrorCode::AccountNotLinked, NOT_LINKED);
    let Some(email) = claims.email.as_deref().filter(|_| claims.email_is_verified) else { return Err(refused()) };
    let Ok(email) = auth::email(email) else { return Err(refused()) };
    if unknown == Unknown::Refuse {
        return Err(refused());
    }
    // Twice: another request, or another process, may make the account between looking and making.
    for _ in 0..2 {
        if let Some(user) = app.store.user_by_email(&email).await? {
            let act = Act::by_the_system(app.world.uuid(), app.world.now());
            let stayed = app.store.link_studio_user(&act, &claims.subject, user.id).await?;
            app.callers.forget(stayed);
            tracing::info!(user.id = %stayed, "somebody from Studio was linked by their verified e-mail address");
            return app.store.user(stayed).await?.ok_or_else(refused);
        }
        if unknown != Unknown::Create {
            return Err(refused());
        }
        // A token may be new because Studio renewed it, and then nobody has decided to come back.
        if !claims.says_login && app.store.is_identity_closed(closed, app.world.now()).await? {
            return Err(refused());
        }
        match create(app, claims, &email).await {
            Err(StoreError::Unique { .. }) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(refused())
}

/// An account without a password, with an organization of its own. Error `Unique`: somebody was faster.
async fn create(app: &App, claims: &Claims, email: &str) -> std::result::Result<(), StoreError> {
    let local = email.split('@').next().unwrap_or_default();
    let name = claims.name.as_deref().and_then(|name| shared::name(name).ok());
    let name = name.unwrap_or_else(|| local.chars().take(100).collect());
    let (now, organization) = (app.world.now(), app.world.uuid());
    let user = User {
        id: UserId(app.world.uuid()),
        email: email.to_owned(),
        name: name.clone(),
        password_hash: None,
        created_at: now,
        updated_at: now,
        row_version: 1,
    };
    // Nobody chose this slug, so it need not be short.
    let slug = shared::another_slug(&shared::slug_of(&name, organization), organization);
    let (id, plan) = (OrganizationId(organization), Plan::Free);
    let (row_version, deleted_at) = (1, None);
    let organization = Organization { id, slug, name, plan, created_at: now, updated_at: now, row_version, deleted_at };
    let act = Act { actor: Actor::User(user.id), ..Act::by_the_system(app.world.uuid(), now) };
    // A slug that ends in its organization's own id is held for nobody else.
    app.store.sign_up(&act, &user, &organization, None).await.map(drop)
}
