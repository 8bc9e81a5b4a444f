//! Build logs: a page of lines, or a stream that begins with the history and follows the build to its end.
//!
//! However many people watch a build, this process holds one subscription for it at Ghost ([`feed`]). Each viewer
//! ([`viewer`]) only remembers the number of the last line it sent: what is recent comes from the feed's memory, what is
//! older is read from Ghost by page. A viewer that is slow therefore falls behind and catches up; it never loses a line
//! and never makes this process hold more.

mod events;
mod feed;
pub mod kept;
mod viewer;
mod websocket;

pub(crate) use events::events;
pub(crate) use websocket::websocket;

use crate::{
    bridge::{GhostProject, STEP},
    error::Result,
    pipeline::RequestContext,
    state::App,
};
use feed::Feed;
use ogel_api::{
    builds::{LogLine, LogPage},
    id::BuildId,
    page::Pagination,
};
use ogel_ghost::{CallContext, Credential, Ghost, Realtime};
use ogel_store::Deployment;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, Weak},
};

/// The feeds that somebody watches.
pub struct Logs {
    ghost: Ghost,
    realtime: OnceLock<Realtime>,
    feeds: Mutex<HashMap<BuildId, Weak<Feed>>>,
}

impl Logs {
    pub(crate) fn new(ghost: Ghost) -> Self {
        Self { ghost, realtime: OnceLock::new(), feeds: Mutex::default() }
    }

    /// The one connection on which Ghost tells us things, opened at first need. Control plane only.
    pub(crate) fn realtime(&self) -> &Realtime {
        self.realtime.get_or_init(|| self.ghost.realtime())
    }

    /// The build's feed: somebody else's, or a new one.
    fn feed(&self, app: &App, build: BuildId, ogel_build_id: &str) -> Arc<Feed> {
        let mut feeds = self.feeds.lock();
        if let Some(feed) = feeds.get(&build).and_then(Weak::upgrade) {
            return feed;
        }
        feeds.retain(|_, feed| feed.strong_count() > 0);
        let feed = Feed::start(app, ogel_build_id);
        feeds.insert(build, Arc::downgrade(&feed));
        feed
    }
}

/// Where a build's log is at Ghost, and the key that opens it.
pub(crate) struct Place {
    build: String,
    project: GhostProject,
}

impl Place {
    /// None while Ghost does not know the build yet. Asks the store, so on the control plane only.
    pub(crate) async fn of(app: &App, row: &Deployment) -> Result<Option<Self>> {
        let Some(build) = row.ogel_build_id.clone() else { return Ok(None) };
        Ok(app.bridge.known_project(row.project_id).await?.map(|project| Self { build, project }))
    }

    /// Lines after number `after`, at most `limit`.
    async fn lines(&self, ghost: &Ghost, call: CallContext<'_>, after: u64, limit: u32) -> Result<Vec<LogLine>> {
        let credential = Credential::ProjectKey(&self.project.key);
        Ok(ghost.build_logs(call, credential, &self.build, after, limit).await?.lines)
    }
}

/// Lines after number `after`, at most `limit`: ours once we have them all, else Ghost's over the control plane's
/// connections.
pub(crate) async fn lines(app: &App, row: &Deployment, after: u64, limit: u32) -> Result<Vec<LogLine>> {
    if let Some(lines) = kept::lines(app, row, after, limit).await? {
        return Ok(lines);
    }
    match Place::of(app, row).await? {
        Some(place) => place.lines(&app.ghost, CallContext::within(STEP), after, limit).await,
        None => Ok(Vec::new()),
    }
}

/// Where a page of a log comes from.
pub(crate) enum Source {
    /// From us: these lines, one more than the page has if there are as many.
    Kept(Vec<LogLine>),
    /// From Ghost, unless it does not know the build yet.
    Ghost(Option<Place>),
}

impl Source {
    /// Asks the store, so on the control plane only.
    pub(crate) async fn of(app: &App, row: &Deployment, after: u64, limit: u32) -> Result<Self> {
        match kept::lines(app, row, after, limit + 1).await? {
            Some(lines) => Ok(Self::Kept(lines)),
            None => Ok(Self::Ghost(Place::of(app, row).await?)),
        }
    }
}

/// One page of the log; what comes from Ghost comes over the calling thread's own connections.
pub(crate) async fn page(context: &RequestContext, source: Source, after: u64, limit: u32) -> Result<LogPage> {
    // One more than asked for tells whether there is another page.
    let mut lines = match source {
        Source::Kept(lines) => lines,
        Source::Ghost(Some(place)) => place.lines(&context.core.ghost, context.call(), after, limit + 1).await?,
        Source::Ghost(None) => Vec::new(),
    };
    let has_more = lines.len() > limit as usize;
    lines.truncate(limit as usize);
    let next_cursor = has_more.then(|| lines.last().map(|line| line.n.to_string())).flatten();
    Ok(LogPage { lines, pagination: Pagination { next_cursor, has_more } })
}
