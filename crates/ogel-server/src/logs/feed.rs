//! One build's newest lines in memory, fed by one subscription at Ghost for as long as anybody watches.

use crate::state::App;
use ogel_api::builds::LogLine;
use ogel_ghost::{RealtimeEvent, channel};
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::watch;

/// Lines kept; older ones are read from Ghost by page.
const KEEP_LINES: usize = 2_000;
/// Bytes of text kept, whatever the number of lines.
const KEEP_BYTES: usize = 1 << 20;

#[derive(Default)]
struct Recent {
    /// Without holes: a line that does not follow the last one starts it afresh.
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Nothing was missed since the last line came: the connection held.
    unbroken: bool,
}

/// What memory can say to somebody who has the lines up to some number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Newer {
    /// These come next.
    Lines(Vec<LogLine>),
    /// There are no newer ones yet.
    None,
    /// Only Ghost can tell.
    Unknown,
}

/// Shared by the build's viewers; its task ends when the last of them drops it.
pub(super) struct Feed {
    recent: Mutex<Recent>,
    /// Counts up whenever there may be something new to read.
    changed: watch::Sender<u64>,
}

impl Feed {
    pub(super) fn start(app: &App, ogel_build_id: &str) -> Arc<Self> {
        let feed = Arc::new(Self { recent: Mutex::default(), changed: watch::channel(0).0 });
        let (weak, state, channel) = (Arc::downgrade(&feed), app.clone(), channel::build_logs(ogel_build_id));
        let gone = feed.changed.clone();
        app.in_background(async move {
            let mut subscription = state.logs.realtime().subscribe(&channel).await;
            loop {
                let event = tokio::select! {
                    event = subscription.next() => event,
                    // Every viewer holds a receiver, so none left means nobody watches.
                    () = gone.closed() => return,
                    () = state.shutdown.cancelled() => return,
                };
                let Some(feed) = weak.upgrade() else { return };
                match event {
                    Some(RealtimeEvent::Log { line, .. }) => feed.push(line),
                    // Connected (again) or fell behind: what was missed is read by page.
                    Some(_) => feed.interrupted(),
                    None => return,
                }
            }
        });
        feed
    }

    /// Resolves when there may be lines after those seen so far.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn bump(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn interrupted(&self) {
        self.recent.lock().unbroken = false;
        self.bump();
    }

    fn push(&self, line: LogLine) {
        let mut recent = self.recent.lock();
        if let Some(last) = recent.lines.back() {
            if line.n <= last.n {
                return;
            }
            if line.n > last.n + 1 {
                *recent = Recent::default();
            }
        }
        recent.unbroken = true;
        recent.bytes += line.text.len();
        recent.lines.push_back(line);
        while recent.lines.len() > KEEP_LINES || recent.bytes > KEEP_BYTES {
            let Some(oldest) = recent.lines.pop_front() else { break };
            recent.bytes -= oldest.text.len();
        }
        drop(recent);
        self.bump();
    }

    /// Up to `limit` lines after number `after`, if memory reaches back that far.
    pub(super) fn after(&self, after: u64, limit: usize) -> Newer {
        let recent = self.recent.lock();
        let (Some(first), Some(last)) = (recent.lines.front(), recent.lines.back()) else { return Newer::Unknown };
        if after >= last.n {
            return if recent.unbroken { Newer::None } else { Newer::Unknown };
        }
        let Some(skip) = (after + 1).checked_sub(first.n).and_then(|skip| usize::try_from(skip).ok()) else {
            return Newer::Unknown;
        };
        Newer::Lines(recent.lines.iter().skip(skip).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ogel_api::builds::LogStream;

    fn feed() -> Feed {
        Feed { recent: Mutex::default(), changed: watch::channel(0).0 }
    }

    fn line(n: u64, bytes: usize) -> LogLine {
        LogLine { n, at: chrono::DateTime::UNIX_EPOCH.into(), stream: LogStream::Stdout, text: "x".repeat(bytes) }
    }

    fn numbers(feed: &Feed, after: u64) -> Option<Vec<u64>> {
        match feed.after(after, 10) {
            Newer::Lines(lines) => Some(lines.iter().map(|line| line.n).collect()),
            Newer::None => Some(Vec::new()),
            Newer::Unknown => None,
        }
    }

    #[test]
    fn memory_answers_only_what_it_has_without_holes() {
        let feed = feed();
        assert_eq!(numbers(&feed, 0), None);
        for n in [5, 6, 6, 7] {
            feed.push(line(n, 1));
        }
        assert_eq!(numbers(&feed, 4), Some(vec![5, 6, 7]));
        assert_eq!(numbers(&feed, 6), Some(vec![7]));
        assert_eq!(numbers(&feed, 7), Some(vec![]));
        assert_eq!(numbers(&feed, 3), None);
        feed.push(line(9, 1));
        assert_eq!(numbers(&feed, 7), None);
        assert_eq!(numbers(&feed, 8), Some(vec![9]));
    }

    #[test]
    fn after_an_interruption_only_ghost_can_tell_what_is_newer() {
        let feed = feed();
        feed.push(line(1, 1));
        feed.interrupted();
        assert_eq!(feed.after(1, 10), Newer::Unknown);
        feed.push(line(2, 1));
        assert_eq!(feed.after(2, 10), Newer::None);
    }

    #[test]
    fn memory_is_bounded_by_lines_and_by_bytes() {
        let feed = feed();
        for n in 1..=(KEEP_LINES as u64 + 10) {
            feed.push(line(n, 1));
        }
        assert_eq!(feed.recent.lock().lines.len(), KEEP_LINES);
        for n in 0..5 {
            feed.push(line(KEEP_LINES as u64 + 11 + n, KEEP_BYTES / 2));
        }
        assert!(feed.recent.lock().lines.len() <= 2);
    }
}
