//! Amounts of money as people read and write them. On the wire they are whole minor units: cents, or yen.

/// `$20.00`, `-€3.50`, `1,234.00 CHF`: for people.
pub fn display(amount: i64, currency: &str) -> String {
    // Currencies without a smaller unit; every other one has a hundredth, or is none that we bill in.
    let whole_only = matches!(currency, "JPY" | "KRW" | "VND" | "CLP" | "ISK");
    let sign = if amount < 0 { "-" } else { "" };
    let value = amount.unsigned_abs();
    let text = match whole_only {
        true => grouped(value),
        false => format!("{}.{:02}", grouped(value / 100), value % 100),
    };
    match currency {
        "USD" => format!("{sign}${text}"),
        "EUR" => format!("{sign}€{text}"),
        "GBP" => format!("{sign}£{text}"),
        other => format!("{sign}{text} {other}"),
    }
}

/// `1,234,567`
pub fn grouped(value: u64) -> String {
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

/// `49.90` in hundredths; none for what is no amount.
pub fn cents(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 2 || !digits(whole) || !digits(part) {
        return None;
    }
    let part: i64 = format!("{part:0<2}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_read_them() {
        assert_eq!(display(123_456_789, "USD"), "$1,234,567.89");
        assert_eq!(display(-350, "EUR"), "-€3.50");
        assert_eq!(display(7, "CHF"), "0.07 CHF");
        assert_eq!(display(1234, "JPY"), "1,234 JPY");
    }

    #[test]
    fn amounts_are_read_to_the_cent_or_not_at_all() {
        assert_eq!(["50", "49.9", "49.90", "0.05"].map(cents), [Some(5000), Some(4990), Some(4990), Some(5)]);
        for bad in ["", ".5", "-1", "1.234", "1,50", "1e3", "92233720368547758.08"] {
            assert_eq!(cents(bad), None, "{bad}");
        }
    }
}
