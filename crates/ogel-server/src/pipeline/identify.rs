//! Who is calling: from this thread's memory when they called of late and nothing about them has changed since,
//! else from the database.

use super::finish::Record;
use crate::{
    caller::{Caller, Identity},
    callers::{Found, Remembered},
    edge::{Core, Peer},
    error::{Failure, Result},
    resources::auth::cookie,
    secrets::{API_KEY_PREFIX, TokenHash},
    settings::Settings,
    state::App,
    studio::{self, Candidate, Opened, Refusal, StudioAuth, Unknown},
    uses::Noted,
};
use axum::http::{HeaderMap, header};
use chrono::{DateTime, Utc};
use ogel_api::{
    auth::{AuthMethod, Scope},
    error::ErrorCode,
};
use ogel_store::Viewer;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

const UNKNOWN: &str = "this credential is not known or was revoked; log in again, or make a new API key";
const EXPIRED: &str = "this credential has expired; log in again, or make a new API key";
const UNKNOWN_AT_STUDIO: &str = "this session of Studio's cannot be read here or was ended; log in at Studio again";
const EXPIRED_AT_STUDIO: &str = "this session of Studio's has expired; log in at Studio again";

/// Also says whether the credential came by cookie.
pub(super) async fn identify(
    core: &Arc<Core>,
    peer: &Peer,
    headers: &HeaderMap,
    record: &Record,
    settings: &Settings,
    deadline: Instant,
) -> Result<(Identity, bool)> {
    let moment = Moment { now: record.at, instant: record.timing.started, deadline };
    let found = find(core, peer, headers, settings, moment).await?;
    if let Identity::Known(caller) = &found.0 {
        core.app.uses.note(caller, record.at, record.client);
    }
    Ok(found)
}

/// When a request came, and when it must be answered. Reading the clock costs more than the rest of what is done here
/// for a caller who is remembered.
#[derive(Clone, Copy)]
struct Moment {
    now: DateTime<Utc>,
    instant: std::time::Instant,
    deadline: Instant,
}

async fn find(
    core: &Arc<Core>,
    peer: &Peer,
    headers: &HeaderMap,
    settings: &Settings,
    moment: Moment,
) -> Result<(Identity, bool)> {
    let ours = match credential(headers, settings, peer) {
        None => None,
        Some((token, by_cookie)) => {
            // A connection mostly comes back with the credential it came with before.
            let identity = match peer.hash_of(token) {
                Some(hash) if token.starts_with(API_KEY_PREFIX) => resolve(core, Proof::Key, hash, moment).await?,
                Some(hash) => resolve(core, Proof::Session, hash, moment).await?,
                None => match bearer_of_studio(core, peer, token, settings, moment).await? {
                    Some(identity) => identity,
                    None => Identity::Refused(ErrorCode::InvalidCredential, UNKNOWN),
                },
            };
            if !by_cookie || identity.caller().is_some() {
                return Ok((identity, by_cookie));
            }
            Some(identity)
        }
    };
    // Somebody whose login here has ended may still be logged in at Studio.
    let at_studio = match &settings.studio_auth {
        Some(studio) => cookie_of_studio(core, peer, headers, studio, moment).await?,
        None => None,
    };
    Ok(match (at_studio, ours) {
        (Some(found), None) => (found, true),
        (Some(found), Some(_)) if found.caller().is_some() => (found, true),
        (_, Some(ours)) => (ours, true),
        (None, None) => (Identity::Anonymous, false),
    })
}

async fn bearer_of_studio(
    core: &Arc<Core>,
    peer: &Peer,
    token: &str,
    settings: &Settings,
    moment: Moment,
) -> Result<Option<Identity>> {
    let Some(studio) = &settings.studio_auth else { return Ok(None) };
    let Some(candidate) = studio.in_bearer(token) else { return Ok(None) };
    let hash = peer.hash_of_foreign(&candidate.token);
    resolve(core, Proof::Studio(studio, &candidate), hash, moment).await.map(Some)
}

/// The first of Studio's cookies that holds, or else what is wrong with the last.
async fn cookie_of_studio(
    core: &Arc<Core>,
    peer: &Peer,
    headers: &HeaderMap,
    studio: &StudioAuth,
    moment: Moment,
) -> Result<Option<Identity>> {
    let mut found = None;
    for candidate in studio.in_cookies(headers) {
        let hash = peer.hash_of_foreign(&candidate.token);
        let identity = resolve(core, Proof::Studio(studio, &candidate), hash, moment).await?;
        if identity.caller().is_some() {
            return Ok(Some(identity));
        }
        found = Some(identity);
    }
    Ok(found)
}

/// What kind of credential a hash is of.
#[derive(Clone, Copy)]
enum Proof<'a> {
    Key,
    Session,
    Studio(&'a StudioAuth, &'a Candidate<'a>),
}

/// What is looked up: a hash of our own, or what a token of Studio's was found to say.
enum Question {
    Key,
    Session,
    Studio(Opened, Unknown),
}

impl Proof<'_> {
    /// The error is the end of it: a token that holds nothing needs no database.
    fn question(self, now: DateTime<Utc>) -> Result<Question, Identity> {
        let (studio, candidate) = match self {
            Self::Key => return Ok(Question::Key),
            Self::Session => return Ok(Question::Session),
            Self::Studio(studio, candidate) => (studio, candidate),
        };
        match studio.open(candidate, now) {
            Ok(opened) => Ok(Question::Studio(opened, studio.unknown)),
            Err(Refusal::Expired) => Err(Identity::Refused(ErrorCode::CredentialExpired, EXPIRED_AT_STUDIO)),
            Err(Refusal::Unreadable(problem)) => {
                tracing::debug!(problem, "a session of Studio's was refused");
                Err(Identity::Refused(ErrorCode::InvalidCredential, UNKNOWN_AT_STUDIO))
            }
        }
    }
}

/// The token of `Authorization: Bearer`, or else of our cookie.
fn credential<'a>(headers: &'a HeaderMap, settings: &Settings, peer: &Peer) -> Option<(&'a str, bool)> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        // A header that is there but makes no sense is a wrong credential, not none.
        let text = value.to_str().unwrap_or_default();
        let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return Some((token.map_or("", |(_, token)| token.trim()), false));
    }
    match cookie::find(settings, headers, peer.is_tls()) {
        cookie::Found::Nothing => None,
        cookie::Found::One(token) => Some((token, true)),
        cookie::Found::Several => Some(("", true)),
    }
}

async fn resolve(core: &Arc<Core>, proof: Proof<'_>, hash: TokenHash, moment: Moment) -> Result<Identity> {
    let Moment { now, instant, deadline } = moment;
    let remembered = match core.app.identities.is_current(instant, core.app.config().trust_without_database) {
        true => core.callers.get(&hash, &core.app.identities, instant),
        false => Remembered::Nothing,
    };
    let is_over = |caller: &Caller| caller.expires_at.is_some_and(|at| at <= now);
    let caller = match remembered {
        Remembered::Fresh(caller) if !is_over(&caller) => Some(caller),
        Remembered::Aging(caller) if !is_over(&caller) => {
            let core = core.clone();
            // What no longer opens is refused once it is no longer remembered.
            if let Ok(question) = proof.question(now) {
                tokio::spawn(async move {
                    // A database that is away costs this caller nothing until what is remembered is too old.
                    if let Err(failure) = Box::pin(ask(&core, question, hash)).await {
                        tracing::debug!(error = ?failure.0, "a caller could not be looked up again");
                    }
                });
            }
            Some(caller)
        }
        // Boxed: the way to the database is long, and its room would be moved with every request that needs none of it.
        // So is one whose end has come by what is remembered: use may have prolonged it since.
        Remembered::Nothing | Remembered::Fresh(_) | Remembered::Aging(_) => {
            let question = match proof.question(now) {
                Ok(question) => question,
                Err(refused) => return Ok(refused),
            };
            match timeout_at(deadline, Box::pin(ask(core, question, hash))).await {
                Ok(Err(failure)) if failure.code() == ErrorCode::AccountNotLinked => {
                    return Ok(Identity::Refused(ErrorCode::AccountNotLinked, studio::NOT_LINKED));
                }
                Ok(found) => found?,
                Err(_) => {
                    let message = "the database did not say in time who you are; try again in a moment";
                    return Err(Failure::new(ErrorCode::DeadlineExceeded, message));
                }
            }
        }
    };
    Ok(match caller {
        None if matches!(proof, Proof::Studio(..)) => {
            Identity::Refused(ErrorCode::InvalidCredential, UNKNOWN_AT_STUDIO)
        }
        None => Identity::Refused(ErrorCode::InvalidCredential, UNKNOWN),
        Some(caller) if is_over(&caller) => Identity::Refused(ErrorCode::CredentialExpired, EXPIRED),
        Some(caller) => Identity::Known(caller),
    })
}

/// Asks the control plane, and remembers what it says.
async fn ask(core: &Arc<Core>, question: Question, hash: TokenHash) -> Result<Option<Arc<Caller>>> {
    let app = core.app.clone();
    let find = async move {
        let found = app.callers.find(hash, look_up(&app, &question, &hash)).await?;
        let is_old = |caller: &Arc<Caller>| app.identities.holds(found.asked, &[caller.user.id.0]).is_none();
        if !found.caller.as_ref().is_some_and(is_old) {
            return Ok::<_, Failure>(found);
        }
        // Shared from before a change.
        app.callers.drop_shared(&hash).await;
        app.callers.find(hash, look_up(&app, &question, &hash)).await
    };
    let Found { caller, asked } = core.app.read_on_control(find).await??;
    match &caller {
        Some(caller) => core.callers.put(hash, caller.clone(), asked, Instant::now().into_std()),
        None => core.callers.remove(&hash),
    }
    Ok(caller)
}

/// Runs on the control plane.
async fn look_up(app: &App, question: &Question, hash: &[u8; 32]) -> Result<Option<Caller>, Failure> {
    let is_key = match question {
        Question::Studio(Opened::Claims(claims), unknown) => return studio::look_up(app, claims, *unknown).await,
        Question::Studio(Opened::Row(token), unknown) => return studio::look_up_row(app, token, *unknown).await,
        Question::Key => true,
        Question::Session => false,
    };
    if is_key {
        let Some((key, user)) = app.store.api_key_by_secret(hash).await? else { return Ok(None) };
        // The secret before a rotation ends with its grace, if the key itself does not end before.
        let is_old = key.secret_hash != *hash;
        let grace = key.old_secret_expires_at.filter(|_| is_old);
        let expires_at = key.expires_at.into_iter().chain(grace).min();
        let viewer = Viewer { user: user.id, organization: key.organization_id, project: key.project_id };
        return Ok(Some(Caller {
            user,
            method: AuthMethod::ApiKey,
            scopes: key.scopes,
            plan: app.store.best_plan(&viewer).await?,
            viewer,
            session_id: None,
            session_kind: None,
            api_key_id: Some(key.id),
            studio: None,
            expires_at,
            allowance: app.limiter.of_key(key.id.0),
            organization_allowance: key.organization_id.map(|id| app.limiter.of_organization(id.0)),
            project_allowance: key.project_id.map(|id| app.limiter.of_project(id.0)),
            log_id: key.id.to_string(),
            noted: Noted::at(key.last_used_at),
        }));
    }
    let Some((session, user)) = app.store.session_by_token(hash).await? else { return Ok(None) };
    let viewer = Viewer { user: user.id, organization: None, project: None };
    Ok(Some(Caller {
        allowance: app.limiter.of_user(user.id.0),
        organization_allowance: None,
        project_allowance: None,
        log_id: user.id.to_string(),
        user,
        method: AuthMethod::Session,
        scopes: session.scopes.unwrap_or_else(|| Scope::ALL.to_vec()),
        plan: app.store.best_plan(&viewer).await?,
        viewer,
        session_id: Some(session.id),
        session_kind: Some(session.kind),
        api_key_id: None,
        studio: None,
        expires_at: Some(session.token_expires_at.unwrap_or(session.expires_at).min(session.expires_at)),
        noted: Noted::at(Some(session.last_seen_at)),
    }))
}
