//! `ogel billing`.

use clap::{Args, Subcommand, builder::PossibleValuesParser};
use ogel_api::billing::UsageGroup;
use ogel_api::organizations::Plan;

#[derive(Args, Debug)]
pub(crate) struct BillingArgs {
    /// Id or slug; not needed when there is only one organization
    #[arg(long, short, global = true)]
    pub(crate) organization: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<BillingCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BillingCommand {
    /// Show the plan and how this month stands [default]
    Plan,
    /// List the plans there are
    Plans,
    /// Show what another plan would cost, and with --yes change to it
    Change {
        #[arg(value_parser = PossibleValuesParser::new(Plan::ALL.iter().map(|plan| plan.as_str())))]
        plan: String,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Print the address of the page where an owner pays
    Portal,
    /// Show what was used, this month or from --from to --to
    Usage {
        /// A day or a time in UTC, like 2026-11-01
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Add up by this
        #[arg(long, value_parser = PossibleValuesParser::new(UsageGroup::ALL.iter().map(|group| group.as_str())))]
        by: Option<String>,
    },
    /// List invoices, newest first
    Invoices,
    /// Show one invoice
    Invoice {
        id: String,
        /// Print it as a page of HTML instead
        #[arg(long)]
        html: bool,
    },
    /// Show the budget
    Budget {
        #[command(subcommand)]
        command: Option<BudgetCommand>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Set or replace the budget of a month
    Set {
        /// Like 50 or 49.90
        amount: String,
        /// Refuse new deployments when it is used up
        #[arg(long)]
        pause: bool,
        /// Tell the owners at this percentage; repeatable [default: 50, 80, 100]
        #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
        alert: Vec<u8>,
    },
    /// Remove the budget
    Rm,
}
