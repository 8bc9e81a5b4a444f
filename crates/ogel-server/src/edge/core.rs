//! What one data-plane thread has to itself: its counters, its log lines, the callers it remembers, its connections.
//!
//! Nothing here is shared with another thread but by being read at a scrape, and `accesses` by what works for one of its
//! requests on the control plane; the locks inside are hardly ever contended.

use crate::{
    access::ThreadAccesses, access_log, billing::metering::ThreadUsage, callers::ThreadCallers, metrics::Counters,
    state::App, world::Entropy,
};
use ogel_ghost::Ghost;
use ogel_proxy::Upstream;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

type SetUp = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct Core {
    pub(crate) app: App,
    /// Connections to Ghost of this thread's own: what is only passed on from Ghost never leaves the thread.
    pub(crate) ghost: Ghost,
    /// And to Studio's backend, where there is one.
    pub(crate) studio: Option<Upstream>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) log: access_log::Buffer,
    /// What its answers count for billing.
    pub(crate) usage: Arc<ThreadUsage>,
    pub(crate) callers: ThreadCallers,
    pub(crate) accesses: ThreadAccesses,
    /// Says that we stop. The thread's own, because each connection waits for it.
    pub(crate) shutdown: CancellationToken,
    /// For ids, which need to be distinct and not secret: a system call less per request.
    pub(crate) entropy: Entropy,
}

impl Core {
    pub(crate) fn new(app: &App) -> Result<Arc<Self>, SetUp> {
        let counters = app.counters();
        let (ghost, studio) = (app.ghost_of_a_thread()?, app.studio_of_a_thread()?);
        let watched = [("ghost", Some(ghost.upstream())), ("studio", studio.as_ref())];
        counters.watch(watched.into_iter().filter_map(|(name, one)| Some((name, one?.clone()))).collect());
        Ok(Arc::new(Self {
            ghost,
            studio,
            log: app.access_log.buffer(counters.clone()),
            counters,
            usage: Arc::new(app.metering.of_a_thread()),
            callers: ThreadCallers::default(),
            accesses: ThreadAccesses::default(),
            shutdown: app.shutdown.child_token(),
            entropy: Entropy::seeded(app.world.entropy.next()),
            app: app.clone(),
        }))
    }
}

/// A request being worked on, or a connection being open; counted down when it ends, however it ends.
pub(crate) struct Counted<'a>(&'a crate::metrics::Counter);

impl<'a> Counted<'a> {
    pub(crate) fn new(counter: &'a crate::metrics::Counter) -> Self {
        counter.add(1);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}
