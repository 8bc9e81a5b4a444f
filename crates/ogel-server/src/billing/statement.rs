//! What a month costs: the plans that were held, each for its part of the month, and what was used beyond what they
//! include. Invoices, previews, budgets and the overview are all made from this.

use super::{
    catalog::{Catalog, usage_of},
    money::{Period, charge, prorated},
};
use chrono::{DateTime, TimeDelta, Utc};
use ogel_api::{
    billing::{InvoiceLine, LineKind, Metric, MetricUsage},
    money::grouped,
    organizations::Plan,
};
use ogel_store::PlanSpan;

/// A plan held from one moment to another, or until further notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) plan: Plan,
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: Option<DateTime<Utc>>,
}

impl From<&PlanSpan> for Span {
    fn from(row: &PlanSpan) -> Self {
        Self { plan: row.plan, from: row.started_at, to: row.ended_at }
    }
}

/// The spans of a month without a gap: before the first one the plan was `free`, unless there is none at all.
pub(crate) fn filled(period: Period, spans: Vec<Span>, current: Plan) -> Vec<Span> {
    let mut all = Vec::with_capacity(spans.len() + 1);
    match spans.first() {
        None => all.push(Span { plan: current, from: period.start, to: None }),
        Some(first) if first.from > period.start => {
            all.push(Span { plan: Plan::Free, from: period.start, to: Some(first.from) });
        }
        Some(_) => {}
    }
    all.extend(spans);
    all
}

/// What a month costs.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) lines: Vec<InvoiceLine>,
    pub(crate) total: i64,
    pub(crate) usage: Vec<MetricUsage>,
    spans: Vec<Span>,
    period: Period,
}

impl Statement {
    pub(crate) fn new(catalog: &Catalog, period: Period, spans: Vec<Span>, used: &[(Metric, i64)]) -> Self {
        let mut lines: Vec<_> = spans.iter().filter_map(|span| plan_line(catalog, period, *span)).collect();
        let mut usage = Vec::with_capacity(Metric::ALL.len());
        for &metric in Metric::ALL {
            let quantity = used.iter().filter(|(of, _)| *of == metric).map(|(_, quantity)| quantity).sum();
            let included = spans.iter().map(|span| {
                let included = usage_of(catalog.plan(span.plan), metric).map_or(0, |usage| usage.included);
                prorated(included, period, span.from, span.to.unwrap_or(period.end))
            });
            let included = included.sum();
            usage.push(MetricUsage { metric, quantity, included });
            lines.extend(usage_line(catalog, period, &spans, metric, quantity, included));
        }
        let total = lines.iter().map(|line| line.amount).sum();
        Self { lines, total, usage, spans, period }
    }

    /// What the month would cost if usage went on until its end as it did until `now`.
    pub(crate) fn forecast(&self, catalog: &Catalog, now: DateTime<Utc>) -> i64 {
        let whole = (self.period.end - self.period.start).num_seconds();
        // What the first hours tell says nothing of a month.
        let passed = (now - self.period.start).max(TimeDelta::days(1)).num_seconds().min(whole);
        let scaled = |quantity: i64| charge(quantity, whole, passed);
        let used: Vec<_> = self.usage.iter().map(|usage| (usage.metric, scaled(usage.quantity))).collect();
        Self::new(catalog, self.period, self.spans.clone(), &used).total
    }
}

/// A plan that costs something, for the part of the month it was held.
fn plan_line(catalog: &Catalog, period: Period, span: Span) -> Option<InvoiceLine> {
    let plan = catalog.plan(span.plan);
    let (from, to) = (span.from.max(period.start), span.to.unwrap_or(period.end).min(period.end));
    if plan.price == 0 || from >= to {
        return None;
    }
    let amount = prorated(plan.price, period, from, to);
    let description = format!("Plan {}", plan.name);
    Some(InvoiceLine { kind: LineKind::Plan, description, quantity: 1, amount, from: from.into(), to: to.into() })
}

/// What is charged for usage beyond `included`, at the price of the last plan of the month that sells it.
fn usage_line(
    catalog: &Catalog,
    period: Period,
    spans: &[Span],
    metric: Metric,
    quantity: i64,
    included: i64,
) -> Option<InvoiceLine> {
    let beyond = quantity - included;
    let sold = spans.iter().rev().find_map(|span| {
        let usage = usage_of(catalog.plan(span.plan), metric)?;
        Some((usage.price?, usage.per))
    });
    let (price, per) = sold.filter(|_| beyond > 0)?;
    let (what, included) = (words(metric), grouped(included.max(0).unsigned_abs()));
    Some(InvoiceLine {
        kind: LineKind::Usage,
        description: format!("{what} beyond the {included} included"),
        quantity: beyond,
        amount: charge(beyond, price, per),
        from: period.start.into(),
        to: period.end.into(),
    })
}

/// A metric for people.
fn words(metric: Metric) -> &'static str {
    match metric {
        Metric::Requests => "Requests",
        Metric::EgressBytes => "Bytes sent",
        Metric::BuildSeconds => "Build seconds",
        Metric::Deployments | Metric::Unrecognized => "Deployments",
    }
}

/// What changing from `from` to `to` at `at` adds to the month's invoice: the unused rest as a credit, the new plan's rest.
pub(crate) fn change_lines(catalog: &Catalog, from: Plan, to: Plan, at: DateTime<Utc>) -> Vec<InvoiceLine> {
    let period = Period::of(at);
    let rest = |plan| plan_line(catalog, period, Span { plan, from: at, to: None });
    let credit = rest(from).map(|line| InvoiceLine {
        kind: LineKind::Credit,
        description: format!("{}, unused rest of the month", line.description),
        amount: -line.amount,
        ..line
    });
    credit.into_iter().chain(rest(to)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn month() -> Period {
        Period::of(at("2026-06-10T00:00:00Z"))
    }

    #[test]
    fn a_preview_is_exactly_what_the_invoice_changes_by() {
        let catalog = Catalog::load(&Config::default()).unwrap();
        for seconds in [0, 1, 86_399, 1_000_003, 2_591_999] {
            let (period, now) = (month(), month().start + TimeDelta::seconds(seconds));
            let total = |spans: Vec<Span>| Statement::new(&catalog, period, spans, &[]).total;
            for from in Plan::ALL {
                for to in Plan::ALL {
                    let before = total(vec![Span { plan: *from, from: period.start, to: None }]);
                    let after = total(vec![
                        Span { plan: *from, from: period.start, to: Some(now) },
                        Span { plan: *to, from: now, to: None },
                    ]);
                    let lines = change_lines(&catalog, *from, *to, now);
                    let previewed: i64 = lines.iter().map(|line| line.amount).sum();
                    assert_eq!(after - before, previewed, "{from} to {to} after {seconds} s");
                }
            }
        }
    }

    #[test]
    fn usage_is_charged_beyond_what_the_held_plans_include_of_the_month() {
        let catalog = Catalog::load(&Config::default()).unwrap();
        let middle = at("2026-06-16T00:00:00Z");
        let spans = filled(month(), vec![Span { plan: Plan::Pro, from: middle, to: None }], Plan::Pro);
        let statement = Statement::new(&catalog, month(), spans, &[(Metric::BuildSeconds, 900_120)]);
        // Half of what free includes and half of what pro does.
        let builds = statement.usage.iter().find(|usage| usage.metric == Metric::BuildSeconds).unwrap();
        assert_eq!((builds.quantity, builds.included), (900_120, 180_000 + 720_000));
        let lines: Vec<_> =
            statement.lines.iter().map(|line| (line.description.as_str(), line.quantity, line.amount)).collect();
        assert_eq!(lines, [("Plan Pro", 1, 1000), ("Build seconds beyond the 900,000 included", 120, 2)]);
        assert_eq!(statement.total, 1002);
        // At the end of the 20th, two thirds of the month are over.
        assert_eq!(statement.forecast(&catalog, at("2026-06-21T00:00:00Z")), 1000 + (900_120 * 3 / 2 - 900_000) / 60);
    }

    #[test]
    fn nothing_is_charged_where_nothing_more_is_sold() {
        let catalog = Catalog::load(&Config::default()).unwrap();
        let spans = filled(month(), Vec::new(), Plan::Free);
        let statement = Statement::new(&catalog, month(), spans, &[(Metric::Requests, i64::MAX / 4)]);
        assert_eq!((statement.total, statement.lines.len()), (0, 0));
    }
}
