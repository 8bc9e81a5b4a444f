//! Header values of one answer, written one after the other into one piece of memory: an allocation for all of them.

use bytes::BytesMut;
use http::HeaderValue;

pub(crate) struct HeaderText {
    text: BytesMut,
    digits: itoa::Buffer,
}

impl Default for HeaderText {
    fn default() -> Self {
        // What the answers of today need; more only costs another allocation.
        Self { text: BytesMut::with_capacity(320), digits: itoa::Buffer::new() }
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
    fn values_follow_each_other_in_one_piece() {
        let mut text = HeaderText::default();
        assert_eq!(text.add("a;t=").number(12).value(), "a;t=12");
        assert_eq!(text.add("dur=").millis(1_042_007).value(), "dur=1042.007");
        assert_eq!(text.millis(40).value(), "0.040");
    }
}
