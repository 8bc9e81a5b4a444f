//! Who may call how often. A caller's windows are found once and kept with the caller, so that counting a request is one
//! atomic step and takes no lock.
//!
//! Counted in this process: with several replicas each admits the limit. Next: [`window`], the counting itself.

mod window;

pub use window::{Decision, MAX_LIMIT, Window};

use crate::{config::Config, header_text::HeaderText};
use http::{HeaderName, header};
use ogel_api::{auth::AuthMethod, organizations::Plan};
use sha2::{Digest as _, Sha256};
use std::{net::IpAddr, sync::Arc, time::Duration};
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
    Address(IpAddr),
    /// Tries to log in to an account, by its e-mail address' hash.
    Account([u8; 16]),
    /// The same, from a network where the account is logged in.
    AccountAt([u8; 16], IpAddr),
}

/// The windows of one caller or address.
#[derive(Debug, Default)]
pub struct Allowance {
    calls: Window,
    deploys: Window,
    logins: Window,
    /// Of an address: everything that comes from there.
    floods: Window,
    /// Of an account: wrong passwords.
    attempts: Window,
}

impl Allowance {
    /// The last try to log in turned out to be right.
    pub fn forgive_attempt(&self) {
        self.attempts.give_back();
    }
}

/// Which limit a decision was about, as `RateLimit-Policy` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Calls,
    Deploys,
    Logins,
    Address,
    Account,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Deploys => "deployments",
            Self::Logins => "logins",
            Self::Address => "address",
            Self::Account => "account",
        }
    }
}

/// A decision and what it was about.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    pub policy: Policy,
    pub decision: Decision,
    window_seconds: u64,
}

/// Everybody's windows.
pub struct Limiter {
    holders: moka::sync::Cache<Holder, Arc<Allowance>>,
}

/// Somebody not seen for this long starts afresh; longer than any window.
const FORGET_AFTER: Duration = Duration::from_secs(3600);
const MOST_HOLDERS: u64 = 200_000;

impl Default for Limiter {
    fn default() -> Self {
        Self { holders: moka::sync::Cache::builder().max_capacity(MOST_HOLDERS).time_to_idle(FORGET_AFTER).build() }
    }
}

impl Limiter {
    fn of(&self, holder: Holder) -> Arc<Allowance> {
        self.holders.get_with(holder, Arc::default)
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

    pub fn of_address(&self, address: IpAddr) -> Arc<Allowance> {
        self.of(Holder::Address(network_of(address)))
    }
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
    deploy: u64,
    address: u64,
    account: u64,
    account_window_ms: u64,
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
            deploy: limits.deploy,
            address: limits.address,
            account: limits.login_account,
            account_window_ms: limits.login_account_seconds.clamp(1, 3600) * 1000,
        }
    }

    /// Requests in a window for a caller of this kind.
    pub fn of_caller(&self, method: AuthMethod, plan: Plan) -> u64 {
        match (method, plan) {
            (AuthMethod::ApiKey, Plan::Free | Plan::Unrecognized) => self.keys[0],
            (AuthMethod::ApiKey, Plan::Pro) => self.keys[1],
            (AuthMethod::ApiKey, Plan::Team) => self.keys[2],
            _ => self.session,
        }
    }

    fn ask(&self, policy: Policy, window: &Window, now_ms: u64, limit: u64) -> Option<Verdict> {
        let window_seconds = self.window_ms / 1000;
        (limit > 0).then(|| Verdict { policy, decision: window.take(now_ms, self.window_ms, limit), window_seconds })
    }

    /// The guard against floods from one address.
    pub fn address(&self, allowance: &Allowance, now_ms: u64) -> Option<Verdict> {
        self.ask(Policy::Address, &allowance.floods, now_ms, self.address)
    }

    /// Wrong passwords for one account: slower than the other windows, since a person makes few mistakes.
    pub fn account(&self, allowance: &Allowance, now_ms: u64) -> Option<Verdict> {
        let window_seconds = self.account_window_ms / 1000;
        (self.account > 0).then(|| Verdict {
            policy: Policy::Account,
            decision: allowance.attempts.take(now_ms, self.account_window_ms, self.account),
            window_seconds,
        })
    }

    /// A request of `class` by a caller who has `calls` in a window, or by an address.
    pub fn request(&self, class: Class, allowance: &Allowance, calls: Option<u64>, now_ms: u64) -> Option<Verdict> {
        match class {
            Class::Free => None,
            Class::Login => self.ask(Policy::Logins, &allowance.logins, now_ms, self.login),
            Class::Call => self.ask(Policy::Calls, &allowance.calls, now_ms, calls.unwrap_or(self.anonymous)),
            Class::Deploy => {
                let calls = self.ask(Policy::Calls, &allowance.calls, now_ms, calls.unwrap_or(self.anonymous));
                match calls {
                    Some(verdict) if !verdict.decision.allowed => Some(verdict),
                    calls => self.ask(Policy::Deploys, &allowance.deploys, now_ms, self.deploy).or(calls),
                }
            }
        }
    }
}

const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

impl Verdict {
    pub fn window_seconds(&self) -> u64 {
        self.window_seconds
    }

    /// Seconds until one more is let in, rounded up.
    pub fn reset_seconds(&self) -> u64 {
        self.decision.reset_ms.div_ceil(1000)
    }

    /// Writes both families of headers: `X-RateLimit-*` (`Reset` in Unix seconds) and the IETF draft's fields.
    pub(crate) fn write(&self, headers: &mut http::HeaderMap, text: &mut HeaderText, now_ms: u64) {
        let Decision { limit, remaining, .. } = self.decision;
        let (name, reset) = (self.policy.as_str(), self.reset_seconds());
        headers.insert(X_LIMIT, text.number(limit).value());
        headers.insert(X_REMAINING, text.number(remaining).value());
        headers.insert(X_RESET, text.number((now_ms + self.decision.reset_ms).div_ceil(1000)).value());
        let policy = text.add("\"").add(name).add("\";q=").number(limit).add(";w=").number(self.window_seconds);
        headers.insert(POLICY, policy.value());
        let left = text.add("\"").add(name).add("\";r=").number(remaining).add(";t=").number(reset);
        headers.insert(LIMIT, left.value());
        if !self.decision.allowed {
            headers.insert(header::RETRY_AFTER, text.number(reset).value());
        }
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
    fn the_headers_say_limit_rest_and_time() {
        let limits = Limits::new(&Config::default());
        let allowance = Allowance::default();
        let verdict = limits.request(Class::Call, &allowance, Some(2), 14_000).unwrap();
        let mut headers = http::HeaderMap::new();
        verdict.write(&mut headers, &mut HeaderText::default(), 14_000);
        let text = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(text("ratelimit-policy"), "\"calls\";q=2;w=10");
        assert_eq!(text("ratelimit"), "\"calls\";r=1;t=6");
        assert_eq!((text("x-ratelimit-limit"), text("x-ratelimit-remaining")), ("2".into(), "1".into()));
        assert_eq!(text("x-ratelimit-reset"), "20");
        assert!(!headers.contains_key("retry-after"));
        limits.request(Class::Call, &allowance, Some(2), 14_000).unwrap();
        let refused = limits.request(Class::Call, &allowance, Some(2), 14_000).unwrap();
        refused.write(&mut headers, &mut HeaderText::default(), 14_000);
        assert_eq!(headers["retry-after"].to_str().unwrap(), refused.reset_seconds().to_string());
    }
}
