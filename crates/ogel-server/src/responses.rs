//! Reads that are asked of Ghost, or of the database again and again, kept for some seconds: here, and through Redis for all
//! replicas (`ogel_cache::Responses`).
//!
//! A handler has decided what the caller may see before it comes here, and names the project as the tenant and the role as
//! the class: nothing is found across either. Whatever changes something calls [`changed`].

use crate::{
    access::Access,
    error::{Failure, Result},
    extract::json_answer,
    header_text::HeaderText,
    resources::tag_of,
    state::App,
};
use axum::{
    body::{Body, to_bytes},
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, Response, header, request::Parts},
};
use ogel_api::{
    error::{Error, ErrorCode},
    id::{BuildId, DeploymentId, ProjectId},
};
use ogel_cache::{CacheKey, Entry, Lifetimes, Look, Tag, Token};
use ogel_store::Deployment;
use std::{
    fmt::{Display, Write as _},
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// What answers were read from: a project's sites, say, whichever they are.
pub(crate) type Tags = &'static [Tag];
pub(crate) const SITES: Tags = &[Tag::all(tag_of("sites"))];
pub(crate) const DOMAINS: Tags = &[Tag::all(tag_of("domains"))];
/// A site that goes takes its place in domains with it.
pub(crate) const SITES_AND_DOMAINS: Tags = &[SITES[0], DOMAINS[0]];
const DEPLOYMENTS: Tag = Tag::all(tag_of("deployments"));
const BUILDS: Tag = Tag::all(tag_of("builds"));
/// What changes with production: one deployment takes the place of another.
pub(crate) const DEPLOYMENTS_AND_BUILDS: Tags = &[DEPLOYMENTS, BUILDS];
/// The same, and what the project shows.
pub(crate) const EVERYTHING: Tags = &[SITES[0], DOMAINS[0], DEPLOYMENTS, BUILDS];

/// What the answer about one deployment was read from.
pub(crate) fn of_deployment(id: DeploymentId) -> [Tag; 2] {
    [DEPLOYMENTS, DEPLOYMENTS.one(id.0.as_u128())]
}

/// What the answer about one build was read from.
pub(crate) fn of_build(id: BuildId) -> [Tag; 2] {
    [BUILDS, BUILDS.one(id.0.as_u128())]
}

/// What happens to one deployment changes it and its build, and leaves the project's others alone.
pub(crate) fn with_its_build(row: &Deployment) -> [Tag; 2] {
    [DEPLOYMENTS.one(row.id.0.as_u128()), BUILDS.one(row.build_id.0.as_u128())]
}

/// What the step that led to `row` may have changed: itself, what its project shows, and the one whose place it took.
pub(crate) fn after_step(row: &Deployment) -> [Tag; 4] {
    let [deployment, build] = if row.is_active { [DEPLOYMENTS, BUILDS] } else { with_its_build(row) };
    [SITES[0], DOMAINS[0], deployment, build]
}

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
pub(crate) const CONSISTENCY: HeaderName = HeaderName::from_static("x-ogel-consistency");
/// Room for what a question is called.
const QUESTION: usize = 96;
/// Larger answers are passed on and not kept.
const LARGEST: usize = 4 << 20;
/// A token from further in the future is no token of ours.
const MOST_AHEAD_MS: u64 = 60_000;

/// What the caller wants of the cache.
#[derive(Default)]
pub(crate) struct Wish {
    /// `Cache-Control: no-cache`: nothing that is kept.
    is_new: bool,
    /// `Cache-Control: no-store`: and nothing to be kept either.
    is_secret: bool,
    token: Option<Token>,
}

impl<S: Sync> FromRequestParts<S> for Wish {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let mut wish = Self::default();
        for value in parts.headers.get_all(header::CACHE_CONTROL) {
            for word in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                wish.is_new |= word.eq_ignore_ascii_case("no-cache") || word.eq_ignore_ascii_case("max-age=0");
                wish.is_secret |= word.eq_ignore_ascii_case("no-store");
            }
        }
        wish.token = token_of(&parts.headers)?;
        Ok(wish)
    }
}

/// The token of a write that the caller has seen. Errors: a header that is none.
pub(crate) fn token_of(headers: &axum::http::HeaderMap) -> Result<Option<Token>> {
    let Some(value) = headers.get(&CONSISTENCY) else { return Ok(None) };
    let token = value.to_str().ok().and_then(Token::parse).ok_or_else(|| {
        Failure::new(ErrorCode::InvalidValue, "`X-Ogel-Consistency` takes what an answer to a change had in it")
    })?;
    Ok(Some(token))
}

fn lifetimes(app: &App) -> Lifetimes {
    let cache = &app.config().cache;
    Lifetimes {
        fresh: Duration::from_secs(cache.fresh_seconds),
        negative: Duration::from_secs(cache.negative_seconds),
        while_revalidating: Duration::from_secs(cache.revalidate_seconds),
        if_error: Duration::from_secs(cache.stale_seconds),
    }
}

fn now_ms(app: &App) -> u64 {
    app.world.now().timestamp_millis().max(0).unsigned_abs()
}

/// A project as a tenant.
pub(crate) fn scope_of(project: ProjectId) -> Arc<str> {
    project.0.to_string().into()
}

/// The answer to `question` about what is in the project: a kept one, or what `read` gets. `question` names the route and
/// everything of the request that the answer depends on, in one spelling. `read` begins to read when it is called: that is
/// long, and made where it is needed only.
pub(crate) async fn answer<F>(
    app: &App,
    wish: Wish,
    access: &Access,
    tags: &[Tag],
    question: impl Display + Send,
    read: impl FnOnce() -> F + Send + 'static,
) -> Result<Response<Body>>
where
    F: Future<Output = Result<Response<Body>>> + Send + 'static,
{
    let lifetimes = lifetimes(app);
    if lifetimes.fresh.is_zero() || wish.is_secret {
        return Ok(marked(Box::pin(read()).await?, "bypass"));
    }
    let now_ms = now_ms(app);
    let scope = access.scope.clone();
    let mut only_new = wish.is_new;
    if let Some(token) = wish.token.filter(|token| token.scope() == &*scope) {
        match token.epoch() <= now_ms.saturating_add(MOST_AHEAD_MS) {
            true => app.responses.observe(&token, tags),
            false => only_new = true,
        }
    }
    let mut name = String::with_capacity(QUESTION);
    // Writing to a string cannot fail.
    let _ = write!(name, "{}|{question}", access.role);
    let key = CacheKey { scope, name: name.into() };
    let look = if only_new { Look::Nothing } else { app.responses.look(&key, tags, now_ms, &lifetimes) };
    let old = match look {
        Look::Fresh(entry) => {
            app.responses.counts.hits.fetch_add(1, Ordering::Relaxed);
            return given(&entry, "hit");
        }
        Look::Aging(entry) => {
            app.responses.counts.stale.fetch_add(1, Ordering::Relaxed);
            if entry.begin_refresh() {
                refresh(app, key, tags.into(), now_ms, lifetimes, entry.clone(), read);
            }
            return given(&entry, "stale");
        }
        Look::Old(entry) => Some(entry),
        Look::Nothing => None,
    };
    let mut is_ours = false;
    let found = {
        let is_ours = &mut is_ours;
        let read = async move {
            *is_ours = true;
            entry_of(read().await).await
        };
        // Boxed: the way past the cache is long, and its room would be moved with every answer that needs none of it.
        Box::pin(app.responses.fetch(&key, tags, now_ms, &lifetimes, only_new, read)).await
    };
    match (found, old) {
        (Ok(entry), _) => given(
            &entry,
            if only_new {
                "bypass"
            } else if is_ours {
                "miss"
            } else {
                "hit"
            },
        ),
        (Err(failure), Some(old)) if is_trouble(failure.code()) => {
            app.responses.counts.stale.fetch_add(1, Ordering::Relaxed);
            let mut response = given(&old, "stale")?;
            // Ghost is in trouble, and this is what it said before.
            response
                .headers_mut()
                .insert(header::WARNING, HeaderValue::from_static("111 ogel \"Revalidation Failed\""));
            Ok(response)
        }
        (Err(failure), _) => Err(crate::bridge::shared(failure)),
    }
}

/// The same of what is in the database: whoever has a token that says nothing of this project's kept answers has changed
/// something there, and reads it anew. `read` runs where the database's connections are.
pub(crate) async fn answer_of_database<F>(
    app: &App,
    mut wish: Wish,
    access: &Access,
    tags: &[Tag],
    question: impl Display + Send,
    read: impl FnOnce() -> F + Send + 'static,
) -> Result<Response<Body>>
where
    F: Future<Output = Result<Response<Body>>> + Send + 'static,
{
    wish.is_new |= wish.token.as_ref().is_some_and(|token| token.scope() != &*access.scope);
    let there = app.clone();
    answer(app, wish, access, tags, question, move || async move { there.read_on_control(read()).await? }).await
}

/// Gets a newer one beside the request, on the thread that has the connections for it.
fn refresh<F>(
    app: &App,
    key: CacheKey,
    tags: Box<[Tag]>,
    now_ms: u64,
    lifetimes: Lifetimes,
    entry: Arc<Entry>,
    read: impl FnOnce() -> F + Send + 'static,
) where
    F: Future<Output = Result<Response<Body>>> + Send + 'static,
{
    let state = app.clone();
    tokio::spawn(async move {
        let read = async { entry_of(read().await).await };
        // One that fails leaves the old answer, and somebody else tries.
        if state.responses.fetch(&key, &tags, now_ms, &lifetimes, true, read).await.is_err() {
            entry.end_refresh();
        }
    });
}

/// What is worth an older answer: Ghost's trouble and the database's, not what they say of the request.
fn is_trouble(code: ErrorCode) -> bool {
    code.status().is_server_error() && code != ErrorCode::Internal
}

/// What a handler answered, as it is kept. That something is not there is an answer.
async fn entry_of(answer: Result<Response<Body>>) -> Result<Entry> {
    match answer {
        Ok(response) => {
            let body = to_bytes(response.into_body(), LARGEST).await.map_err(Error::internal)?;
            let etag = crate::pipeline::tag_of(&body);
            Ok(Entry::new(200, body, etag.into()))
        }
        Err(failure) if failure.code() == ErrorCode::NotFound => {
            Ok(Entry::new(404, failure.0.message.to_string().into(), "-".into()))
        }
        Err(failure) => Err(failure),
    }
}

fn given(entry: &Entry, how: &'static str) -> Result<Response<Body>> {
    if entry.is_negative() {
        let message = String::from_utf8_lossy(&entry.body).into_owned();
        return Err(Failure::new(ErrorCode::NotFound, message));
    }
    let mut response = json_answer(entry.body.clone());
    response.headers_mut().insert(header::ETAG, HeaderText::default().add(&entry.etag).value());
    Ok(marked(response, how))
}

fn marked(mut response: Response<Body>, how: &'static str) -> Response<Body> {
    response.headers_mut().insert(X_CACHE, HeaderValue::from_static(how));
    response
}

/// What is tagged like this in the project has changed, by whomever: no replica gives out an older answer. For webhooks
/// and whoever else hears of a change; the token makes the next read of its holder see it everywhere.
pub(crate) async fn changed(app: &App, project: ProjectId, tags: &[Tag]) -> Token {
    app.responses.advance(&scope_of(project), tags, now_ms(app)).await
}

/// The token of a change that touched nothing but the database.
pub(crate) fn database_token(app: &App) -> Token {
    Token::of_database(now_ms(app))
}

/// The answer to a change, with the token of it.
pub(crate) async fn after_change(
    app: &App,
    project: ProjectId,
    tags: &[Tag],
    mut response: Response<Body>,
) -> Response<Body> {
    let token = changed(app, project, tags).await;
    if let Ok(value) = HeaderValue::from_str(&token.to_string()) {
        response.headers_mut().insert(CONSISTENCY, value);
    }
    response
}

/// Tells Redis what it could not be told, until shutdown.
pub(crate) async fn tell(app: &App) {
    const EVERY: Duration = Duration::from_millis(100);
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.shutdown.cancelled() => return,
        }
        app.responses.tell().await;
    }
}
