//! One kept answer, and how it looks in Redis: three numbers and the epochs in one line, then the body as it is.

use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An answer as it is given out again.
#[derive(Debug)]
pub struct Entry {
    /// As in HTTP: 200, or 404 for what is not there.
    pub status: u16,
    pub body: Bytes,
    /// The body's strong tag, quotes included.
    pub etag: Box<str>,
    pub(crate) filled_ms: u64,
    pub(crate) epochs: Box<[u64]>,
    pub(super) refreshing: AtomicBool,
    /// The change up to which its epochs are known to be the current ones; 0 is none.
    pub(super) holds_at: AtomicU64,
}

impl Entry {
    pub fn new(status: u16, body: Bytes, etag: Box<str>) -> Self {
        let (refreshing, holds_at) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { status, body, etag, filled_ms: 0, epochs: Box::default(), refreshing, holds_at }
    }

    pub fn is_negative(&self) -> bool {
        self.status == 404
    }

    pub(crate) fn is_of(&self, epochs: impl Iterator<Item = u64>) -> bool {
        self.epochs.iter().copied().eq(epochs)
    }

    /// True for the first who asks: they fetch a newer one.
    pub fn begin_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::Relaxed)
    }

    /// It did not work out; somebody else may try.
    pub fn end_refresh(&self) {
        self.refreshing.store(false, Ordering::Relaxed);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let epochs: Vec<String> = self.epochs.iter().map(u64::to_string).collect();
        let head = format!("1 {} {} {} {}\n", self.status, self.filled_ms, self.etag, epochs.join(","));
        [head.as_bytes(), &self.body].concat()
    }

    /// None for what another build has written.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let mut words = std::str::from_utf8(&bytes[..end]).ok()?.split(' ');
        if words.next()? != "1" {
            return None;
        }
        let (status, filled_ms, etag) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
        let epochs = words.next()?.split(',').filter(|text| !text.is_empty()).map(str::parse);
        let epochs = epochs.collect::<Result<_, _>>().ok()?;
        Some(Self { filled_ms, epochs, ..Self::new(status, bytes.slice(end + 1..), etag.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_and_what_others_wrote_does_not() {
        let mut entry = Entry::new(200, Bytes::from_static(b"{\n}"), "\"ab\"".into());
        (entry.filled_ms, entry.epochs) = (7, [1, 2].into());
        let back = Entry::decode(&entry.encode().into()).unwrap();
        assert_eq!((back.status, &back.body[..], &*back.etag), (200, &b"{\n}"[..], "\"ab\""));
        assert!(back.filled_ms == 7 && back.is_of([1, 2].into_iter()) && !back.is_of([1].into_iter()));
        for other in ["", "1 200", "2 200 7 \"ab\" 1\nx", "1 x 7 \"ab\" 1\nx"] {
            assert!(Entry::decode(&Bytes::from_static(other.as_bytes())).is_none(), "{other}");
        }
    }
}
