//! Billing: plans, what an organization pays for, what it used, invoices, budgets.
//!
//! Every amount is a whole number of the currency's minor unit (cents). A period is a calendar month in UTC.

use crate::{
    id::{InvoiceId, OrganizationId, ProjectId},
    organizations::Plan,
    page::Pagination,
    string_enum::string_enum,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

string_enum! {
    /// What is metered.
    pub enum Metric {
        /// Requests about a project that were passed on to the deployment backend: sites, domains, build logs.
        Requests = "requests",
        /// Bytes of the answers to these requests.
        EgressBytes = "egressBytes",
        /// Seconds that builds took, each begun second counted.
        BuildSeconds = "buildSeconds",
        /// Deployments that were asked for.
        Deployments = "deployments",
    }
}

string_enum! {
    /// What a usage report is added up by.
    pub enum UsageGroup {
        Hour = "hour",
        Day = "day",
        Project = "project",
    }
}

string_enum! {
    /// Where an invoice stands.
    pub enum InvoiceStatus {
        /// Not paid yet.
        Open = "open",
        Paid = "paid",
        /// A payment was tried and failed.
        Failed = "failed",
    }
}

string_enum! {
    /// What one line of an invoice is about.
    pub enum LineKind {
        /// A plan, for the part of the month it was held.
        Plan = "plan",
        /// What was used beyond what the plans include.
        Usage = "usage",
        /// The unused rest of a plan that was left; in previews only.
        Credit = "credit",
    }
}

string_enum! {
    /// What happens when a budget is used up.
    pub enum BudgetAction {
        /// The owners are told.
        Notify = "notify",
        /// They are told, and new deployments are refused until the month is over or the budget is raised.
        Pause = "pause",
    }
}

/// Limits that a plan sets; 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanLimits {
    /// Requests with one API key in a window.
    pub requests_per_window: u64,
    /// How long that window is.
    pub window_seconds: u64,
    /// Deployments in 24 hours, counted by the hour.
    pub deployments_per_day: u64,
    /// Deployments that may wait or build at the same time.
    pub concurrent_builds: u64,
    /// Days a build's log is kept after the build ended.
    #[serde(default)]
    #[schema(required)]
    pub build_log_days: u64,
}

/// What a plan includes of one metric in a month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanUsage {
    pub metric: Metric,
    pub included: i64,
    /// For each `per` beyond; `null`: there is no more to buy. Builds and deployments then stop at what is included,
    /// requests and bytes go on and cost nothing.
    pub price: Option<i64>,
    /// So many of the metric's unit cost `price`.
    pub per: i64,
}

/// One row of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanDetails {
    pub plan: Plan,
    /// For people.
    pub name: String,
    /// For a whole month.
    pub price: i64,
    /// ISO 4217.
    pub currency: String,
    pub limits: PlanLimits,
    pub usage: Vec<PlanUsage>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlanList {
    pub plans: Vec<PlanDetails>,
}

/// How billing stands in the current month.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Billing {
    pub organization_id: OrganizationId,
    pub plan: PlanDetails,
    pub period_start: Timestamp,
    pub period_end: Timestamp,
    pub currency: String,
    /// What the invoice of this month would be if nothing more were used; the plan counts to the month's end.
    pub total: i64,
    /// The same if usage goes on as it did so far this month.
    pub forecast: i64,
    pub lines: Vec<InvoiceLine>,
    pub usage: Vec<MetricUsage>,
    /// Why new deployments are refused, while they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployments_paused: Option<String>,
}

/// What was used of a metric this month, and what the plans of the month include.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricUsage {
    pub metric: Metric,
    pub quantity: i64,
    pub included: i64,
}

/// Which plan to change to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeSubscription {
    pub plan: Plan,
}

/// The plan an organization has.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    pub organization_id: OrganizationId,
    pub plan: Plan,
    /// Since when; `null` for an organization that never had another one.
    pub since: Option<Timestamp>,
    pub period_start: Timestamp,
    pub period_end: Timestamp,
}

/// What a change of the plan would do now. Nothing is changed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionPreview {
    pub from: Plan,
    pub to: Plan,
    /// The change would count from here on, at once.
    pub at: Timestamp,
    pub period_start: Timestamp,
    pub period_end: Timestamp,
    pub currency: String,
    /// The unused rest of the old plan as a credit, the new plan for the rest of the month.
    pub lines: Vec<InvoiceLine>,
    /// By how much this month's invoice changes; negative when it becomes smaller.
    pub amount: i64,
    /// What a whole month costs from the next one on.
    pub next_month: i64,
}

/// One line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceLine {
    pub kind: LineKind,
    pub description: String,
    /// Of what is used, how much is charged; of a plan, 1.
    pub quantity: i64,
    pub amount: i64,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// One month's bill. Made once, when the month is over, and never changed but by being paid.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    pub id: InvoiceId,
    pub organization_id: OrganizationId,
    /// For people and their books.
    pub number: String,
    pub status: InvoiceStatus,
    pub period_start: Timestamp,
    pub period_end: Timestamp,
    pub currency: String,
    pub total: i64,
    /// Only where one invoice is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<InvoiceLine>,
    pub created_at: Timestamp,
    pub paid_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InvoiceList {
    pub invoices: Vec<Invoice>,
    pub pagination: Pagination,
}

/// What was used.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageReport {
    pub organization_id: OrganizationId,
    /// The beginning of an hour.
    pub from: Timestamp,
    /// The end of an hour; not included.
    pub to: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<UsageGroup>,
    pub usage: Vec<UsageRow>,
}

/// A sum. `from` and `projectId` are there when the report is grouped by them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    pub metric: Metric,
    pub quantity: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Missing for what belongs to no project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_id: Option<ProjectId>,
}

/// How much a month may cost, and what happens then.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    pub organization_id: OrganizationId,
    pub amount: i64,
    pub currency: String,
    /// At which parts of it, in percent, the owners are told.
    pub alerts_at: Vec<u8>,
    pub action: BudgetAction,
    /// What this month costs so far.
    pub spent: i64,
    /// Whether new deployments are refused because of it.
    pub paused: bool,
    /// Those told this month.
    pub alerts: Vec<BudgetAlert>,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetAlert {
    pub percent: u8,
    pub at: Timestamp,
}

/// Where to go to pay, to change the plan and to see what was paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortalSession {
    pub url: String,
}

/// A budget as it is set.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetBudget {
    /// At least 1.
    pub amount: i64,
    /// Percent, 1 to 100, at most 10 of them; 50, 80 and 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts_at: Option<Vec<u8>>,
    /// `notify` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<BudgetAction>,
}
