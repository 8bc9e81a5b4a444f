//! How what is remembered of callers and their rights stays true: a change anywhere is known here within a second.
//!
//! The database writes down who a change is about (`ogel_store::IdentityFeed`); one task reads that four times a second,
//! in one statement however many callers there are. What a process changes itself it says here at once, and to the other
//! replicas where there is a Redis (`replicas.rs`), so that they need not wait for the next look. Nothing is
//! pushed: whoever remembers something keeps the [`Version`] it was asked at, and asks here whether that still holds.

use crate::state::App;
use arc_swap::ArcSwap;
use ogel_api::id::UserId;
use ogel_store::{IdentityFeed, IdentityNews};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use uuid::Uuid;

/// How long anything is remembered, changed or not.
pub(crate) const KEPT: Duration = Duration::from_secs(120);
/// How often the database is asked for changes.
const EVERY: Duration = Duration::from_millis(250);
/// Subjects whose change is remembered; beyond that, all are taken for changed.
const MOST: usize = 4096;

/// Grows with every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u64);

/// The changes of late.
pub struct Identities {
    version: AtomicU64,
    recent: ArcSwap<Recent>,
    /// Writers take turns; readers never wait.
    writing: Mutex<()>,
    /// Up to when nothing was missed: milliseconds since `start`, plus one; 0 is never.
    heard: AtomicU64,
    start: Instant,
    /// Changes made here that other replicas have not been told of.
    untold: Mutex<Untold>,
    pub(crate) news: Notify,
}

/// What other replicas are to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Untold {
    pub(crate) everything: bool,
    pub(crate) subjects: Vec<Uuid>,
}

#[derive(Clone, Default)]
struct Recent {
    everything: u64,
    subjects: HashMap<Uuid, (u64, Instant)>,
}

impl Default for Identities {
    fn default() -> Self {
        Self {
            version: AtomicU64::new(0),
            recent: ArcSwap::default(),
            writing: Mutex::default(),
            heard: AtomicU64::new(0),
            start: tokio::time::Instant::now().into_std(),
            untold: Mutex::default(),
            news: Notify::new(),
        }
    }
}

impl Identities {
    /// To be taken before the database is asked for what will be remembered.
    pub(crate) fn version(&self) -> Version {
        Version(self.version.load(Ordering::Acquire))
    }

    /// Whether the database was heard of within `grace`: if not, memory proves nothing any more.
    pub fn is_current(&self, now: Instant, grace: Duration) -> bool {
        let heard = self.heard.load(Ordering::Acquire);
        let Some(heard) = heard.checked_sub(1) else { return false };
        now.saturating_duration_since(self.start) <= Duration::from_millis(heard).saturating_add(grace)
    }

    /// Whether nothing about these subjects has changed since `asked`. If so, that is now known up to the version
    /// returned, and is quicker to say the next time.
    pub(crate) fn holds(&self, asked: Version, subjects: &[Uuid]) -> Option<Version> {
        let version = self.version();
        if asked == version {
            return Some(version);
        }
        let recent = self.recent.load();
        let changed = |subject: &Uuid| recent.subjects.get(subject).is_some_and(|(changed, _)| *changed > asked.0);
        (recent.everything <= asked.0 && !subjects.iter().any(changed)).then_some(version)
    }

    /// Something about this person or project has changed; we have changed it.
    pub fn forget(&self, subject: Uuid) {
        self.forget_here(subject);
        self.tell(|untold| match untold.subjects.len() {
            MOST => untold.everything = true,
            _ => untold.subjects.push(subject),
        });
    }

    /// The same, changed elsewhere.
    pub(crate) fn forget_here(&self, subject: Uuid) {
        self.forget_many([subject], tokio::time::Instant::now().into_std());
    }

    fn tell(&self, add: impl FnOnce(&mut Untold)) {
        add(&mut self.untold.lock());
        self.news.notify_one();
    }

    /// What other replicas are to be told now.
    pub(crate) fn untold(&self) -> Untold {
        std::mem::take(&mut self.untold.lock())
    }

    fn forget_many(&self, subjects: impl IntoIterator<Item = Uuid>, now: Instant) {
        let mut subjects = subjects.into_iter().peekable();
        if subjects.peek().is_none() {
            return;
        }
        self.change(|recent, version| {
            recent.subjects.extend(subjects.map(|subject| (subject, (version, now))));
            if recent.subjects.len() > MOST {
                // What was remembered before that is too old to be used by now.
                recent.subjects.retain(|_, (_, at)| now.saturating_duration_since(*at) <= KEPT);
            }
            if recent.subjects.len() > MOST {
                *recent = Recent { everything: version, ..Recent::default() };
            }
        });
    }

    /// Anything may have changed; we have changed it.
    pub fn forget_all(&self) {
        self.forget_all_here();
        self.tell(|untold| untold.everything = true);
    }

    /// Anything may have changed elsewhere.
    pub(crate) fn forget_all_here(&self) {
        self.change(|recent, version| *recent = Recent { everything: version, ..Recent::default() });
    }

    fn change(&self, change: impl FnOnce(&mut Recent, u64)) {
        let _turn = self.writing.lock();
        let version = self.version.load(Ordering::Relaxed) + 1;
        let mut recent = Recent::clone(&self.recent.load());
        change(&mut recent, version);
        // The version last: whoever sees it sees what changed with it.
        self.recent.store(std::sync::Arc::new(recent));
        self.version.store(version, Ordering::Release);
    }

    fn hear(&self, news: IdentityNews, asked: Instant) {
        match news {
            IdentityNews::Everything => self.forget_all_here(),
            IdentityNews::Subjects(subjects) => self.forget_many(subjects, asked),
        }
        let age = asked.saturating_duration_since(self.start).as_millis();
        self.heard.store(u64::try_from(age).unwrap_or(u64::MAX).saturating_add(1), Ordering::Release);
    }
}

/// Looks at the database's changes until shutdown. On the control plane.
pub(crate) async fn follow(app: &App, mut feed: IdentityFeed) {
    let mut has_failed = false;
    loop {
        let asked = tokio::time::Instant::now();
        match feed.look().await {
            Ok(news) => {
                // Whose role or session has ended acts at Ghost with a token made since, or not at all.
                match &news {
                    IdentityNews::Everything => app.bridge.drop_all_tokens(),
                    IdentityNews::Subjects(subjects) => {
                        for subject in subjects {
                            app.bridge.drop_token(UserId(*subject)).await;
                        }
                    }
                }
                app.identities.hear(news, asked.into_std());
                if std::mem::take(&mut has_failed) {
                    tracing::info!("identity changes are heard of again");
                }
            }
            Err(error) if !std::mem::replace(&mut has_failed, true) => {
                tracing::warn!(%error, "identity changes cannot be read; callers are soon looked up one by one");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep_until(asked + EVERY) => {}
            () = app.shutdown.cancelled() => break,
        }
    }
    feed.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_before_a_change_of_its_subject_does_not_hold() {
        let (identities, now) = (Identities::default(), tokio::time::Instant::now().into_std());
        let (ada, eve) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let asked = identities.version();
        identities.forget_many([ada], now);
        assert_eq!(identities.holds(asked, &[ada]), None);
        assert_eq!(identities.holds(asked, &[eve, ada]), None);
        let renewed = identities.holds(asked, &[eve]).unwrap();
        assert_eq!(renewed, identities.version());
        assert_eq!(identities.holds(renewed, &[ada]), Some(renewed), "asked after the change");
        identities.forget_all();
        assert_eq!(identities.holds(renewed, &[eve]), None);
    }

    #[test]
    fn more_changes_than_are_remembered_are_changes_of_everybody() {
        let (identities, now) = (Identities::default(), tokio::time::Instant::now().into_std());
        let (asked, eve) = (identities.version(), Uuid::from_u128(u128::MAX));
        identities.forget_many((0..MOST as u128).map(Uuid::from_u128), now);
        assert!(identities.holds(asked, &[eve]).is_some());
        identities.forget_many([Uuid::from_u128(MOST as u128)], now);
        assert_eq!(identities.holds(asked, &[eve]), None);
        // Those that nobody can remember any more make room.
        let asked = identities.version();
        identities.forget_many((0..MOST as u128).map(Uuid::from_u128), now + KEPT);
        identities.forget_many([Uuid::from_u128(MOST as u128)], now + KEPT * 3);
        assert!(identities.holds(asked, &[eve]).is_some());
    }

    #[test]
    fn what_changed_here_is_told_once_and_what_others_said_is_not() {
        let (identities, ada) = (Identities::default(), Uuid::from_u128(1));
        identities.forget_here(Uuid::from_u128(2));
        identities.forget(ada);
        assert_eq!(identities.untold(), Untold { everything: false, subjects: vec![ada] });
        assert_eq!(identities.untold(), Untold::default());
        identities.forget_all();
        assert!(identities.untold().everything);
    }

    #[test]
    fn memory_proves_nothing_before_and_long_after_the_database_was_heard_of() {
        let (identities, grace) = (Identities::default(), Duration::from_secs(5));
        let now = identities.start + Duration::from_secs(60);
        assert!(!identities.is_current(now, grace));
        identities.hear(IdentityNews::Subjects(Vec::new()), now);
        assert!(identities.is_current(now + grace, grace));
        assert!(!identities.is_current(now + grace + Duration::from_millis(1), grace));
    }
}
