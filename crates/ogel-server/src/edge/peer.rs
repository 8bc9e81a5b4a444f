//! Who is at the other end of a connection: an address, and the windows its requests count in.

use crate::{limits::Allowance, settings::Settings, state::App};
use http::HeaderMap;
use std::{borrow::Cow, net::IpAddr, sync::Arc};

pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
    /// Found once per connection.
    allowance: Arc<Allowance>,
}

/// Where a request comes from.
pub(crate) struct Address<'a> {
    pub(crate) client: IpAddr,
    pub(crate) allowance: Cow<'a, Arc<Allowance>>,
}

impl Peer {
    pub(crate) fn new(app: &App, address: IpAddr, tls: bool) -> Self {
        let address = address.to_canonical();
        Self { address, tls, allowance: app.limiter.of_address(address) }
    }

    /// The client's address: the peer's own, or what a trusted proxy says.
    pub(crate) fn address_of(&self, _headers: &HeaderMap, _settings: &Settings, _app: &App) -> Address<'_> {
        Address { client: self.address, allowance: Cow::Borrowed(&self.allowance) }
    }
}
