//! Invoices: made once for a month that is over, with their lines; and what a payment service says of them.

use crate::{
    Emission, Page, PageRequest, Result, Store,
    pool::{on_read, on_write},
    subscriptions::{PlanChange, change_plan_in},
    webhooks::outbox::emit,
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{
    billing::{InvoiceStatus, LineKind},
    id::{InvoiceId, OrganizationId},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    pub id: InvoiceId,
    pub organization_id: OrganizationId,
    /// As it was called then.
    pub organization_name: String,
    pub number: String,
    pub status: InvoiceStatus,
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    pub currency: String,
    pub total: i64,
    pub created_at: DateTime<Utc>,
    pub paid_at: Option<DateTime<Utc>>,
}
row!(Invoice, columns of "invoices" {
    id,
    organization_id,
    organization_name,
    number,
    status,
    period_start,
    period_end,
    currency,
    total,
    created_at,
    paid_at,
});

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceLine {
    pub kind: LineKind,
    pub description: String,
    pub quantity: i64,
    pub amount: i64,
    pub from_at: DateTime<Utc>,
    pub to_at: DateTime<Utc>,
}
row!(InvoiceLine { kind, description, quantity, amount, from_at, to_at });

/// An organization whose month is to be billed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Billable {
    pub organization_id: OrganizationId,
    /// `None` when it was deleted meanwhile.
    pub name: Option<String>,
}
row!(Billable { organization_id, name });

/// What an event of a payment service changes.
#[derive(Clone, Debug)]
pub enum PaymentChange {
    /// Nothing that is kept here.
    Nothing,
    Invoice {
        id: InvoiceId,
        status: InvoiceStatus,
    },
    Plan(Box<PlanChange>),
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentOutcome {
    Applied,
    /// The thing it is about is not there, or had changed already.
    Unmatched,
    /// It came before.
    Repeated,
}

impl Store {
    /// Organizations that paid for a plan in the month from `start` to `end` and have no invoice for it, at most `limit`.
    pub async fn unbilled(&self, start: DateTime<Utc>, end: DateTime<Utc>, limit: u32) -> Result<Vec<Billable>> {
        Ok(on_read!(self, db => sqlx::query_as(
            "SELECT DISTINCT plan_spans.organization_id, organizations.name FROM plan_spans \
             LEFT JOIN organizations ON organizations.id = plan_spans.organization_id \
             WHERE plan_spans.plan <> 'free' AND plan_spans.started_at < $2 \
               AND (plan_spans.ended_at IS NULL OR plan_spans.ended_at > $1) \
               AND NOT EXISTS (SELECT 1 FROM invoices WHERE invoices.organization_id = plan_spans.organization_id \
                               AND invoices.period_start = $1) \
             ORDER BY plan_spans.organization_id LIMIT $3")
            .bind(start).bind(end).bind(i64::from(limit)).fetch_all(db).await?))
    }

    /// When somebody first paid for a plan: no month before it is ever billed.
    pub async fn first_paid_span(&self) -> Result<Option<DateTime<Utc>>> {
        Ok(on_read!(self, db => sqlx::query_scalar(
            "SELECT started_at FROM plan_spans WHERE plan <> 'free' ORDER BY started_at LIMIT 1")
            .fetch_optional(db).await?))
    }

    /// Whether it was made; `false` when the month was billed already.
    pub async fn create_invoice(&self, invoice: &Invoice, lines: &[InvoiceLine]) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let made = sqlx::query(
                "INSERT INTO invoices (id, organization_id, organization_name, number, status, period_start, period_end, \
                 currency, total, created_at, paid_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
                 ON CONFLICT (organization_id, period_start) DO NOTHING")
                .bind(invoice.id.0).bind(invoice.organization_id.0).bind(&invoice.organization_name).bind(&invoice.number)
                .bind(invoice.status.as_str()).bind(invoice.period_start).bind(invoice.period_end)
                .bind(&invoice.currency).bind(invoice.total).bind(invoice.created_at).bind(invoice.paid_at)
                .execute(&mut *tx).await?.rows_affected() > 0;
            if made {
                for (n, line) in (1i64..).zip(lines) {
                    sqlx::query(
                        "INSERT INTO invoice_lines (invoice_id, n, kind, description, quantity, amount, from_at, to_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
                        .bind(invoice.id.0).bind(n).bind(line.kind.as_str()).bind(&line.description).bind(line.quantity)
                        .bind(line.amount).bind(line.from_at).bind(line.to_at).execute(&mut *tx).await?;
                }
                let as_new = Invoice { status: InvoiceStatus::Open, ..invoice.clone() };
                emit!(tx, &Emission::of_invoice(&as_new, invoice.created_at));
                if invoice.status == InvoiceStatus::Paid {
                    emit!(tx, &Emission::of_invoice(invoice, invoice.created_at));
                }
            }
            tx.commit().await?;
            made
        }))
    }

    /// Newest first. Whether the caller may see them was decided by the organization.
    pub async fn invoices(&self, organization: OrganizationId, request: &PageRequest) -> Result<Page<Invoice>> {
        let rows = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM invoices WHERE organization_id = $1 AND (created_at, id) < ($2, $3) \
             ORDER BY created_at DESC, id DESC LIMIT $4"))
            .bind(organization.0).bind(request.after_time()).bind(request.after_id()).bind(request.fetch())
            .fetch_all(db).await?);
        Ok(request.page(rows, |row: &Invoice| (row.created_at, row.id.0)))
    }

    /// One of the organization's, with its lines in order.
    pub async fn invoice(
        &self,
        organization: OrganizationId,
        id: InvoiceId,
    ) -> Result<Option<(Invoice, Vec<InvoiceLine>)>> {
        let found: Option<Invoice> = on_read!(self, db => sqlx::query_as(concat!(
            "SELECT ", columns!(), " FROM invoices WHERE organization_id = $1 AND id = $2"))
            .bind(organization.0).bind(id.0).fetch_optional(db).await?);
        let Some(invoice) = found else { return Ok(None) };
        let lines = on_read!(self, db => sqlx::query_as(
            "SELECT kind, description, quantity, amount, from_at, to_at FROM invoice_lines WHERE invoice_id = $1 ORDER BY n")
            .bind(id.0).fetch_all(db).await?);
        Ok(Some((invoice, lines)))
    }

    /// For operators, who collect by hand. `false`: there is no such invoice, or it was paid already.
    pub async fn mark_invoice_paid(&self, number: &str, now: DateTime<Utc>) -> Result<bool> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let paid: Option<Invoice> = sqlx::query_as(concat!(
                "UPDATE invoices SET status = 'paid', paid_at = $2 WHERE number = $1 AND status <> 'paid' RETURNING ", columns!()))
                .bind(number).bind(now).fetch_all(&mut *tx).await?.pop();
            if let Some(invoice) = &paid {
                emit!(tx, &Emission::of_invoice(invoice, now));
            }
            tx.commit().await?;
            paid.is_some()
        }))
    }

    /// Acts on an event of a payment service, once: its id is kept in the same transaction. What was paid stays paid.
    pub async fn apply_payment_event(
        &self,
        id: &str,
        kind: &str,
        change: &PaymentChange,
        now: DateTime<Utc>,
    ) -> Result<PaymentOutcome> {
        Ok(on_write!(self, db => {
            let mut tx = db.begin_with(BEGIN).await?;
            let is_new = sqlx::query("INSERT INTO payment_events (id, kind, received_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
                .bind(id).bind(kind).bind(now).execute(&mut *tx).await?.rows_affected() > 0;
            let outcome = if !is_new {
                PaymentOutcome::Repeated
            } else {
                let matched = match change {
                    PaymentChange::Nothing => false,
                    PaymentChange::Invoice { id, status } => {
                        let paid_at = (*status == InvoiceStatus::Paid).then_some(now);
                        let row: Option<Invoice> = sqlx::query_as(concat!(
                            "UPDATE invoices SET status = $2, paid_at = $3 WHERE id = $1 AND status <> 'paid' RETURNING ", columns!()))
                            .bind(id.0).bind(status.as_str()).bind(paid_at).fetch_all(&mut *tx).await?.pop();
                        if let Some(invoice) = &row {
                            emit!(tx, &Emission::of_invoice(invoice, now));
                        }
                        row.is_some()
                    }
                    PaymentChange::Plan(change) => change_plan_in!(tx, change).is_some(),
                };
                if matched { PaymentOutcome::Applied } else { PaymentOutcome::Unmatched }
            };
            tx.commit().await?;
            outcome
        }))
    }

    /// Forgets events older than `before`: a service does not repeat them that late, and their signatures have expired.
    pub async fn delete_old_payment_events(&self, before: DateTime<Utc>) -> Result<u64> {
        Ok(on_write!(self, db => sqlx::query("DELETE FROM payment_events WHERE received_at < $1")
            .bind(before).execute(db).await?.rows_affected()))
    }
}
