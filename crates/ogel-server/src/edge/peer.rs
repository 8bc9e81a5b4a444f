//! Who is at the other end of a connection: an address, and the windows its requests count in.

use crate::{
    limits::Allowance,
    secrets::{self, TokenHash},
    settings::Settings,
    state::App,
};
use constant_time_eq::constant_time_eq;
use http::HeaderMap;
use ogel_proxy::{Forwarded, client_address};
use parking_lot::Mutex;
use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Hints that wait at most: there is no use in more.
const MOST_HINTS: usize = 16;

pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    is_tls: bool,
    /// Found once per connection.
    allowance: Arc<Allowance>,
    forwarded: OnceLock<Forwarded>,
    /// What is said to it before its answer, see [`Self::hint`].
    hints: Mutex<Vec<HeaderMap>>,
    has_hints: AtomicBool,
    /// The lock is the connection's alone.
    token: Mutex<Option<LastToken>>,
}

/// The last token that came, and its hash.
struct LastToken {
    text: Box<str>,
    hash: TokenHash,
    /// Ours, not Studio's: the two are looked up in different places.
    is_ours: bool,
}

/// Where a request comes from.
pub(crate) struct Address<'a> {
    pub(crate) client: IpAddr,
    pub(crate) allowance: Cow<'a, Arc<Allowance>>,
}

impl Peer {
    pub(crate) fn new(app: &App, address: IpAddr, is_tls: bool) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            is_tls,
            allowance: app.limiter.of_address(address),
            forwarded: OnceLock::new(),
            hints: Mutex::default(),
            has_hints: AtomicBool::new(false),
            token: Mutex::new(None),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The client's address: the peer's own, or what a trusted proxy says.
    pub(crate) fn address_of(&self, headers: &HeaderMap, settings: &Settings, app: &App) -> Address<'_> {
        let client = client_address(self.address, headers, &settings.trusted);
        if client == self.address {
            return Address { client, allowance: Cow::Borrowed(&self.allowance) };
        }
        Address { client, allowance: Cow::Owned(app.limiter.of_address(client)) }
    }

    /// Early hints (103) for the request that is being answered; only HTTP/1.1, which has one at a time, passes them on.
    pub(crate) fn hint(&self, headers: HeaderMap) {
        let mut hints = self.hints.lock();
        if hints.len() < MOST_HINTS {
            hints.push(headers);
            self.has_hints.store(true, Relaxed);
        }
    }

    /// Those that nobody has passed on yet.
    pub(super) fn take_hints(&self) -> Vec<HeaderMap> {
        if !self.has_hints.load(Relaxed) {
            return Vec::new();
        }
        self.has_hints.store(false, Relaxed);
        std::mem::take(&mut self.hints.lock())
    }

    /// The hash a token is looked up by; none if it cannot be one of ours.
    pub(crate) fn hash_of(&self, token: &str) -> Option<TokenHash> {
        self.remembered_hash(token, true)
    }

    /// The same for a token that others made, which may look like anything.
    pub(crate) fn hash_of_foreign(&self, token: &str) -> TokenHash {
        self.remembered_hash(token, false).unwrap_or_else(|| secrets::token_hash(token))
    }

    fn remembered_hash(&self, token: &str, is_ours: bool) -> Option<TokenHash> {
        let mut last = self.token.lock();
        if let Some(known) = &*last
            && known.is_ours == is_ours
            // A proxy in front may carry many people's requests on one connection: how long this takes must not tell
            // one of them how much of another's token they have guessed.
            && constant_time_eq(known.text.as_bytes(), token.as_bytes())
        {
            return Some(known.hash);
        }
        let hash = (!is_ours || secrets::is_well_formed(token)).then(|| secrets::token_hash(token))?;
        *last = Some(LastToken { text: token.into(), hash, is_ours });
        Some(hash)
    }

    /// What an upstream is told about `client`, who is behind this connection.
    pub(crate) fn forwarded(&self, client: IpAddr) -> Cow<'_, Forwarded> {
        if client == self.address {
            return Cow::Borrowed(self.forwarded.get_or_init(|| Forwarded::new(client, self.is_tls)));
        }
        Cow::Owned(Forwarded::new(client, self.is_tls))
    }
}
