//! What can go wrong between us and an upstream, told apart by what the caller may do about it. Refuses to read
//! meaning into an answer: a 500 that arrived is a response, not an error of this kind.
//! Next: `retry.rs`, which decides by [`UpstreamError::may_have_been_processed`].

use crate::outgoing::{BodyCause, BodyTooLarge};
use http::StatusCode;
use std::{io, time::Duration};

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
    /// The response did not begin in time.
    #[error("the upstream accepted the request and stayed silent")]
    FirstByteTimeout,
    /// The response's body stopped coming.
    #[error("the upstream stopped in the middle of its answer")]
    BodyIdleTimeout,
    /// The response's body ended before it was whole: fewer bytes than announced, or no last chunk.
    #[error("the upstream's answer was cut off")]
    Truncated {
        #[source]
        source: Cause,
    },
    /// The body of the request broke off, stalled ([`crate::BodyStalled`]) or is too large ([`BodyTooLarge`]). Not the
    /// upstream's fault; its connection was closed, because what it has is half a request.
    #[error("the request's body ended early")]
    RequestBody { source: BodyCause },
    /// The upstream has failed so often that it is left alone for a while. Nothing was sent.
    #[error("the upstream is left alone after too many failures")]
    BreakerOpen { retry_after: Duration },
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
    /// What was configured is no address.
    pub fn bad_address(text: &str) -> Self {
        Self::protocol(format!("`{text}` is no URL with a scheme and a host"))
    }

    pub(crate) fn protocol(source: impl Into<Cause>) -> Self {
        Self::Protocol { source: source.into() }
    }

    pub(crate) fn reset(source: impl Into<Cause>) -> Self {
        Self::Reset { sent: true, source: source.into() }
    }

    /// The cause of [`Self::RequestBody`], if it is its size.
    pub fn request_body_too_large(&self) -> Option<BodyTooLarge> {
        match self {
            Self::RequestBody { source } => source.downcast_ref().copied(),
            _ => None,
        }
    }

    /// One word for the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connect { reason: ConnectReason::Refused, .. } => "refused",
            Self::Connect { reason: ConnectReason::Unreachable, .. } => "unreachable",
            Self::Connect { reason: ConnectReason::Dns, .. } => "dns",
            Self::Connect { reason: ConnectReason::Other, .. } => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls { .. } => "tls",
            Self::Reset { .. } => "reset",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::BodyIdleTimeout => "body_idle_timeout",
            Self::Truncated { .. } => "truncated",
            Self::RequestBody { .. } => "request_body",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Deadline { .. } => "deadline",
            Self::TooLarge { .. } => "too_large",
            Self::Protocol { .. } => "protocol",
            Self::UpgradeRefused { .. } => "upgrade_refused",
        }
    }

    /// Whether the upstream may have acted on the request. `false` is certain: repeating is then safe for any method.
    pub fn may_have_been_processed(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::ConnectTimeout | Self::Tls { .. } | Self::BreakerOpen { .. } => false,
            Self::Deadline { sent } | Self::Reset { sent, .. } => *sent,
            Self::FirstByteTimeout
            | Self::BodyIdleTimeout
            | Self::Truncated { .. }
            | Self::RequestBody { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. }
            | Self::UpgradeRefused { .. } => true,
        }
    }

    /// Whether the same request may fare better in a moment. An open breaker is not: it says itself when to come back.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimeout
            | Self::Reset { .. }
            | Self::FirstByteTimeout
            | Self::BodyIdleTimeout
            | Self::Truncated { .. } => true,
            Self::Tls { .. }
            | Self::Deadline { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. }
            | Self::RequestBody { .. }
            | Self::BreakerOpen { .. }
            | Self::UpgradeRefused { .. } => false,
        }
    }

    /// Whether it is the upstream that is to blame. A deadline is not judged here: how long the upstream had matters.
    pub(crate) fn is_upstreams_fault(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimeout
            | Self::Tls { .. }
            | Self::Reset { .. }
            | Self::FirstByteTimeout
            | Self::BodyIdleTimeout
            | Self::Truncated { .. }
            | Self::Protocol { .. } => true,
            Self::RequestBody { .. }
            | Self::BreakerOpen { .. }
            | Self::Deadline { .. }
            | Self::TooLarge { .. }
            | Self::UpgradeRefused { .. } => false,
        }
    }
}
