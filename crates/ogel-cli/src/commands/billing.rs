//! `ogel billing`: what an organization pays for, used and was billed.

mod amount;

use crate::{
    Context, Result,
    args::{BillingArgs, BillingCommand, BudgetCommand},
    commands::billing::amount::{bytes, count, duration},
    failure::Failure,
    lookup, plain, table,
};
use ogel_api::{
    billing::{
        Billing, Budget, BudgetAction, Invoice, InvoiceLine, LineKind, Metric, PlanDetails, SetBudget, UsageGroup,
    },
    id::{InvoiceId, OrganizationId},
    money::{self, display as money},
    time::Timestamp,
};
use ogel_client::{Client, UsageQuery};

pub(crate) async fn run(context: &Context, args: BillingArgs) -> Result {
    let client = context.client()?;
    let command = args.command.unwrap_or(BillingCommand::Plan);
    if matches!(command, BillingCommand::Plans) {
        return plans(context, &client).await;
    }
    let id = lookup::organization_or_only(context, &client, args.organization.as_deref()).await?;
    match command {
        BillingCommand::Plans | BillingCommand::Plan => show(context, &client, id).await,
        BillingCommand::Change { plan, yes } => change(context, &client, id, &plan, yes).await,
        BillingCommand::Portal => portal(context, &client, id).await,
        BillingCommand::Usage { from, to, by } => usage(context, &client, id, (from, to), by.as_deref()).await,
        BillingCommand::Invoices => invoices(context, &client, id).await,
        BillingCommand::Invoice { id: invoice, html } => one_invoice(context, &client, id, &invoice, html).await,
        BillingCommand::Budget { command } => budget(context, &client, id, command).await,
    }
}

/// How a quantity of a metric is read best.
fn quantity(metric: Metric, value: i64) -> String {
    match metric {
        Metric::EgressBytes => bytes(value),
        Metric::BuildSeconds => duration(value),
        Metric::Requests | Metric::Deployments | Metric::Unrecognized => count(value),
    }
}

fn label(metric: Metric) -> &'static str {
    match metric {
        Metric::Requests => "requests",
        Metric::EgressBytes => "traffic",
        Metric::BuildSeconds => "build time",
        Metric::Deployments => "deployments",
        Metric::Unrecognized => "something else",
    }
}

/// The day of a moment; the whole of it when that is what matters.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

async fn plans(context: &Context, client: &Client) -> Result {
    let list = client.list_plans().await.map_err(|error| context.explain(error))?;
    if context.output.json {
        return context.output.json(&list.plans);
    }
    let included = |plan: &PlanDetails, metric| {
        let usage = plan.usage.iter().find(|usage| usage.metric == metric);
        usage.map_or(String::new(), |usage| quantity(metric, usage.included))
    };
    let row = |plan: &PlanDetails| {
        let rate = format!("{}/{} s", count_u(plan.limits.requests_per_window), plan.limits.window_seconds);
        vec![
            plan.plan.to_string(),
            format!("{}/month", money(plan.price, &plan.currency)),
            rate,
            included(plan, Metric::Requests),
            included(plan, Metric::EgressBytes),
            included(plan, Metric::BuildSeconds),
            included(plan, Metric::Deployments),
            format!("{} days", plan.limits.build_log_days),
        ]
    };
    let rows: Vec<_> = list.plans.iter().map(row).collect();
    let head = ["PLAN", "PRICE", "RATE PER KEY", "REQUESTS", "TRAFFIC", "BUILD TIME", "DEPLOYMENTS", "LOGS KEPT"];
    context.output.data(&table::render(&head, &rows))
}

fn count_u(value: u64) -> String {
    if value == 0 { "no limit".to_owned() } else { count(i64::try_from(value).unwrap_or(i64::MAX)) }
}

async fn show(context: &Context, client: &Client, id: OrganizationId) -> Result {
    let billing = client.get_billing(id).await.map_err(|error| context.explain(error))?;
    if context.output.json {
        return context.output.json(&billing);
    }
    context.output.data(&overview(&billing))?;
    if let Some(reason) = &billing.deployments_paused {
        context.output.warn(&format!("deployments are paused: {reason}"));
    }
    Ok(())
}

fn overview(billing: &Billing) -> String {
    let currency = &billing.currency;
    let plan = format!("{} ({}/month)", billing.plan.name, money(billing.plan.price, currency));
    let head = table::pairs(&[
        ("plan", plan),
        ("period", format!("{} to {}", day(billing.period_start), day(billing.period_end))),
        ("so far", money(billing.total, currency)),
        ("forecast", money(billing.forecast, currency)),
    ]);
    let rows: Vec<_> = billing
        .usage
        .iter()
        .map(|usage| {
            let share = match usage.included {
                0 => "-".to_owned(),
                included => format!("{}%", i128::from(usage.quantity) * 100 / i128::from(included)),
            };
            let metric = usage.metric;
            vec![label(metric).to_owned(), quantity(metric, usage.quantity), quantity(metric, usage.included), share]
        })
        .collect();
    let mut text = format!("{head}\n\n{}", table::render(&["USAGE", "USED", "INCLUDED", "SHARE"], &rows));
    if !billing.lines.is_empty() {
        text.push_str(&format!("\n\n{}", lines(&billing.lines, currency)));
    }
    text
}

/// Lines of an invoice with their sum.
fn lines(lines: &[InvoiceLine], currency: &str) -> String {
    let mut rows: Vec<_> = lines
        .iter()
        .map(|line| {
            let quantity = if line.kind == LineKind::Usage { count(line.quantity) } else { String::new() };
            vec![line.description.clone(), quantity, money(line.amount, currency)]
        })
        .collect();
    let total = lines.iter().map(|line| line.amount).sum();
    rows.push(vec!["total".to_owned(), String::new(), money(total, currency)]);
    table::render(&["DESCRIPTION", "QUANTITY", "AMOUNT"], &rows)
}

async fn change(context: &Context, client: &Client, id: OrganizationId, plan: &str, yes: bool) -> Result {
    let plan =
        plan.parse().map_err(|error| Failure::usage(format!("{error}")).hint("`ogel billing plans` lists them"))?;
    let preview = client.preview_subscription(id, plan).await.map_err(|error| context.explain(error))?;
    if preview.from == preview.to {
        context.output.note(&format!("The plan is {plan} already"));
        return if context.output.json { context.output.json(&preview) } else { Ok(()) };
    }
    let currency = &preview.currency;
    context.output.note(&lines(&preview.lines, currency));
    let next = money(preview.next_month, currency);
    context
        .output
        .note(&format!("From {} on {next} a month, for the rest of this month as above", day(preview.period_end)));
    if !yes {
        context.output.note(&format!("Nothing was changed; `ogel billing change {plan} --yes` does it"));
        return if context.output.json { context.output.json(&preview) } else { Ok(()) };
    }
    let changed = client.change_subscription(id, plan).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("The plan is {} now", changed.plan));
    if context.output.json { context.output.json(&changed) } else { context.output.data(changed.plan.as_str()) }
}

async fn portal(context: &Context, client: &Client, id: OrganizationId) -> Result {
    let session = client.create_portal_session(id).await.map_err(|error| context.explain(error))?;
    if context.output.json { context.output.json(&session) } else { context.output.data(&plain::line(&session.url)) }
}

async fn usage(
    context: &Context,
    client: &Client,
    id: OrganizationId,
    (from, to): (Option<String>, Option<String>),
    by: Option<&str>,
) -> Result {
    let group_by: Option<UsageGroup> = by.and_then(|word| word.parse().ok());
    let query = UsageQuery { from: time(from)?, to: time(to)?, metric: None, group_by };
    let report = client.get_usage(id, &query).await.map_err(|error| context.explain(error))?;
    if context.output.json {
        return context.output.json(&report);
    }
    if report.usage.is_empty() {
        context.output.note(&format!("Nothing was used from {} to {}", report.from, report.to));
        return Ok(());
    }
    let row = |usage: &ogel_api::billing::UsageRow| {
        let amount = quantity(usage.metric, usage.quantity);
        let what = label(usage.metric).to_owned();
        match group_by {
            Some(UsageGroup::Hour) => vec![usage.from.map(|at| at.to_string()).unwrap_or_default(), what, amount],
            Some(UsageGroup::Day) => vec![usage.from.map(day).unwrap_or_default(), what, amount],
            Some(UsageGroup::Project) => {
                vec![usage.project_id.map_or("none".to_owned(), |id| id.to_string()), what, amount]
            }
            _ => vec![what, amount],
        }
    };
    let rows: Vec<_> = report.usage.iter().map(row).collect();
    let head: &[&str] = match group_by {
        Some(UsageGroup::Hour) => &["HOUR", "USAGE", "USED"],
        Some(UsageGroup::Day) => &["DAY", "USAGE", "USED"],
        Some(UsageGroup::Project) => &["PROJECT", "USAGE", "USED"],
        _ => &["USAGE", "USED"],
    };
    context.output.data(&table::render(head, &rows))
}

/// A day or a moment.
fn time(text: Option<String>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.clone() };
    match serde_json::from_value(serde_json::Value::String(full)) {
        Ok(at) => Ok(Some(at)),
        Err(_) => {
            Err(Failure::usage(format!("`{text}` is no time")).hint("write `2026-11-01` or `2026-11-01T12:00:00Z`"))
        }
    }
}

async fn invoices(context: &Context, client: &Client, id: OrganizationId) -> Result {
    let invoices = lookup::all(context, async |page| {
        client.list_invoices(id, &page).await.map(|list| (list.invoices, list.pagination))
    });
    let invoices = invoices.await?;
    let row = |invoice: &Invoice| {
        let month = day(invoice.period_start).chars().take(7).collect();
        let total = money(invoice.total, &invoice.currency);
        vec![month, invoice.number.clone(), invoice.status.to_string(), total, invoice.id.to_string()]
    };
    let none = "No invoices yet; one is made for each month with a paid plan, when it is over";
    lookup::show(context, &invoices, none, &["MONTH", "NUMBER", "STATUS", "TOTAL", "ID"], row)
}

async fn one_invoice(context: &Context, client: &Client, id: OrganizationId, invoice: &str, html: bool) -> Result {
    let invoice: InvoiceId = invoice.parse().map_err(|error: ogel_api::id::IdError| {
        Failure::usage(error.to_string()).hint("`ogel billing invoices` shows the ids")
    })?;
    if html {
        let page = client.get_invoice_page(id, invoice).await.map_err(|error| context.explain(error))?;
        return context.output.bytes(page.as_bytes());
    }
    let invoice = client.get_invoice(id, invoice).await.map_err(|error| context.explain(error))?;
    if context.output.json {
        return context.output.json(&invoice);
    }
    let head = table::pairs(&[
        ("invoice", invoice.number.clone()),
        ("period", format!("{} to {}", day(invoice.period_start), day(invoice.period_end))),
        ("status", invoice.status.to_string()),
    ]);
    context.output.data(&format!("{head}\n\n{}", lines(&invoice.lines, &invoice.currency)))
}

async fn budget(context: &Context, client: &Client, id: OrganizationId, command: Option<BudgetCommand>) -> Result {
    let budget = match command {
        None => client.get_budget(id).await.map_err(|error| {
            let is_missing = error.status() == Some(http::StatusCode::NOT_FOUND);
            let failure = context.explain(error);
            if is_missing { failure.hint("`ogel billing budget set AMOUNT` sets one") } else { failure }
        })?,
        Some(BudgetCommand::Set { amount, pause, alert }) => {
            let currency = client.get_billing(id).await.map_err(|error| context.explain(error))?.currency;
            let amount = money::parse(&amount, &currency).ok_or_else(|| {
                let example = match money::decimals(&currency) {
                    0 => "`50`".to_owned(),
                    digits => format!("`50` or `49.{:0<1$}`", 9, usize::try_from(digits).unwrap_or_default()),
                };
                Failure::usage(format!("`{amount}` is no amount of {currency}"))
                    .hint(format!("write it like {example}"))
            })?;
            let action = if pause { BudgetAction::Pause } else { BudgetAction::Notify };
            let alerts_at = (!alert.is_empty()).then_some(alert);
            let budget = SetBudget { amount, alerts_at, action: Some(action) };
            client.set_budget(id, &budget).await.map_err(|error| context.explain(error))?
        }
        Some(BudgetCommand::Rm) => {
            client.delete_budget(id).await.map_err(|error| context.explain(error))?;
            context.output.note("Removed the budget");
            return if context.output.json {
                context.output.json(&serde_json::json!({ "organizationId": id }))
            } else {
                Ok(())
            };
        }
    };
    if context.output.json {
        return context.output.json(&budget);
    }
    context.output.data(&table_of(&budget))?;
    if budget.paused {
        context.output.warn("deployments are paused until the month is over or the budget is raised");
    }
    Ok(())
}

fn table_of(budget: &Budget) -> String {
    let currency = &budget.currency;
    let share = i128::from(budget.spent) * 100 / i128::from(budget.amount.max(1));
    let list = |values: Vec<String>| if values.is_empty() { "none".to_owned() } else { values.join(", ") };
    let then = match budget.action {
        BudgetAction::Pause => "owners are told, new deployments are refused",
        BudgetAction::Notify => "owners are told",
        BudgetAction::Unrecognized => "something this version does not know",
    };
    table::pairs(&[
        ("budget", format!("{} a month", money(budget.amount, currency))),
        ("so far", format!("{} ({share}%)", money(budget.spent, currency))),
        ("alerts at", list(budget.alerts_at.iter().map(|percent| format!("{percent}%")).collect())),
        (
            "raised",
            list(budget.alerts.iter().map(|alert| format!("{}% on {}", alert.percent, day(alert.at))).collect()),
        ),
        ("when used up", then.to_owned()),
    ])
}
