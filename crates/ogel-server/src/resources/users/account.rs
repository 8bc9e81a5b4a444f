//! `GET users/me/export` and `DELETE users/me`: a person takes along what is kept about them, and leaves.
//!
//! Both take a login: a key that leaks must not hand out, or end, the person's whole life here.

use crate::{
    caller::{Allowed, Caller, scope},
    error::{Failure, Result},
    extract::{MaybeJson, NoParameters, Query},
    pipeline::RequestContext,
    purge,
    resources::{
        auth::{
            cookie,
            sessions::{self, check_own_password},
            wire_key, wire_user,
        },
        deployments, operations,
        organizations::{audit_log, invitations},
        webhooks,
    },
    state::App,
    studio, work,
    written::{self, Out},
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::TimeDelta;
use ogel_api::{
    admin::Queue,
    auth::{AuthMethod, Scope},
    error::{Detail, Error, ErrorCode},
    time::Timestamp,
    users::{AccountExport, DeleteAccount, Membership, User},
};
use ogel_store::{AuditFilter, PageRequest, Refusal, StoreError, Viewer};
use serde::Serialize;

/// A login counts as proof that it is still the person for so long.
const FRESH: TimeDelta = TimeDelta::minutes(10);
/// Organizations that a refusal names.
const MOST_NAMED: u32 = 50;
/// Rows read at a time.
const PAGE: u32 = 500;
/// What an export shows takes these scopes; a login that was narrowed to less cannot widen itself with it.
const SHOWN: [Scope; 6] = [
    Scope::OrganizationsRead,
    Scope::ProjectsRead,
    Scope::DeploymentsRead,
    Scope::KeysRead,
    Scope::WebhooksRead,
    Scope::UsersRead,
];

fn refuse_keys(caller: &Caller) -> Result<()> {
    if caller.method != AuthMethod::ApiKey {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::Forbidden, "an API key cannot do this; log in as its person"))
}

/// Everything that is kept about the caller, as one JSON document to be saved. Secrets are not among it.
#[utoipa::path(get, path = "/users/me/export", operation_id = "export_account", tag = "users",
    responses((status = 200, body = AccountExport)), security(("bearer" = [])))]
pub(super) async fn export_account(
    State(app): State<App>,
    caller: Allowed<scope::UsersRead>,
    _: Query<NoParameters>,
) -> Result<Response> {
    let caller = caller.caller;
    refuse_keys(&caller)?;
    if let Some(missing) = SHOWN.iter().find(|scope| !caller.scopes.contains(scope)) {
        return Err(caller.lacks(*missing, "an export shows what takes it"));
    }
    app.uses.flush(&app).await?;
    let name = format!("attachment; filename=\"ogel-account-{}.json\"", app.world.now().format("%Y-%m-%d"));
    let disposition = HeaderValue::from_str(&name).map_err(Error::internal)?;
    let state = app.clone();
    let mut response =
        written::answer(&app, "application/json", move |out| async move { write(&state, &caller, &out).await });
    response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}

/// What comes before the lists of an [`AccountExport`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    exported_at: Timestamp,
    user: User,
    has_password: bool,
    studio_subjects: Vec<String>,
    backend_account: Option<String>,
}

/// One more field of the object: the rows of every page that `$read` answers with, as `$wire` shows them.
macro_rules! list {
    ($out:expr, $name:literal, $page:ident => $read:expr, $wire:expr) => {{
        let mut request = PageRequest { limit: PAGE, after: None };
        let mut before = concat!(",\"", $name, "\":[");
        loop {
            let $page = &request;
            let page = $read.await?;
            $out.write(rows(before, &page.rows, $wire)?).await?;
            before = if page.rows.is_empty() { before } else { "," };
            match page.next {
                Some(next) => request.after = Some(next),
                None => break,
            }
        }
        $out.write("]").await?;
    }};
}

/// Writes an [`AccountExport`], list by list and page by page.
async fn write(app: &App, caller: &Caller, out: &Out) -> Result<()> {
    let (store, id, now) = (&app.store, caller.user.id, app.world.now());
    let user = store.user(id).await?.ok_or_else(|| Error::not_found("user", id))?;
    let viewer = Viewer { user: id, organization: None, project: None };
    let head = Head {
        exported_at: now.into(),
        user: wire_user(&user),
        has_password: user.password_hash.is_some(),
        studio_subjects: store.studio_subjects(id, MOST_NAMED).await?,
        backend_account: store.ghost_account(id).await?,
    };
    let mut head = serde_json::to_vec(&head).map_err(Error::internal)?;
    // The lists follow inside the same object.
    head.pop();
    out.write(head).await?;
    let all = AuditFilter::default();
    list!(out, "memberships", page => store.memberships(id, page), membership);
    list!(out, "sessions", page => store.sessions(id, now, page), |row| sessions::wire(row, caller));
    list!(out, "apiKeys", page => store.list_api_keys(&viewer, page), wire_key);
    list!(out, "invitationsSent", page => store.invitations_by(id, page), invitations::wire);
    list!(out, "deployments", page => store.deployments_by(id, page), deployments::wire);
    list!(out, "operations", page => store.operations_by(id, page), operations::wire);
    list!(out, "webhooks", page => store.webhooks(&viewer, None, None, page), webhooks::wire);
    list!(out, "auditEntries", page => store.acted(id, true, &all, page), audit_log::wire);
    out.write("}").await
}

fn membership(row: &ogel_store::Membership) -> Membership {
    Membership {
        organization_id: row.organization_id,
        name: row.name.clone(),
        slug: row.slug.clone(),
        role: row.role,
        joined_at: row.created_at.into(),
    }
}

/// `before`, then what the rows look like with a comma between them.
fn rows<T, W: Serialize>(before: &str, rows: &[T], wire: impl Fn(&T) -> W) -> Result<Vec<u8>> {
    let mut piece = before.as_bytes().to_vec();
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            piece.push(b',');
        }
        serde_json::to_writer(&mut piece, &wire(row)).map_err(Error::internal)?;
    }
    Ok(piece)
}

/// Ends the caller's account at once and for good: logins, keys and memberships end everywhere, organizations without
/// another member go with their projects. Takes the password, or a login from the last ten minutes. 409 `LAST_OWNER` names
/// the organizations that would be left without an owner.
#[utoipa::path(delete, path = "/users/me", operation_id = "delete_account", tag = "users",
    request_body(content = Option<DeleteAccount>),
    responses((status = 204, description = "Deleted")), security(("bearer" = [])))]
pub(super) async fn delete_account(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    caller: Allowed<scope::UsersWrite>,
    MaybeJson(body): MaybeJson<DeleteAccount>,
) -> Result<impl IntoResponse> {
    let id = caller.caller.user.id;
    refuse_keys(&caller.caller)?;
    let user = app.store.user(id).await?.ok_or_else(|| Error::not_found("user", id))?;
    match body.password {
        Some(password) => check_own_password(&app, &user, password, &context, "password").await?,
        None if is_fresh(&app, &caller.caller).await? => {}
        None => {
            let message = "this cannot be undone, so send the account's `password`, or log in anew and do it then";
            return Err(Failure::new(ErrorCode::ReauthenticationRequired, message));
        }
    }
    let now = app.world.now();
    // Before anything is done: whoever is refused stays logged in.
    refuse_last_owner(&app, &caller.caller).await?;
    let subjects = studio::end_rows(&app.store, app.studio_database.as_ref(), id, now).await?;
    let closed = studio::closed_ids(subjects.into_iter(), &user.email);
    let longest = match app.config().studio_sessions.longest_days {
        0 => TimeDelta::days(36_500),
        days => TimeDelta::days(i64::try_from(days).unwrap_or(36_500).min(36_500)),
    };
    match app.store.delete_account(&caller.act(&app), id, &closed, now + longest).await {
        Ok(Ok(())) => {}
        Ok(Err(Refusal::LastOwner | Refusal::Stale)) => {
            refuse_last_owner(&app, &caller.caller).await?;
            return Err(Failure::new(
                ErrorCode::Conflict,
                "your organizations were changed at the same moment; try again",
            ));
        }
        Ok(Err(refusal)) => return Err(crate::resources::shared::refused(refusal, "user", id)),
        Err(StoreError::ForeignKey) => {
            let message = "something else on this platform still refers to the account; ask its operators to delete it";
            return Err(Failure::new(ErrorCode::Conflict, message));
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(user.id = %id, "an account was deleted by its person");
    app.callers.forget_all();
    app.bridge.drop_token(id).await;
    work::notice(&app, Queue::Accounts);
    // Nobody is left to restore what was theirs alone.
    let state = app.clone();
    app.in_background(async move { purge::purge_due(&state).await });
    let name = cookie::name(&app.config(), &headers, context.peer.is_tls());
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::set(name, "", 0))]))
}

/// Whether the login that this is sent with began a moment ago.
async fn is_fresh(app: &App, caller: &Caller) -> Result<bool> {
    let now = app.world.now();
    let began = match (caller.session_id, &caller.studio) {
        (Some(session), _) => app.store.session(session, caller.user.id, now).await?.map(|session| session.created_at),
        (None, Some(studio)) => studio.began_at,
        (None, None) => None,
    };
    Ok(began.is_some_and(|began| now - began <= FRESH))
}

async fn refuse_last_owner(app: &App, caller: &Caller) -> Result<()> {
    let held = app.store.held_alone(caller.user.id, MOST_NAMED).await?;
    if held.is_empty() {
        return Ok(());
    }
    let detail = |row: &ogel_store::Organization| Detail {
        location: format!("organizations/{}", row.id),
        code: ErrorCode::LastOwner.to_string(),
        message: format!("`{}` has other members and no other owner", row.name),
        fix: Some("make another member `owner`, or delete the organization".to_owned()),
    };
    let message = "you are the only owner of organizations that others belong to; `details` names them";
    Err(Error::new(ErrorCode::LastOwner, message).with_details(held.iter().map(detail).collect()).into())
}
