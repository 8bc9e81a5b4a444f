//! Mechanism for talking to an HTTP upstream: canonical URIs, header allow-lists, connectors, a pool of kept
//! connections, retries under a budget, WebSockets.
//!
//! It refuses to know what is being proxied: no resource names, no Ghost, no web framework, no configuration files.
//! Everything here is bounded: each wait has a limit, each body a size, each retry a budget.
//!
//! # Layout
//! - [`uri`]: paths that mean one thing only, and upstream paths built from segments
//! - [`headers`]: what may pass from one side to the other
//! - [`connector`]: how a connection is opened; tests put faults in here
//! - [`upstream`] with its pool: one request to one upstream, and what can go wrong with it ([`error`])
//! - [`retry`]: when to try again, and when the budget says no
//! - [`websocket`]: the upgrade, with bounded messages

mod body;
pub mod connector;
pub mod error;
pub mod headers;
mod pool;
pub mod retry;
pub mod upstream;
pub mod uri;
pub mod websocket;

pub use body::UpstreamBody;
pub use connector::{BoxFuture, Connect, Connector, Io};
pub use error::{ConnectReason, UpstreamError};
pub use headers::HeaderRules;
pub use retry::{Random, Retrier, RetryBudget, RetryPolicy, Verdict};
pub use upstream::{Limits, Replay, Upstream};
pub use uri::{CanonicalPath, UriError, canonical_path, join};
pub use websocket::{WebSocket, WebSocketLimits, connect_websocket};
