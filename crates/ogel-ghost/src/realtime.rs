//! What Ghost says by itself: log lines and changed deployments, over WebSockets that come back by themselves.
//!
//! Ghost replays nothing. So a subscriber is told `Connected` once its channel is live (again), and reads what it may
//! have missed by page, once; everything after that arrives here. A subscriber slower than Ghost is told `Lagged`
//! instead of being queued for. Refuses to be a source of truth.
//! Next: `realtime/connection.rs`, the task behind a connection; `realtime/frame.rs`, the wire.

mod connection;
mod frame;
mod hub;

use crate::{
    client::Ghost,
    config::{Credential, OwnedCredential},
    model::DeploymentDoc,
};
use hub::{Hub, Signal};
use ogel_api::builds::LogLine;
use parking_lot::Mutex;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{sync::broadcast, task::AbortHandle};

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RealtimeEvent {
    /// The channel is live from here on; `first` is false when it was live before. Read by page what came earlier.
    Connected {
        first: bool,
    },
    Log {
        build_id: Arc<str>,
        line: LogLine,
    },
    Deployment(Arc<DeploymentDoc>),
    /// Events were dropped because they were not taken in time. Read by page what is missing.
    Lagged,
    /// Ghost refuses the credential or the channel. It is asked again every now and then; `Connected` follows if that
    /// helps.
    Refused,
}

/// The realtime connections of one credential: one, and another for every hundred channels beyond the first. Opened at
/// first need. They live as long as a handle or a subscription does; a clone is a reference count.
#[derive(Clone)]
pub struct Realtime(Arc<Inner>);

struct Inner {
    ghost: Ghost,
    credential: OwnedCredential,
    shards: Mutex<Vec<Shard>>,
    counters: Arc<Counters>,
}

/// One connection's channels, and the task that keeps it.
struct Shard {
    hub: Arc<Hub>,
    task: AbortHandle,
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connects: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) unknown_frames: AtomicU64,
}

/// For metrics; all count from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealtimeStats {
    /// Connections that came to be.
    pub connects: u64,
    /// Connections that failed or ended without our wish.
    pub failures: u64,
    /// Frames skipped because we have no use for them or cannot read them.
    pub unknown_frames: u64,
}

impl fmt::Debug for Realtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realtime").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Ghost {
    /// The realtime connections of the platform itself.
    pub fn realtime(&self) -> Realtime {
        self.realtime_as(Credential::Platform)
    }

    /// The realtime connections of `credential`.
    pub fn realtime_as(&self, credential: impl Into<OwnedCredential>) -> Realtime {
        Realtime(Arc::new(Inner {
            ghost: self.clone(),
            credential: credential.into(),
            shards: Mutex::default(),
            counters: Arc::default(),
        }))
    }
}

impl Realtime {
    /// Listens to `channel` (see [`crate::channel`]) until the subscription is dropped. Does not wait for Ghost: the
    /// first event is `Connected`. Must be called on a runtime; the connection's task lives there.
    pub async fn subscribe(&self, channel: &str) -> Subscription {
        let mut shards = self.0.shards.lock();
        let most = self.0.ghost.0.config.realtime.channels_per_connection.max(1);
        let fits = |shard: &&Shard| shard.hub.has(channel) || shard.hub.channels() < most;
        // A channel that is live somewhere is joined there, even when an earlier connection has room again.
        let place = shards.iter().find(|shard| shard.hub.has(channel)).or_else(|| shards.iter().find(fits));
        let hub = match place {
            Some(shard) => shard.hub.clone(),
            None => {
                let hub = Arc::new(Hub::new(self.0.ghost.0.config.realtime.events_per_subscriber));
                let work = connection::Connection {
                    ghost: self.0.ghost.clone(),
                    credential: self.0.credential.clone(),
                    hub: hub.clone(),
                    counters: self.0.counters.clone(),
                };
                let task = tokio::spawn(work.run()).abort_handle();
                shards.push(Shard { hub: hub.clone(), task });
                hub
            }
        };
        let (events, is_live) = hub.join(channel);
        drop(shards);
        let channel = channel.into();
        Subscription { events, greet: is_live, was_live: false, channel, hub, _owner: self.clone() }
    }

    pub fn stats(&self) -> RealtimeStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { connects, failures, unknown_frames } = &*self.0.counters;
        RealtimeStats { connects: read(connects), failures: read(failures), unknown_frames: read(unknown_frames) }
    }
}

/// A place at a channel; dropping it gives it up.
pub struct Subscription {
    events: broadcast::Receiver<Signal>,
    /// The channel was live already when we came, so nobody else will say so.
    greet: bool,
    was_live: bool,
    channel: Box<str>,
    hub: Arc<Hub>,
    _owner: Realtime,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(&self.channel);
    }
}

impl Subscription {
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The next event. Safe to cancel. `None`: no more will come, because the runtime of the connection has ended.
    pub async fn next(&mut self) -> Option<RealtimeEvent> {
        if std::mem::take(&mut self.greet) {
            return Some(self.connected());
        }
        Some(match self.events.recv().await {
            Ok(Signal::Live) => self.connected(),
            Ok(Signal::Refused) => RealtimeEvent::Refused,
            Ok(Signal::Log { build_id, line }) => RealtimeEvent::Log { build_id, line },
            Ok(Signal::Deployment(document)) => RealtimeEvent::Deployment(document),
            Err(broadcast::error::RecvError::Lagged(_)) => RealtimeEvent::Lagged,
            Err(broadcast::error::RecvError::Closed) => return None,
        })
    }

    fn connected(&mut self) -> RealtimeEvent {
        RealtimeEvent::Connected { first: !std::mem::replace(&mut self.was_live, true) }
    }
}

/// Everything that is done with a frame before anybody else sees it, for the fuzzer.
#[cfg(fuzzing)]
pub fn read_frame(text: &str) {
    if let frame::Frame::Event { channels, payload } = frame::Frame::parse(text) {
        for channel in &channels {
            drop(frame::signal(channel, &payload));
        }
    }
}
