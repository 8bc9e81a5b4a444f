//! Studio's people and projects as Ghost knows them: made at first need, remembered, never made twice.
//!
//! Ids at Ghost are our own UUIDs, so "exists already" is always ours and means done. Concurrent first requests wait
//! for one of them (single flight); across processes the unique rows in the store decide.

use crate::{
    error::{Failure, Result},
    secrets::Sealer,
    world::World,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use moka::{future::Cache, ops::compute::Op};
use ogel_api::{
    error::{Error, ErrorCode},
    id::{Id as _, ProjectId, UserId},
};
use ogel_ghost::{CallContext, Credential, Ghost};
use ogel_store::{Deployment, Project, Store, StoreError, User};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// A project's other half.
#[derive(Clone)]
pub struct GhostProject {
    pub id: String,
    /// What Ghost's key for this project is; never logged.
    pub key: Arc<str>,
}

/// A token that acts as one person at Ghost.
#[derive(Clone)]
struct Token {
    jwt: Arc<str>,
    /// A minute before Ghost stops taking it.
    until: DateTime<Utc>,
}

/// The longest any token is kept, whatever it says.
const LONGEST: Duration = Duration::from_secs(3600);

pub struct Bridge {
    store: Store,
    ghost: Ghost,
    sealer: Sealer,
    world: World,
    accounts: Cache<UserId, Arc<str>>,
    projects: Cache<ProjectId, GhostProject>,
    members: Cache<(ProjectId, UserId), ()>,
    tokens: Cache<UserId, Token, RandomState>,
    minted: AtomicU64,
}

/// How long one step at Ghost may take.
pub(crate) const STEP: Duration = Duration::from_secs(10);

/// Scopes of the key we keep for a project: what the tracker and the log readers need.
const PROJECT_SCOPES: &[&str] =
    &["deployments.read", "deployments.write", "sites.read", "sites.write", "rules.read", "rules.write"];

impl Bridge {
    pub(crate) fn new(store: Store, ghost: Ghost, sealer: Sealer, world: World) -> Self {
        Self {
            store,
            ghost,
            sealer,
            world,
            accounts: Cache::builder().max_capacity(100_000).build(),
            projects: Cache::builder().max_capacity(100_000).build(),
            members: Cache::builder().max_capacity(100_000).time_to_live(Duration::from_secs(3600)).build(),
            tokens: Cache::builder()
                .max_capacity(100_000)
                .time_to_live(LONGEST)
                .build_with_hasher(RandomState::default()),
            minted: AtomicU64::new(0),
        }
    }

    /// The person's account at Ghost.
    pub(crate) async fn account(&self, user: &User) -> Result<Arc<str>> {
        let make = pin!(async {
            if let Some(known) = self.store.ghost_account(user.id).await? {
                return Ok(Arc::from(known));
            }
            let id = user.id.uuid().to_string();
            match self.ghost.create_user(CallContext::within(STEP), &id, &user.email, &user.name).await {
                Ok(_) => {}
                Err(error) if error.code == ErrorCode::Conflict => self.adopt(&id, user).await?,
                Err(error) => return Err(Failure::from(error)),
            }
            match self.store.insert_ghost_account(user.id, &id, self.world.now()).await {
                // Deleted meanwhile, and its account at Ghost perhaps before this one was made.
                Err(StoreError::ForeignKey) => {
                    self.delete_account(user.id).await?;
                    Err(Error::not_found("user", user.id).into())
                }
                other => Ok(Arc::from(other?)),
            }
        });
        self.accounts.try_get_with(user.id, make).await.map_err(shared)
    }

    /// Ghost has an account with this id or this e-mail address. The id is ours: made by an earlier attempt, or by another
    /// process at the same time. The address may be that of a person who was here before and left their account there;
    /// it is not theirs to act with, so the new one is made under an address that nobody has.
    async fn adopt(&self, id: &str, user: &User) -> Result<()> {
        let there = self.ghost.mint_jwt(CallContext::within(STEP), id).await;
        match there {
            Ok(minted) => {
                self.minted.fetch_add(1, Ordering::Relaxed);
                self.tokens.insert(user.id, self.token_of(&minted.jwt)).await;
                return Ok(());
            }
            Err(error) if error.code == ErrorCode::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let address = format!("{id}@accounts.invalid");
        match self.ghost.create_user(CallContext::within(STEP), id, &address, &user.name).await {
            Ok(_) => Ok(()),
            Err(error) if error.code == ErrorCode::Conflict => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A token that acts as the person at Ghost.
    pub(crate) async fn token(&self, user: &User) -> Result<Arc<str>> {
        let account = self.account(user).await?;
        if let Some(token) = self.tokens.get(&user.id).await {
            if token.until > self.world.now() {
                return Ok(token.jwt);
            }
            self.forget_token(user.id, &token.jwt).await;
        }
        let mint = pin!(async {
            let minted = self.ghost.mint_jwt(CallContext::within(STEP), &account).await?;
            self.minted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Failure>(self.token_of(&minted.jwt))
        });
        Ok(self.tokens.try_get_with(user.id, mint).await.map_err(shared)?.jwt)
    }

    fn token_of(&self, jwt: &str) -> Token {
        let now = self.world.now();
        let kept = lifetime(jwt, now.timestamp()).saturating_sub(Duration::from_secs(60));
        Token { jwt: Arc::from(jwt), until: now + kept }
    }

    /// The person's token, if it is in memory.
    pub(crate) async fn known_token(&self, user: UserId) -> Option<Arc<str>> {
        let token = self.tokens.get(&user).await?;
        (token.until > self.world.now()).then_some(token.jwt)
    }

    /// A token in place of one that Ghost refused. Many may ask at once: only the refused one is forgotten, so they all
    /// get the same new one.
    pub(crate) async fn another_token(&self, user: &User, refused: &str) -> Result<Arc<str>> {
        self.forget_token(user.id, refused).await;
        self.token(user).await
    }

    /// Unless another has taken its place.
    async fn forget_token(&self, user: UserId, jwt: &str) {
        let is_it = |entry: Option<moka::Entry<UserId, Token>>| {
            let is_it = entry.is_some_and(|entry| *entry.value().jwt == *jwt);
            std::future::ready(if is_it { Op::Remove } else { Op::Nop })
        };
        self.tokens.entry(user).and_compute_with(is_it).await;
    }

    /// Its lines of `/metrics`.
    pub(crate) fn render(&self) -> String {
        let (name, minted) = ("ogel_ghost_tokens_minted_total", self.minted.load(Ordering::Relaxed));
        format!("# HELP {name} Tokens made by Ghost to act as somebody.\n# TYPE {name} counter\n{name} {minted}\n")
    }

    /// Nobody's token is known any more.
    pub(crate) fn drop_all_tokens(&self) {
        self.tokens.invalidate_all();
    }

    /// Forgets the person's token: Ghost refused it, or something about the person has changed, such as a session that
    /// ended or a role.
    pub(crate) async fn drop_token(&self, user: UserId) {
        self.tokens.invalidate(&user).await;
    }

    /// Removes the person's account at Ghost. Not being there is as good.
    pub(crate) async fn delete_account(&self, user: UserId) -> Result<()> {
        self.accounts.invalidate(&user).await;
        self.drop_token(user).await;
        gone_is_fine(self.ghost.delete_user(CallContext::within(STEP), &user.uuid().to_string()).await)
    }

    /// The project at Ghost, if it was ever made there.
    pub(crate) async fn known_project(&self, id: ProjectId) -> Result<Option<GhostProject>> {
        if let Some(known) = self.projects.get(&id).await {
            return Ok(Some(known));
        }
        let Some(row) = self.store.ghost_project(id).await? else { return Ok(None) };
        let project = self.opened(id, &row.ogel_project_id, &row.ogel_api_key)?;
        self.projects.insert(id, project.clone()).await;
        Ok(Some(project))
    }

    /// The project at Ghost, made there now if need be.
    pub(crate) async fn project(&self, project: &Project) -> Result<GhostProject> {
        let make = pin!(async {
            if let Some(row) = self.store.ghost_project(project.id).await? {
                return self.opened(project.id, &row.ogel_project_id, &row.ogel_api_key);
            }
            let id = project.id.uuid().to_string();
            match self.ghost.create_project(CallContext::within(STEP), &id, &project.name, "default").await {
                Ok(_) => {}
                Err(error) if error.code == ErrorCode::Conflict => {}
                Err(error) => return Err(Failure::from(error)),
            }
            let key = self.ghost.create_project_key(CallContext::within(STEP), &id, "studio", PROJECT_SCOPES).await?;
            let sealed = self.sealer.seal(&key_context(project.id), key.secret.as_bytes()).map_err(Error::internal)?;
            // Another process may have been faster: its key is the one that stays.
            let row =
                self.store.insert_ghost_project(self.world.uuid(), project.id, &id, &sealed, self.world.now()).await?;
            self.opened(project.id, &row.ogel_project_id, &row.ogel_api_key)
        });
        self.projects.try_get_with(project.id, make).await.map_err(shared)
    }

    /// Lets the person act on the project at Ghost.
    pub(crate) async fn member(&self, project: &Project, user: &User) -> Result<()> {
        let ghost_project = self.project(project).await?;
        let account = self.account(user).await?;
        let join = pin!(async {
            self.ghost.add_project_member(CallContext::within(STEP), &ghost_project.id, &account).await?;
            Ok::<_, Failure>(())
        });
        self.members.try_get_with((project.id, user.id), join).await.map_err(shared)
    }

    /// The same although they were let in before: Ghost has forgotten it.
    pub(crate) async fn join_again(&self, project: &Project, user: &User) -> Result<()> {
        self.members.invalidate(&(project.id, user.id)).await;
        self.member(project, user).await
    }

    /// Removes the project, and with it every site, at Ghost. Not being there is as good.
    pub(crate) async fn delete_project(&self, id: ProjectId) -> Result<()> {
        let Some(project) = self.known_project(id).await? else { return Ok(()) };
        gone_is_fine(self.ghost.delete_project(CallContext::within(STEP), &project.id).await)?;
        self.projects.invalidate(&id).await;
        Ok(())
    }

    /// Removes the deployment's site and log at Ghost. Not being there is as good.
    pub(crate) async fn delete_deployment(&self, row: &Deployment) -> Result<()> {
        let Some(project) = self.known_project(row.project_id).await? else { return Ok(()) };
        let credential = Credential::ProjectKey(&project.key);
        gone_is_fine(
            self.ghost
                .delete_deployment(CallContext::within(STEP), credential, &project.id, &row.ogel_deployment_id)
                .await,
        )
    }

    fn opened(&self, id: ProjectId, ghost_id: &str, sealed: &str) -> Result<GhostProject> {
        let key = self.sealer.open(&key_context(id), sealed).map_err(Error::internal)?;
        let key = String::from_utf8(key).map_err(Error::internal)?;
        Ok(GhostProject { id: ghost_id.to_owned(), key: Arc::from(key) })
    }
}

pub(crate) fn key_context(id: ProjectId) -> String {
    format!("ghost key of {id}")
}

fn gone_is_fine<T>(result: Result<T, ogel_ghost::GhostError>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.code == ErrorCode::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Everybody who waited for the same work gets the same failure.
#[expect(clippy::needless_pass_by_value, reason = "the form `map_err` hands it over in")]
pub(crate) fn shared(failure: Arc<Failure>) -> Failure {
    let Failure(error) = &*failure;
    let cause = error.cause.as_ref().map_or_else(String::new, ToString::to_string);
    let mut copy = Error::new(error.code, error.message.clone()).from_source(error.source).caused_by(cause);
    copy.retry_after = error.retry_after;
    copy.into()
}

/// Seconds the token's own `exp` leaves; two minutes where it cannot be read.
fn lifetime(jwt: &str, now: i64) -> Duration {
    let expires = || {
        let claims = BASE64_URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
        serde_json::from_slice::<serde_json::Value>(&claims).ok()?.get("exp")?.as_i64()
    };
    let seconds = expires().map_or(120, |at| (at - now).clamp(0, 3600));
    Duration::from_secs(seconds.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_as_long_as_they_say() {
        let jwt = |claims: &str| format!("e30.{}.x", BASE64_URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(lifetime(&jwt(r#"{"exp":1900}"#), 1000), Duration::from_secs(900));
        assert_eq!(lifetime(&jwt(r#"{"exp":900}"#), 1000), Duration::ZERO);
        assert_eq!(lifetime("no token", 1000), Duration::from_secs(120));
    }
}
