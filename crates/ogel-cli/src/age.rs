//! How long ago, in a word.

use chrono::{DateTime, Utc};
use ogel_api::time::Timestamp;

/// `3m ago`, `2d ago`, `in 5h`; the largest unit that fits, rounded down.
pub(crate) fn relative(at: Timestamp, now_ms: i64) -> String {
    let seconds = (now_ms - DateTime::<Utc>::from(at).timestamp_millis()) / 1000;
    let amount = match seconds.unsigned_abs() {
        0 => return "now".to_owned(),
        s @ 1..60 => format!("{s}s"),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..86_400 => format!("{}h", s / 3600),
        s @ 86_400..31_536_000 => format!("{}d", s / 86_400),
        s => format!("{}y", s / 31_536_000),
    };
    if seconds < 0 { format!("in {amount}") } else { format!("{amount} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_unit_counts() {
        let at: Timestamp = serde_json::from_str("\"1970-01-11T00:00:00Z\"").unwrap();
        let day = 86_400_000;
        for (now_ms, expected) in [
            (10 * day, "now"),
            (10 * day + 59_900, "59s ago"),
            (10 * day + 60_000, "1m ago"),
            (11 * day - 1, "23h ago"),
            (11 * day, "1d ago"),
            (800 * day, "2y ago"),
            (9 * day, "in 1d"),
        ] {
            assert_eq!(relative(at, now_ms), expected);
        }
    }
}
