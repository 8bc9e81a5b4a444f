//! Amounts of money as people read and write them. On the wire they are whole minor units: cents, or yen.

/// Digits behind the point: how many of them the minor unit of a currency has, by ISO 4217.
pub fn decimals(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

/// `$20.00`, `-€3.50`, `1,234.00 CHF`: for people.
pub fn display(amount: i64, currency: &str) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    let value = amount.unsigned_abs();
    let text = match decimals(currency) {
        0 => grouped(value),
        digits => {
            let unit = 10_u64.pow(digits);
            let width = usize::try_from(digits).unwrap_or_default();
            format!("{}.{:0width$}", grouped(value / unit), value % unit)
        }
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

/// `49.90` in the currency's minor units; none for what is no amount in it.
pub fn parse(text: &str, currency: &str) -> Option<i64> {
    let (whole, part) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let width = usize::try_from(decimals(currency)).ok()?;
    if whole.is_empty() || part.len() > width || !digits(whole) || !digits(part) {
        return None;
    }
    // Few digits, or none at all.
    let part = format!("{part:0<width$}").parse().unwrap_or(0);
    whole.parse::<i64>().ok()?.checked_mul(10_i64.pow(decimals(currency)))?.checked_add(part)
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
        assert_eq!(display(-1_234_005, "KWD"), "-1,234.005 KWD");
    }

    #[test]
    fn amounts_are_read_to_the_minor_unit_or_not_at_all() {
        let usd = |text: &str| parse(text, "USD");
        assert_eq!(["50", "49.9", "49.90", "0.05"].map(usd), [Some(5000), Some(4990), Some(4990), Some(5)]);
        for bad in ["", ".5", "5.", "-1", "1.234", "1,50", "1e3", "92233720368547758.08"] {
            assert_eq!(usd(bad), None, "{bad}");
        }
        assert_eq!((parse("5000", "JPY"), parse("5000.5", "JPY"), parse("5000.0", "JPY")), (Some(5000), None, None));
        assert_eq!(
            (parse("4.5", "KWD"), parse("4.123", "KWD"), parse("4.1234", "KWD")),
            (Some(4500), Some(4123), None)
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        for currency in ["CHF", "JPY", "KWD", "CLF"] {
            for amount in [0, 7, 1234, 99_999] {
                let text = display(amount, currency).replace([',', ' '], "").replace(currency, "");
                assert_eq!(parse(&text, currency), Some(amount), "{text} {currency}");
            }
        }
    }
}
