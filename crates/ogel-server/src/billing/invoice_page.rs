//! An invoice for people: one page of HTML without scripts or anything from outside, which prints as one sheet.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ogel_api::billing::InvoiceStatus;
use ogel_api::money::{display, grouped};
use ogel_store::{Invoice, InvoiceLine};

const STYLE: &str = include_str!("invoice.css");

/// What the page says besides the invoice.
pub(crate) struct Words<'a> {
    /// Who sends it: name and address, a line each.
    pub(crate) seller: &'a str,
    pub(crate) how_to_pay: &'a str,
}

pub(crate) fn page(invoice: &Invoice, lines: &[InvoiceLine], words: &Words<'_>) -> String {
    let month = invoice.period_start.format("%B %Y").to_string();
    let money = |amount| display(amount, &invoice.currency);
    let status = match invoice.status {
        InvoiceStatus::Paid => "Paid",
        InvoiceStatus::Failed => "Payment failed",
        InvoiceStatus::Open | InvoiceStatus::Unrecognized => "Open",
    };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Invoice " (invoice.number) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        div {
                            p.mark { "ogel" }
                            @if !words.seller.is_empty() {
                                address { @for line in words.seller.lines() { (line) br; } }
                            }
                        }
                        div.title {
                            h1 { "Invoice" }
                            p.number { (invoice.number) }
                            p class={ "status " (invoice.status.as_str()) } { (status) }
                        }
                    }
                    section.facts {
                        (fact("Billed to", &html! { (invoice.organization_name) br; span.faint { (invoice.organization_id) } }))
                        (fact("Period", &html! { (month) br; span.faint { (day(invoice.period_start)) " – " (last_day(invoice.period_end)) } }))
                        (fact("Date", &html! { (day(invoice.created_at)) }))
                        @if let Some(at) = invoice.paid_at { (fact("Paid on", &html! { (day(at)) })) }
                    }
                    table {
                        thead { tr { th { "Description" } th.period { "Period" } th.quantity { "Quantity" } th.amount { "Amount" } } }
                        tbody {
                            @for line in lines {
                                tr {
                                    td { (line.description) }
                                    td.period { (day(line.from_at)) " – " (last_day(line.to_at)) }
                                    td.quantity { (grouped(line.quantity.max(0).unsigned_abs())) }
                                    td.amount { (money(line.amount)) }
                                }
                            }
                            @if lines.is_empty() { tr { td colspan="4" { "Nothing was charged in this period." } } }
                        }
                        // The column of periods is left out on narrow screens, so no cell spans it.
                        tfoot { tr { td {} td.period {} td.quantity { "Total" } td.amount { (money(invoice.total)) } } }
                    }
                    @if invoice.status != InvoiceStatus::Paid && !words.how_to_pay.is_empty() {
                        section.pay {
                            h2 { "How to pay" }
                            p { @for line in words.how_to_pay.lines() { (line) br; } }
                        }
                    }
                    footer { "All times are in UTC. A plan held for part of a month costs that part, to the millisecond." }
                }
            }
        }
    };
    markup.into_string()
}

fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { h2 { (name) } p { (value) } } }
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%-d %b %Y").to_string()
}

/// The day an end that is not included falls on.
fn last_day(end: DateTime<Utc>) -> String {
    day(end - TimeDelta::milliseconds(1))
}
