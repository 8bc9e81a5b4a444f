//! What can go wrong between us and an upstream, told apart by what the caller may do about it. Refuses to read
//! meaning into an answer: a 500 that arrived is a response, not an error of this kind.
//! Next: `retry.rs`, which decides by [`UpstreamError::may_have_been_processed`].

use http::StatusCode;
use std::io;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why no connection was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectReason {
    /// Nothing listens there.
    Refused,
    /// No way leads there.
    Unreachable,
    /// The name has no address.
    Dns,
    /// Anything else the system says.
    Other,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// No connection could be opened.
    #[error("the upstream cannot be connected to")]
    Connect {
        reason: ConnectReason,
        #[source]
        source: io::Error,
    },
    /// The connection was not open in time.
    #[error("the upstream did not accept a connection in time")]
    ConnectTimeout,
    /// The TLS handshake failed.
    #[error("no secure connection to the upstream")]
    Tls {
        #[source]
        source: io::Error,
    },
    /// The connection went away before the response was whole. `sent`: whether any of the request had left us.
    #[error("the upstream closed the connection before it had answered")]
    Reset {
        sent: bool,
        #[source]
        source: Cause,
    },
    /// The response did not begin in time, or stopped coming.
    #[error("the upstream accepted the request and stayed silent")]
    FirstByteTimeout,
    /// The request's own deadline passed. `sent`: whether it had left us by then.
    #[error("the deadline passed before the upstream had answered")]
    Deadline { sent: bool },
    /// The response is larger than we read.
    #[error("the upstream's answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    /// What came back is not HTTP, or what we would send is not.
    #[error("the upstream does not speak HTTP as expected")]
    Protocol {
        #[source]
        source: Cause,
    },
    /// A WebSocket upgrade was answered with something else than 101.
    #[error("the upstream refused the upgrade with status {status}")]
    UpgradeRefused { status: StatusCode },
}

impl UpstreamError {
    pub(crate) fn protocol(source: impl Into<Cause>) -> Self {
        Self::Protocol { source: source.into() }
    }

    pub(crate) fn reset(source: impl Into<Cause>) -> Self {
        Self::Reset { sent: true, source: source.into() }
    }

    /// Whether the upstream may have acted on the request. `false` is certain: repeating is then safe for any method.
    pub fn may_have_been_processed(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::ConnectTimeout | Self::Tls { .. } => false,
            Self::Deadline { sent } | Self::Reset { sent, .. } => *sent,
            Self::FirstByteTimeout | Self::TooLarge { .. } | Self::Protocol { .. } | Self::UpgradeRefused { .. } => {
                true
            }
        }
    }

    /// Whether the same request may fare better in a moment.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::ConnectTimeout | Self::Reset { .. } | Self::FirstByteTimeout => true,
            Self::Tls { .. }
            | Self::Deadline { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. }
            | Self::UpgradeRefused { .. } => false,
        }
    }
}
