//! Who may call how often. A caller's windows are found once and kept with the caller, so that counting a request is one
//! atomic step and takes no lock.
//!
//! Alone, a process counts for itself ([`window`]); with a Redis, replicas count together ([`share`]), and each for itself
//! again while Redis does not answer. Next: `overrides.rs`, limits that operators set for somebody.

mod overrides;
mod share;
mod window;
mod word;

pub(crate) use overrides::follow;
pub use overrides::{HolderKind, parse_holder};
pub use window::{Decision, MAX_LIMIT, Window};

use crate::{
    caller::Caller,
    config::Config,
    error::Failure,
    state::{App, AppState},
};
use arrayvec::ArrayVec;
use ogel_api::{
    auth::AuthMethod,
    error::{Error, ErrorCode},
    organizations::Plan,
};
use ogel_cache::Lease;
use sha2::{Digest as _, Sha256};
use share::{Ask, Share, Together};
use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use uuid::Uuid;

/// What a request counts as, said by the resource table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Not limited: health checks and the like.
    Free,
    /// Counts against the caller.
    Call,
    /// A login or sign-up: counts against the address, whoever it claims to be.
    Login,
    /// Makes a deployment: counts against the caller twice, once here.
    Deploy,
}

/// Whose windows they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Key(Uuid),
    User(Uuid),
    Organization(Uuid),
    Project(Uuid),
    Address(IpAddr),
    /// Tries to log in to an account, by its e-mail address' hash.
    Account([u8; 16]),
    /// The same, from a network where the account is logged in.
    AccountAt([u8; 16], IpAddr),
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Organization(id) => write!(f, "organization:{id}"),
            Self::Project(id) => write!(f, "project:{id}"),
            Self::Address(address) => write!(f, "address:{address}"),
            Self::Account(hash) => write!(f, "account:{}", hex::encode(hash)),
            Self::AccountAt(hash, address) => write!(f, "account:{}:{address}", hex::encode(hash)),
        }
    }
}

/// The windows of one holder, by [`Policy`].
pub struct Allowance {
    holder: Holder,
    counts: [Count; POLICIES],
}

impl std::fmt::Debug for Allowance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Allowance({})", self.holder)
    }
}

#[derive(Default)]
struct Count {
    /// What this process has let in.
    alone: Window,
    /// Made when replicas first count together.
    together: OnceLock<Arc<Share>>,
    /// A limit that operators set, until when in Unix milliseconds; 0 is none.
    limit: AtomicU64,
    limit_until: AtomicU64,
}

impl Allowance {
    fn new(holder: Holder) -> Self {
        Self { holder, counts: Default::default() }
    }

    fn share(&self, policy: Policy) -> &Arc<Share> {
        let make = || Arc::new(Share::new(format!("{}:{}", policy.as_str(), self.holder)));
        self.counts[policy as usize].together.get_or_init(make)
    }

    /// The limit that holds: an operator's, or the usual one.
    fn limit(&self, policy: Policy, usual: u64, now_ms: u64) -> u64 {
        let count = &self.counts[policy as usize];
        if count.limit_until.load(Ordering::Acquire) > now_ms { count.limit.load(Ordering::Relaxed) } else { usual }
    }

    fn set_limit(&self, policy: Policy, limit: u64, until_ms: u64) {
        let count = &self.counts[policy as usize];
        count.limit.store(limit, Ordering::Relaxed);
        count.limit_until.store(until_ms, Ordering::Release);
    }
}

/// A try that was counted, to be taken back if it turns out to have been right.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    at_ms: u64,
    /// Whether Redis has counted it.
    together: bool,
}

/// Which limit a decision was about, as `RateLimit-Policy` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Calls,
    Deploys,
    Logins,
    Address,
    Account,
    Organization,
    Project,
}

/// How many there are.
pub const POLICIES: usize = Policy::ALL.len();

impl Policy {
    pub const ALL: [Self; 7] =
        [Self::Calls, Self::Deploys, Self::Logins, Self::Address, Self::Account, Self::Organization, Self::Project];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Deploys => "deployments",
            Self::Logins => "logins",
            Self::Address => "address",
            Self::Account => "account",
            Self::Organization => "organization",
            Self::Project => "project",
        }
    }
}

/// A decision and what it was about.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub policy: Policy,
    pub decision: Decision,
    pub window_seconds: u64,
}

/// Everybody's windows.
pub struct Limiter {
    holders: moka::sync::Cache<Holder, Arc<Allowance>>,
    /// Something about overrides was changed here, or elsewhere.
    pub(crate) news: tokio::sync::Notify,
}

/// Somebody not seen for this long starts afresh; longer than any window.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
const MOST_HOLDERS: u64 = 200_000;

impl Default for Limiter {
    fn default() -> Self {
        let holders = moka::sync::Cache::builder().max_capacity(MOST_HOLDERS).time_to_idle(FORGET_AFTER).build();
        Self { holders, news: tokio::sync::Notify::new() }
    }
}

impl Limiter {
    fn of(&self, holder: Holder) -> Arc<Allowance> {
        self.holders.get_with(holder, || Arc::new(Allowance::new(holder)))
    }

    pub fn of_key(&self, id: Uuid) -> Arc<Allowance> {
        self.of(Holder::Key(id))
    }

    pub fn of_user(&self, id: Uuid) -> Arc<Allowance> {
        self.of(Holder::User(id))
    }

    /// Of tries to log in to an account, whether or not there is one with this e-mail address (in lower case).
    pub fn of_account(&self, email: &str) -> Arc<Allowance> {
        self.of(Holder::Account(hash_of(email)))
    }

    pub fn of_account_at(&self, email: &str, address: IpAddr) -> Arc<Allowance> {
        self.of(Holder::AccountAt(hash_of(email), network_of(address)))
    }

    pub fn of_organization(&self, id: Uuid) -> Arc<Allowance> {
        self.of(Holder::Organization(id))
    }

    pub fn of_project(&self, id: Uuid) -> Arc<Allowance> {
        self.of(Holder::Project(id))
    }

    pub fn of_address(&self, address: IpAddr) -> Arc<Allowance> {
        self.of(Holder::Address(network_of(address)))
    }
}

fn account_holder(allowance: &Allowance) -> String {
    format!("{}:{}", Policy::Account.as_str(), allowance.holder)
}

fn hash_of(email: &str) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(email.as_bytes()).into();
    hash[..16].try_into().expect("16 of 32 bytes")
}

/// Whoever has one IPv6 address has the whole /64 it is in.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

/// The limits as configured now.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    window_ms: u64,
    keys: [u64; 3],
    session: u64,
    anonymous: u64,
    login: u64,
    deploy: [u64; 3],
    organization: [u64; 3],
    project: [u64; 3],
    address: u64,
    account: u64,
    account_window_ms: u64,
    strict: bool,
    wait: Duration,
}

/// One window a request counts in, and its limit.
type Want<'a> = (Policy, &'a Allowance, u64);

/// Of three numbers by plan, the one of this plan.
fn by_plan(numbers: [u64; 3], plan: Plan) -> u64 {
    match plan {
        Plan::Pro => numbers[1],
        Plan::Team => numbers[2],
        _ => numbers[0],
    }
}

impl Limits {
    pub fn new(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            window_ms: limits.window_seconds.clamp(1, 3600) * 1000,
            keys: [limits.api_key_free, limits.api_key_pro, limits.api_key_team],
            session: limits.session,
            anonymous: limits.anonymous,
            login: limits.login,
            deploy: [limits.deploy, limits.deploy_pro, limits.deploy_team],
            organization: [limits.organization_free, limits.organization_pro, limits.organization_team],
            project: [limits.project_free, limits.project_pro, limits.project_team],
            address: limits.address,
            account: limits.login_account,
            account_window_ms: limits.login_account_seconds.clamp(1, 3600) * 1000,
            strict: limits.strict,
            wait: Duration::from_millis(config.redis.wait_ms.max(1)),
        }
    }

    /// Requests in a window for a caller of this kind.
    pub fn of_caller(&self, method: AuthMethod, plan: Plan) -> u64 {
        match (method, plan) {
            (AuthMethod::ApiKey, plan) => by_plan(self.keys, plan),
            _ => self.session,
        }
    }

    /// One window's decision: by all replicas together, or else by this one.
    async fn decide(&self, app: &AppState, (policy, allowance, usual): Want<'_>, now_ms: u64) -> Option<Verdict> {
        let limit = allowance.limit(policy, usual, now_ms).min(MAX_LIMIT);
        if limit == 0 {
            return None;
        }
        let (window_ms, window_seconds) = (self.window_ms, self.window_ms / 1000);
        let alone = &allowance.counts[policy as usize].alone;
        if let Some(redis) = app.shared.as_redis() {
            let ask = self.question(limit, now_ms);
            if let Together::Decided(decision) = allowance.share(policy).decide(app, redis, self.wait, ask).await {
                if decision.allowed {
                    // So that counting alone, should it come to that, begins where this ends.
                    alone.take(now_ms, window_ms, limit);
                }
                return Some(Verdict { policy, decision, window_seconds });
            }
        }
        Some(Verdict { policy, decision: alone.take(now_ms, window_ms, limit), window_seconds })
    }

    fn question(&self, limit: u64, now_ms: u64) -> Ask {
        Ask { now_ms, length_ms: self.window_ms, limit, strict: self.strict }
    }

    /// Counts a request in all of the windows or, when one is full, in none. Answers with the one that refuses, or that
    /// has least left.
    async fn admit(&self, app: &AppState, wants: &[Want<'_>], now_ms: u64) -> Option<Verdict> {
        let mut tightest: Option<Verdict> = None;
        for (place, want) in wants.iter().enumerate() {
            let Some(verdict) = self.decide(app, *want, now_ms).await else { continue };
            if !verdict.decision.allowed {
                for (policy, allowance, usual) in &wants[..place] {
                    self.give_back(app, (*policy, allowance, *usual), now_ms);
                }
                return Some(verdict);
            }
            if tightest.is_none_or(|known| verdict.decision.remaining <= known.decision.remaining) {
                tightest = Some(verdict);
            }
        }
        tightest
    }

    fn give_back(&self, app: &AppState, (policy, allowance, usual): Want<'_>, now_ms: u64) {
        let limit = allowance.limit(policy, usual, now_ms);
        if app.shared.as_redis().is_some() {
            allowance.share(policy).give_back(self.question(limit, now_ms));
        }
        allowance.counts[policy as usize].alone.give_back_at(now_ms, self.window_ms);
    }

    /// The guard against floods from one address.
    pub(crate) async fn address(&self, app: &AppState, allowance: &Allowance, now_ms: u64) -> Option<Verdict> {
        self.admit(app, &[(Policy::Address, allowance, self.address)], now_ms).await
    }

    /// Wrong passwords for one account: slower than the other windows, since a person makes few mistakes. Each try is counted at
    /// Redis, where there is one: guessing at many replicas is worth no more than at one. Errors: there were too many.
    pub(crate) async fn account(&self, app: &AppState, allowance: &Allowance, now_ms: u64) -> Result<Tried, Verdict> {
        let (limit, length_ms) = (self.account, self.account_window_ms);
        let mut tried = Tried { at_ms: now_ms, together: false };
        if limit == 0 {
            return Ok(tried);
        }
        let alone = &allowance.counts[Policy::Account as usize].alone;
        let refused = match self.ask_together(app, allowance, now_ms).await {
            Some(None) => {
                tried.together = true;
                // So that counting alone, should it come to that, begins where this ends.
                alone.take(now_ms, length_ms, limit);
                return Ok(tried);
            }
            Some(Some(reset_ms)) => Decision { allowed: false, limit, remaining: 0, reset_ms },
            None => alone.take(now_ms, length_ms, limit),
        };
        match refused.allowed {
            true => Ok(tried),
            false => Err(Verdict { policy: Policy::Account, decision: refused, window_seconds: length_ms / 1000 }),
        }
    }

    /// What all replicas together say of one more try: `None` where nobody answers, else until when it is refused, if it is.
    async fn ask_together(&self, app: &AppState, allowance: &Allowance, now_ms: u64) -> Option<Option<u64>> {
        let redis = app.shared.as_redis().filter(|redis| !redis.limits_are_away())?;
        let holder = account_holder(allowance);
        let lease = self.account_lease(&holder, now_ms, 1);
        let grant = tokio::time::timeout(self.wait, redis.lease(&lease)).await.ok()?.ok()?;
        let elapsed = now_ms % self.account_window_ms;
        Some(
            (grant.granted == 0).then(|| {
                window::until_free(grant.before, grant.current, self.account, self.account_window_ms, elapsed)
            }),
        )
    }

    fn account_lease<'a>(&self, holder: &'a str, now_ms: u64, want: i64) -> Lease<'a> {
        let (limit, length_ms) = (self.account, self.account_window_ms);
        // Each try is asked for, so nothing is on credit; and one that was right is taken back whoever waits.
        Lease { holder, limit, now_ms, length_ms, want, debt: 0, keeps_promises: false }
    }

    /// The try turned out to be right.
    pub(crate) fn forgive(&self, app: &AppState, allowance: &Allowance, tried: Tried) {
        allowance.counts[Policy::Account as usize].alone.give_back_at(tried.at_ms, self.account_window_ms);
        if let (true, Some(redis)) = (tried.together, app.shared.as_redis()) {
            let (limits, redis, holder) = (*self, redis.clone(), account_holder(allowance));
            app.in_passing(async move {
                // Lost, it makes the limit a little tighter for one window.
                let _ = redis.lease(&limits.account_lease(&holder, tried.at_ms, -1)).await;
            });
        }
    }

    /// A request of `class`, by a caller or else from an address.
    pub(crate) async fn request(
        &self,
        app: &AppState,
        class: Class,
        caller: Option<&Caller>,
        address: &Allowance,
        now_ms: u64,
    ) -> Option<Verdict> {
        let mut wants = ArrayVec::<Want<'_>, 4>::new();
        match class {
            Class::Free => return None,
            Class::Login => wants.push((Policy::Logins, address, self.login)),
            Class::Call | Class::Deploy => match caller {
                None => wants.push((Policy::Calls, address, self.anonymous)),
                Some(caller) => {
                    wants.push((Policy::Calls, &caller.allowance, self.of_caller(caller.method, caller.plan)));
                    if let Some(allowance) = &caller.organization_allowance {
                        wants.push((Policy::Organization, allowance, by_plan(self.organization, caller.plan)));
                    }
                    if let Some(allowance) = &caller.project_allowance {
                        wants.push((Policy::Project, allowance, by_plan(self.project, caller.plan)));
                    }
                    if class == Class::Deploy {
                        wants.push((Policy::Deploys, &caller.allowance, by_plan(self.deploy, caller.plan)));
                    }
                }
            },
        }
        self.admit(app, &wants, now_ms).await
    }

    /// A new deployment counts for the organization as well, whoever makes it. Errors: the refusal.
    pub(crate) async fn deployment_of(&self, app: &App, organization: Uuid, plan: Plan) -> Result<(), Failure> {
        let allowance = app.limiter.of_organization(organization);
        let now_ms = app.world.now().timestamp_millis().max(0).unsigned_abs();
        let wants = [(Policy::Deploys, &*allowance, by_plan(self.deploy, plan))];
        match self.admit(app, &wants, now_ms).await {
            Some(verdict) if !verdict.decision.allowed => Err(verdict.refusal()),
            _ => Ok(()),
        }
    }
}

impl Verdict {
    /// Seconds until one more is let in, rounded up.
    pub fn reset_seconds(&self) -> u64 {
        self.decision.reset_ms.div_ceil(1000)
    }

    /// What the caller is told.
    pub(crate) fn refusal(&self) -> Failure {
        let (seconds, limit, what) = (self.reset_seconds(), self.decision.limit, self.policy.as_str());
        let message = format!(
            "too many requests: the limit `{what}` is {limit} per {} seconds; try again in {seconds} s",
            self.window_seconds
        );
        Error::new(ErrorCode::RateLimited, message).retry_after(Duration::from_secs(seconds)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_kind_and_plan() {
        let limits = Limits::new(&Config::default());
        let of = |method, plan| limits.of_caller(method, plan);
        assert_eq!(of(AuthMethod::ApiKey, Plan::Free), 10);
        assert_eq!(of(AuthMethod::ApiKey, Plan::Team), 1000);
        assert_eq!(of(AuthMethod::Session, Plan::Free), 200);
    }

    #[test]
    fn an_ipv6_neighbourhood_is_one_holder() {
        let limiter = Limiter::default();
        let of = |text: &str| limiter.of_address(text.parse().unwrap());
        assert!(Arc::ptr_eq(&of("2001:db8::1"), &of("2001:db8::2:3")));
        assert!(!Arc::ptr_eq(&of("2001:db8::1"), &of("2001:db8:0:1::1")));
        assert!(Arc::ptr_eq(&of("::ffff:10.0.0.1"), &of("10.0.0.1")));
        assert!(!Arc::ptr_eq(&of("10.0.0.1"), &of("10.0.0.2")));
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_back() {
        let window = Window::default();
        let decisions = [(); 3].map(|()| window.take(14_000, 10_000, 2));
        assert_eq!(decisions.map(|decision| decision.allowed), [true, true, false]);
        let refused = Verdict { policy: Policy::Calls, decision: decisions[2], window_seconds: 10 };
        let answer = axum::response::IntoResponse::into_response(refused.refusal());
        assert_eq!(answer.headers()["retry-after"], refused.reset_seconds().to_string());
    }
}
