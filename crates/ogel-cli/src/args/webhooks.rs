//! `ogel webhooks`.

use super::Confirmation;
use clap::{Subcommand, builder::PossibleValuesParser};
use ogel_api::webhooks::WebhookEventType;

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// List webhooks
    List,
    /// Have events posted to a URL; prints the webhook's id and its secret
    Create {
        /// Where to: https://…
        url: String,
        /// Only what happens in this project (id or slug) [default: all of the organization's]
        #[arg(long, short)]
        project: Option<String>,
        /// Only events of this type, repeatable [default: all]
        #[arg(long, short, value_name = "TYPE", value_parser = PossibleValuesParser::new(WebhookEventType::ALL.iter().map(|kind| kind.as_str())))]
        event: Vec<String>,
        /// For people
        #[arg(long)]
        description: Option<String>,
    },
    /// Post a test event and wait for the answer; exit code 1 if it fails
    Test { id: String },
    /// Show what a webhook was told, newest first
    Deliveries {
        id: String,
        /// How many
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Post an event once more and wait for the answer; exit code 1 if it fails
    Redeliver {
        id: String,
        /// Id of the delivery (`whd_…`)
        delivery: String,
    },
    /// Remove a webhook
    Rm {
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}
