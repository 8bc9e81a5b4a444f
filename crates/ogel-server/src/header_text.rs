//! Header values of one answer, written one after the other into memory that the answers of a thread share: its room is
//! used again when all values in it are gone, and most are before the next answer.

use bytes::BytesMut;
use http::HeaderValue;
use std::cell::Cell;

/// What the answers of today need; more only costs an allocation.
const ROOM: usize = 320;
/// For the answers that are under way at the same time.
const BLOCK: usize = 4 << 10;

thread_local! {
    static TEXT: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

pub(crate) struct HeaderText {
    text: BytesMut,
    digits: itoa::Buffer,
}

impl Default for HeaderText {
    fn default() -> Self {
        let mut text = TEXT.take().unwrap_or_default();
        if text.capacity() < ROOM {
            text.reserve(BLOCK);
        }
        Self { text, digits: itoa::Buffer::new() }
    }
}

impl Drop for HeaderText {
    fn drop(&mut self) {
        self.text.clear();
        // Fails only while the thread ends.
        let _ = TEXT.try_with(|text| text.set(Some(std::mem::take(&mut self.text))));
    }
}

impl HeaderText {
    pub(crate) fn add(&mut self, text: &str) -> &mut Self {
        self.text.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.text.extend_from_slice(self.digits.format(number).as_bytes());
        self
    }

    /// Microseconds as milliseconds with three decimals.
    pub(crate) fn millis(&mut self, micros: u64) -> &mut Self {
        let rest = micros % 1000;
        let digit = |value: u64| b'0' + u8::try_from(value % 10).unwrap_or(0);
        self.number(micros / 1000).text.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
        self
    }

    /// What was added since the last value, and is forgotten once `read` has seen it.
    pub(crate) fn read<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> T {
        let done = read(&self.text);
        self.text.clear();
        done
    }

    /// What was added since the last value.
    pub(crate) fn value(&mut self) -> HeaderValue {
        // Texts of ours, visible ASCII all of them.
        HeaderValue::from_maybe_shared(self.text.split().freeze()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_values_that_are_gone_is_used_again_and_no_other() {
        let value = |text: &str| HeaderText::default().add(text).value();
        let kept = value("kept");
        let places: std::collections::HashSet<_> =
            (0..1000).map(|_| value(&"x".repeat(100)).as_bytes().as_ptr()).collect();
        assert!(places.len() <= 2 * BLOCK / 100, "{} places", places.len());
        assert_eq!(kept, "kept");
    }

    #[test]
    fn values_follow_each_other_in_one_piece() {
        let mut text = HeaderText::default();
        assert_eq!(text.add("a;t=").number(12).value(), "a;t=12");
        assert_eq!(text.add("dur=").millis(1_042_007).value(), "dur=1042.007");
        assert_eq!(text.add("read").read(<[u8]>::to_vec), b"read");
        assert_eq!(text.millis(40).value(), "0.040");
    }
}
