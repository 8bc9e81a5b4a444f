//! Whether the client is still there: one that says nothing is asked, and is gone when it does not answer.

use h2::{Ping, PingPong};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// Silence after which it is asked, and time it has to answer.
const EVERY: Duration = Duration::from_secs(20);

/// Who has heard of the client says so here.
#[derive(Clone, Default)]
pub(super) struct Heart(Arc<AtomicBool>);

impl Heart {
    pub(super) fn beat(&self) {
        self.0.store(true, Relaxed);
    }
}

pub(super) struct Pulse {
    ping: Option<PingPong>,
    heart: Heart,
    is_asked: bool,
    timer: Pin<Box<Sleep>>,
}

impl Pulse {
    pub(super) fn new(ping: Option<PingPong>) -> Self {
        Self { ping, heart: Heart::default(), is_asked: false, timer: Box::pin(sleep(EVERY)) }
    }

    pub(super) fn heart(&self) -> &Heart {
        &self.heart
    }

    /// Ready, once, when the client is gone.
    pub(super) fn poll_stopped(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(ping) = &mut self.ping else { return Poll::Pending };
        if self.is_asked && ping.poll_pong(cx).is_ready() {
            self.is_asked = false;
            self.heart.beat();
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if !self.heart.0.swap(false, Relaxed) {
                if self.is_asked {
                    self.ping = None;
                    return Poll::Ready(());
                }
                // Fails only where a question is on its way already.
                self.is_asked = ping.send_ping(Ping::opaque()).is_ok();
            }
            self.timer.as_mut().reset(Instant::now() + EVERY);
        }
        if self.is_asked && ping.poll_pong(cx).is_ready() {
            self.is_asked = false;
        }
        Poll::Pending
    }
}
