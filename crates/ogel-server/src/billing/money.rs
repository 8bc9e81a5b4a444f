//! Months, and how amounts are divided: whole minor units, nothing lost and nothing made.
//!
//! A price for a month becomes a running total: at each moment the share of the month that has passed, rounded half up.
//! A part of the month costs the difference of the totals at its two ends. So the parts of a month, however it is cut, add
//! up to the price exactly.

use chrono::{DateTime, Datelike as _, Months, NaiveTime, TimeZone as _, Utc};

/// A calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) start: DateTime<Utc>,
    /// Not part of it.
    pub(crate) end: DateTime<Utc>,
}

impl Period {
    /// The month `at` is in.
    pub(crate) fn of(at: DateTime<Utc>) -> Self {
        let first = at.date_naive().with_day(1).expect("every month has a first day");
        let start = Utc.from_utc_datetime(&first.and_time(NaiveTime::MIN));
        Self { start, end: start + Months::new(1) }
    }

    pub(crate) fn next(self) -> Self {
        Self { start: self.end, end: self.end + Months::new(1) }
    }
}

/// What of `amount`, which is for the whole month, belongs to the time from `from` to `to`; times outside count as the
/// nearest end.
pub(crate) fn prorated(amount: i64, period: Period, from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    running(amount, period, to) - running(amount, period, from.min(to))
}

/// The running total at `at`.
fn running(amount: i64, period: Period, at: DateTime<Utc>) -> i64 {
    let passed = (at.clamp(period.start, period.end) - period.start).num_milliseconds();
    let whole = (period.end - period.start).num_milliseconds();
    rounded(i128::from(amount) * i128::from(passed), i128::from(whole))
}

/// What `quantity` costs where each `per` costs `price`, rounded half up.
pub(crate) fn charge(quantity: i64, price: i64, per: i64) -> i64 {
    rounded(i128::from(quantity) * i128::from(price), i128::from(per.max(1)))
}

/// `over / under`, half up; what would not fit is the most there is.
fn rounded(over: i128, under: i128) -> i64 {
    i64::try_from((2 * over + under).div_euclid(2 * under)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Entropy;
    use chrono::TimeDelta;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_is_as_long_as_the_calendar_says() {
        let february = Period::of(at("2028-02-29T23:59:59.999Z"));
        assert_eq!((february.start, february.end), (at("2028-02-01T00:00:00Z"), at("2028-03-01T00:00:00Z")));
        assert_eq!(Period::of(february.end).start, february.end);
        assert_eq!(Period::of(at("2026-12-31T00:00:00Z")).next(), Period::of(at("2027-01-01T00:00:00Z")));
    }

    #[test]
    fn half_a_month_costs_half_and_halves_are_rounded_up() {
        let june = Period::of(at("2026-06-01T00:00:00Z"));
        let middle = at("2026-06-16T00:00:00Z");
        assert_eq!(prorated(2000, june, june.start, middle), 1000);
        assert_eq!((prorated(3, june, june.start, middle), prorated(3, june, middle, june.end)), (2, 1));
        assert_eq!(prorated(2000, june, middle, middle), 0);
        assert_eq!(prorated(2000, june, at("2025-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")), 2000);
    }

    /// A thousand prices, each of a month cut at up to forty places.
    #[test]
    fn however_a_month_is_cut_its_parts_add_up_to_the_price() {
        let random = Entropy::seeded(2026);
        for _ in 0..1000 {
            let period = Period::of(at("2020-01-15T00:00:00Z") + TimeDelta::days((random.next() % 3000) as i64));
            let length = (period.end - period.start).num_milliseconds().unsigned_abs();
            let price = (random.next() % 1_000_000_007) as i64;
            let mut cuts: Vec<_> = (0..random.next() % 40)
                .map(|_| period.start + TimeDelta::milliseconds((random.next() % length) as i64))
                .chain([period.start, period.end])
                .collect();
            cuts.sort();
            let parts: Vec<_> = cuts.windows(2).map(|cut| prorated(price, period, cut[0], cut[1])).collect();
            assert_eq!(parts.iter().sum::<i64>(), price, "{cuts:?}");
            // And no part is further from its exact share than one unit.
            for (part, cut) in parts.iter().zip(cuts.windows(2)) {
                let exact = price as f64 * (cut[1] - cut[0]).num_milliseconds() as f64 / length as f64;
                assert!((*part as f64 - exact).abs() <= 1.0 + 1e-3, "{part} of {exact}");
            }
        }
    }

    #[test]
    fn what_is_used_is_charged_by_its_unit() {
        assert_eq!(charge(1_000_000, 20, 1_000_000), 20);
        assert_eq!((charge(24_999, 20, 1_000_000), charge(25_000, 20, 1_000_000)), (0, 1));
        assert_eq!(charge(i64::MAX, i64::MAX, 1), i64::MAX);
    }
}
