//! Mechanism for talking to an HTTP upstream: canonical URIs, header allow-lists, connectors, pools of kept
//! connections to several addresses, a breaker, retries under a budget, streamed bodies, WebSockets.
//!
//! It refuses to know what is being proxied: no resource names, no Ghost, no web framework, no configuration files.
//! Everything here is bounded: each wait has a limit, each body a size, each retry a budget.
//!
//! # Layout
//! - [`uri`]: paths that mean one thing only, and upstream paths built from segments
//! - [`headers`]: what may pass from one side to the other; [`forward`]: a request made fit for an upstream, and its
//!   response for the client; [`client_address()`]: who that client is
//! - [`http1`]: messages on the wire, for whoever reads or writes them
//! - [`connector`]: how a connection is opened; tests put faults in here
//! - [`upstream`]: one request to one upstream, and what can go wrong with it ([`error`]); below it its addresses, their
//!   pools, its [`breaker`]; [`outgoing`] and `body.rs`: what streams to it and from it; [`attempts`]: what was tried
//! - [`retry`]: when to try again, and when the budget says no
//! - [`websocket`]: the upgrade, with bounded messages; [`relay()`]: two of them joined

mod addresses;
pub mod attempts;
mod body;
pub mod breaker;
pub mod client_address;
mod connection;
pub mod connector;
mod delivery;
pub mod error;
mod exchange;
pub mod forward;
pub mod headers;
pub mod http1;
pub mod outgoing;
mod pool;
pub mod relay;
pub mod retry;
mod upload;
pub mod upstream;
pub mod uri;
pub mod websocket;

pub use addresses::EjectionConfig;
pub use attempts::{Attempt, AttemptLog, Outcome};
pub use body::UpstreamBody;
pub use breaker::{BreakerConfig, BreakerState};
pub use client_address::client_address;
pub use connector::{BoxFuture, Connect, Connector, Io, Stream};
pub use error::{ConnectReason, UpstreamError};
pub use forward::{ForwardRules, Forwarded, Passing};
pub use headers::HeaderRules;
pub use outgoing::{BodyStalled, BodyTooLarge, OutgoingBody};
pub use relay::{RelayEnd, RelayLimits, Relayed, relay};
pub use retry::{Random, Retrier, RetryBudget, RetryPolicy, Verdict};
pub use upstream::{Limits, OnInformational, Place, Question, Replay, Sending, Upstream, UpstreamConfig};
pub use uri::{CanonicalPath, UriError, canonical_path, join, target};
pub use websocket::{WebSocket, WebSocketLimits, accept_key, accept_websocket, connect_websocket, dial_websocket};
