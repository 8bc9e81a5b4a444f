//! Amounts of what was used, as people read them.

use ogel_api::money::grouped;

pub(super) fn count(value: i64) -> String {
    grouped(value.max(0).unsigned_abs())
}

/// `1.5 GB`, in powers of a thousand: that is how traffic is sold.
pub(super) fn bytes(value: i64) -> String {
    let value = value.max(0);
    let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, size)| value >= *size) {
        Some((unit, size)) if value % size == 0 => format!("{} {unit}", value / size),
        Some((unit, size)) => format!("{}.{} {unit}", value / size, value % size * 10 / size),
        None => format!("{value} B"),
    }
}

/// `3h 20m`, `45s`.
pub(super) fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, 0, _) => format!("{}h", grouped(hours.unsigned_abs())),
        (hours, minutes, _) => format!("{}h {minutes}m", grouped(hours.unsigned_abs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(
            [0, 999, 1_000, 1_550_000, 5_000_000_000_000].map(bytes),
            ["0 B", "999 B", "1 kB", "1.5 MB", "5 TB"]
        );
        assert_eq!([0, 60, 61, 3600, 7_200_060].map(duration), ["0s", "1m", "1m 1s", "1h", "2,000h 1m"]);
    }
}
