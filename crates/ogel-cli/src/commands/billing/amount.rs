//! Amounts as people read and write them.

/// `$1,234.50`; `1,234.50 CHF`. The currencies we bill in have hundredths, these apart.
pub(super) fn money(amount: i64, currency: &str) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let value = amount.unsigned_abs();
    let text = match currency {
        "JPY" | "KRW" | "VND" | "CLP" | "ISK" => grouped(value),
        _ => format!("{}.{:02}", grouped(value / 100), value % 100),
    };
    match currency {
        "USD" => format!("{sign}${text}"),
        "EUR" => format!("{sign}€{text}"),
        "GBP" => format!("{sign}£{text}"),
        other => format!("{sign}{text} {other}"),
    }
}

/// `49.90` in hundredths; none for what is no amount.
pub(super) fn cents(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 2 || !digits(whole) || !digits(part) {
        return None;
    }
    let part: i64 = format!("{part:0<2}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(part)
}

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

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!((money(123_450, "USD"), money(-5, "CHF")), ("$1,234.50".into(), "-0.05 CHF".into()));
        assert_eq!(
            [0, 999, 1_000, 1_550_000, 5_000_000_000_000].map(bytes),
            ["0 B", "999 B", "1 kB", "1.5 MB", "5 TB"]
        );
        assert_eq!([0, 60, 61, 3600, 7_200_060].map(duration), ["0s", "1m", "1m 1s", "1h", "2,000h 1m"]);
    }

    #[test]
    fn amounts_are_read_to_the_cent_or_not_at_all() {
        assert_eq!(["50", "49.9", "49.90", "0.05"].map(cents), [Some(5000), Some(4990), Some(4990), Some(5)]);
        for bad in ["", ".5", "-1", "1.234", "1,50", "1e3", "92233720368547758.08"] {
            assert_eq!(cents(bad), None, "{bad}");
        }
    }
}
