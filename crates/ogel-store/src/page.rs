//! Pages by keyset: newest first by `(created_at, id)`, so that rows made meanwhile neither repeat nor hide others.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// No page is longer, whatever was asked for.
const MAX_ROWS: u32 = 1000;

/// Later than any row, and written with as many digits of the year, which is what SQLite compares.
const END_OF_TIME: DateTime<Utc> = DateTime::from_timestamp(253_402_300_799, 0).expect("the year 9999 is in range");

/// Which page.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// 1 to 1000; what is outside counts as the nearest.
    pub limit: u32,
    /// The last row of the page before.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

impl PageRequest {
    fn size(&self) -> u32 {
        self.limit.clamp(1, MAX_ROWS)
    }

    /// One more row than asked for tells whether there is another page.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.size()) + 1
    }

    /// The first page starts after a place that no row has: so every page is the same comparison, which an index
    /// answers, and not "no place given or …", which none does.
    pub(crate) fn after_time(&self) -> DateTime<Utc> {
        self.after.map_or(END_OF_TIME, |(at, _)| at)
    }

    pub(crate) fn after_id(&self) -> Uuid {
        self.after.map_or(Uuid::max(), |(_, id)| id)
    }

    /// Cuts what was fetched to a page. `key` is what the rows are ordered by.
    pub(crate) fn page<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> (DateTime<Utc>, Uuid)) -> Page<T> {
        let limit = self.size() as usize;
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
