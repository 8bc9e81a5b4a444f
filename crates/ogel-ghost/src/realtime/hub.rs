//! Who listens to what on one connection. Counts subscribers per channel, keeps the channels that are live, and hands
//! events on through bounded rings. Refuses to wait for anybody: publishing never blocks.
//! Next: `connection.rs`, which compares what is wanted here with what Ghost was asked for.

use crate::model::DeploymentDoc;
use ogel_api::builds::LogLine;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio::sync::{Notify, broadcast};

/// What travels to the subscribers of a channel.
#[derive(Clone, Debug)]
pub(super) enum Signal {
    Live,
    Refused,
    Log { build_id: Arc<str>, line: LogLine },
    Deployment(Arc<DeploymentDoc>),
}

pub(super) struct Hub {
    channels: Mutex<HashMap<Box<str>, Channel>>,
    capacity: usize,
    /// Rings when a channel came or went.
    pub(super) changed: Notify,
}

struct Channel {
    subscribers: usize,
    is_live: bool,
    events: broadcast::Sender<Signal>,
}

impl Hub {
    pub(super) fn new(capacity: usize) -> Self {
        Self { channels: Mutex::default(), capacity: capacity.clamp(1, 1 << 16), changed: Notify::new() }
    }

    pub(super) fn has(&self, channel: &str) -> bool {
        self.channels.lock().contains_key(channel)
    }

    pub(super) fn channels(&self) -> usize {
        self.channels.lock().len()
    }

    /// One subscriber more. Tells whether the channel is live; if not, `Live` will come.
    pub(super) fn join(&self, channel: &str) -> (broadcast::Receiver<Signal>, bool) {
        let mut channels = self.channels.lock();
        if let Some(known) = channels.get_mut(channel) {
            known.subscribers += 1;
            return (known.events.subscribe(), known.is_live);
        }
        let (events, receiver) = broadcast::channel(self.capacity);
        channels.insert(channel.into(), Channel { subscribers: 1, is_live: false, events });
        drop(channels);
        self.changed.notify_one();
        (receiver, false)
    }

    /// One subscriber less.
    pub(super) fn leave(&self, channel: &str) {
        let mut channels = self.channels.lock();
        let Some(known) = channels.get_mut(channel) else { return };
        known.subscribers -= 1;
        if known.subscribers == 0 {
            channels.remove(channel);
            drop(channels);
            self.changed.notify_one();
        }
    }

    /// What to unsubscribe from and what to subscribe to, given what Ghost was asked for.
    pub(super) fn difference(&self, asked: &HashSet<Box<str>>) -> (Vec<Box<str>>, Vec<Box<str>>) {
        let channels = self.channels.lock();
        let gone = asked.iter().filter(|name| !channels.contains_key(*name)).cloned().collect();
        let new = channels.keys().filter(|name| !asked.contains(*name)).cloned().collect();
        (gone, new)
    }

    /// Ghost has confirmed or refused the channel.
    pub(super) fn settle(&self, channel: &str, is_live: bool) {
        if let Some(known) = self.channels.lock().get_mut(channel) {
            known.is_live = is_live;
            // Nobody may be listening any more, which is fine.
            let _ = known.events.send(if is_live { Signal::Live } else { Signal::Refused });
        }
    }

    /// The connection is gone, and with it every channel.
    pub(super) fn all_down(&self) {
        self.channels.lock().values_mut().for_each(|channel| channel.is_live = false);
    }

    /// Ghost refuses the connection itself.
    pub(super) fn refuse_all(&self) {
        for channel in self.channels.lock().values() {
            // Nobody may be listening any more, which is fine.
            let _ = channel.events.send(Signal::Refused);
        }
    }

    pub(super) fn publish(&self, channel: &str, signal: Signal) {
        if let Some(known) = self.channels.lock().get(channel) {
            // Nobody may be listening any more, which is fine.
            let _ = known.events.send(signal);
        }
    }
}
