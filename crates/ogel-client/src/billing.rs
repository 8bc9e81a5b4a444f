//! Billing: plans, subscription, usage, invoices, budget.

use crate::{Client, PageQuery, Result, transport::Call};
use http::Method;
use ogel_api::{
    billing::{
        Billing, Budget, ChangeSubscription, Invoice, InvoiceList, Metric, PlanList, PortalSession, SetBudget,
        Subscription, SubscriptionPreview, UsageGroup, UsageReport,
    },
    id::{InvoiceId, OrganizationId},
    organizations::Plan,
    time::Timestamp,
};

/// What a usage report covers; this month until now when nothing is said.
#[derive(Clone, Debug, Default)]
pub struct UsageQuery {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub metric: Option<Metric>,
    pub group_by: Option<UsageGroup>,
}

impl Client {
    /// `GET billing/plans`
    pub async fn list_plans(&self) -> Result<PlanList> {
        self.get(&["billing", "plans"], &[]).await
    }

    /// `GET organizations/{id}/billing`
    pub async fn get_billing(&self, organization: OrganizationId) -> Result<Billing> {
        self.get(&["organizations", &organization.to_string(), "billing"], &[]).await
    }

    /// `GET organizations/{id}/billing/subscription`
    pub async fn get_subscription(&self, organization: OrganizationId) -> Result<Subscription> {
        self.get(&["organizations", &organization.to_string(), "billing", "subscription"], &[]).await
    }

    /// `PUT organizations/{id}/billing/subscription`: at once. Errors: `PAYMENT_REQUIRED` where plans are bought on a
    /// page, which the message names.
    pub async fn change_subscription(&self, organization: OrganizationId, plan: Plan) -> Result<Subscription> {
        self.put(&["organizations", &organization.to_string(), "billing", "subscription"], &ChangeSubscription { plan })
            .await
    }

    /// `POST organizations/{id}/billing/subscription/preview`: what that would cost. Changes nothing.
    pub async fn preview_subscription(&self, organization: OrganizationId, plan: Plan) -> Result<SubscriptionPreview> {
        let id = organization.to_string();
        self.post(&["organizations", &id, "billing", "subscription", "preview"], &ChangeSubscription { plan }).await
    }

    /// `POST organizations/{id}/billing/portal-session`: where to pay. Errors: `CONFLICT` where there is no such page.
    pub async fn create_portal_session(&self, organization: OrganizationId) -> Result<PortalSession> {
        let path = ["organizations", &organization.to_string(), "billing", "portal-session"];
        self.post(&path, &serde_json::Map::new()).await
    }

    /// `GET organizations/{id}/billing/usage`
    pub async fn get_usage(&self, organization: OrganizationId, query: &UsageQuery) -> Result<UsageReport> {
        let words = [
            ("from", query.from.map(|at| at.to_string())),
            ("to", query.to.map(|at| at.to_string())),
            ("metric", query.metric.map(|metric| metric.to_string())),
            ("groupBy", query.group_by.map(|group| group.to_string())),
        ];
        let pairs: Vec<_> = words.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        self.get(&["organizations", &organization.to_string(), "billing", "usage"], &pairs).await
    }

    /// `GET organizations/{id}/billing/invoices`, newest first.
    pub async fn list_invoices(&self, organization: OrganizationId, page: &PageQuery) -> Result<InvoiceList> {
        self.get(&["organizations", &organization.to_string(), "billing", "invoices"], &page.pairs()).await
    }

    /// `GET organizations/{id}/billing/invoices/{invoice}`: with its lines.
    pub async fn get_invoice(&self, organization: OrganizationId, invoice: InvoiceId) -> Result<Invoice> {
        self.get(&["organizations", &organization.to_string(), "billing", "invoices", &invoice.to_string()], &[]).await
    }

    /// `GET organizations/{id}/billing/invoices/{invoice}/html`: a page to read and print.
    pub async fn get_invoice_page(&self, organization: OrganizationId, invoice: InvoiceId) -> Result<String> {
        let (organization, invoice) = (organization.to_string(), invoice.to_string());
        let url = self.url(&["organizations", &organization, "billing", "invoices", &invoice, "html"], &[])?;
        self.text(Call { method: Method::GET, url, body: None }).await
    }

    /// `GET organizations/{id}/billing/budget`. Errors: `NOT_FOUND` while there is none.
    pub async fn get_budget(&self, organization: OrganizationId) -> Result<Budget> {
        self.get(&["organizations", &organization.to_string(), "billing", "budget"], &[]).await
    }

    /// `PUT organizations/{id}/billing/budget`
    pub async fn set_budget(&self, organization: OrganizationId, budget: &SetBudget) -> Result<Budget> {
        self.put(&["organizations", &organization.to_string(), "billing", "budget"], budget).await
    }

    /// `DELETE organizations/{id}/billing/budget`
    pub async fn delete_budget(&self, organization: OrganizationId) -> Result<()> {
        self.done(Method::DELETE, &["organizations", &organization.to_string(), "billing", "budget"]).await
    }
}
