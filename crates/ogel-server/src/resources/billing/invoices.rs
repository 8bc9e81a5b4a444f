//! Invoices: a list, one with its lines, and the page for people.

use super::organization;
use crate::{
    billing::{
        invoice_page::{self, Words},
        payment::PaymentProvider,
    },
    caller::{Allowed, scope},
    error::Result,
    extract::{Json, NoParameters, Path, PathPair, Query},
    permissions::rule,
    resources::shared::{self, Paged},
    state::App,
};
use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use ogel_api::{
    billing::{Invoice, InvoiceLine, InvoiceList},
    error::Error,
    id::{InvoiceId, OrganizationId},
};

fn wire(row: &ogel_store::Invoice, lines: &[ogel_store::InvoiceLine]) -> Invoice {
    let line = |line: &ogel_store::InvoiceLine| InvoiceLine {
        kind: line.kind,
        description: line.description.clone(),
        quantity: line.quantity,
        amount: line.amount,
        from: line.from_at.into(),
        to: line.to_at.into(),
    };
    Invoice {
        id: row.id,
        organization_id: row.organization_id,
        number: row.number.clone(),
        status: row.status,
        period_start: row.period_start.into(),
        period_end: row.period_end.into(),
        currency: row.currency.clone(),
        total: row.total,
        lines: lines.iter().map(line).collect(),
        created_at: row.created_at.into(),
        paid_at: row.paid_at.map(Into::into),
    }
}

/// The organization's invoices, newest first. One is made for each month with a paid plan, soon after it is over. Takes the
/// role admin.
#[utoipa::path(get, path = "/organizations/{id}/billing/invoices", operation_id = "list_invoices", tag = "billing",
    params(("id" = OrganizationId, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = InvoiceList)), security(("bearer" = [])))]
pub(super) async fn list_invoices(
    State(app): State<App>,
    caller: Allowed<scope::BillingRead>,
    Path(id): Path<OrganizationId>,
    Query(Paged(query)): Query<Paged>,
) -> Result<Json<InvoiceList>> {
    organization(&app, &caller.caller, id, rule::LIST_INVOICES).await?;
    let filters = id.to_string();
    let page = app.store.invoices(id, &query.request(&filters)?).await?;
    let pagination = shared::pagination(&page, &filters);
    Ok(Json(InvoiceList { invoices: page.rows.iter().map(|row| wire(row, &[])).collect(), pagination }))
}

async fn find(
    app: &App,
    caller: &crate::caller::Caller,
    (id, invoice): (OrganizationId, InvoiceId),
) -> Result<(ogel_store::Invoice, Vec<ogel_store::InvoiceLine>)> {
    organization(app, caller, id, rule::GET_INVOICE).await?;
    Ok(app.store.invoice(id, invoice).await?.ok_or_else(|| Error::not_found("invoice", invoice))?)
}

/// One invoice with its lines. Takes the role admin.
#[utoipa::path(get, path = "/organizations/{id}/billing/invoices/{invoice}", operation_id = "get_invoice", tag = "billing",
    params(("id" = OrganizationId, Path), ("invoice" = InvoiceId, Path)),
    responses((status = 200, body = Invoice)), security(("bearer" = [])))]
pub(super) async fn get_invoice(
    State(app): State<App>,
    caller: Allowed<scope::BillingRead>,
    PathPair(id, invoice): PathPair<OrganizationId, InvoiceId>,
    _: Query<NoParameters>,
) -> Result<Json<Invoice>> {
    let (row, lines) = find(&app, &caller.caller, (id, invoice)).await?;
    Ok(Json(wire(&row, &lines)))
}

/// The same as a page to read and print. Takes the role admin.
#[utoipa::path(get, path = "/organizations/{id}/billing/invoices/{invoice}/html", operation_id = "get_invoice_page",
    tag = "billing", params(("id" = OrganizationId, Path), ("invoice" = InvoiceId, Path)),
    responses((status = 200, description = "One page of HTML", content_type = "text/html")), security(("bearer" = [])))]
pub(super) async fn get_invoice_page(
    State(app): State<App>,
    caller: Allowed<scope::BillingRead>,
    PathPair(id, invoice): PathPair<OrganizationId, InvoiceId>,
    _: Query<NoParameters>,
) -> Result<Response> {
    let (row, lines) = find(&app, &caller.caller, (id, invoice)).await?;
    let config = app.config();
    let how_to_pay = PaymentProvider::of(&config).how_to_pay(id);
    let page = invoice_page::page(&row, &lines, &Words { seller: &config.billing.seller, how_to_pay: &how_to_pay });
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "private, no-store"),
        // It has nothing but its own style, and nobody may put it into a frame.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ];
    Ok((headers, page).into_response())
}
