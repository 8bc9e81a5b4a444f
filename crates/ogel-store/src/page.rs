//! Pages by keyset: newest first by `(created_at, id)`, so that rows made meanwhile neither repeat nor hide others.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Which page.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    pub limit: u32,
    /// The last row of the page before.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

impl PageRequest {
    /// One more row than asked for tells whether there is another page.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    pub(crate) fn after_time(&self) -> Option<DateTime<Utc>> {
        self.after.map(|(at, _)| at)
    }

    pub(crate) fn after_id(&self) -> Option<Uuid> {
        self.after.map(|(_, id)| id)
    }

    /// Cuts what was fetched to a page. `key` is what the rows are ordered by.
    pub(crate) fn page<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> (DateTime<Utc>, Uuid)) -> Page<T> {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(key) } else { None };
        Page { rows, next }
    }
}

/// Some rows, and where the next page starts if there is one.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub next: Option<(DateTime<Utc>, Uuid)>,
}
