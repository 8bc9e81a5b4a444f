//! Webhooks: what the deployment backend tells us, and what we tell the platform's users.

use crate::string_enum::string_enum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

string_enum! {
    /// What became of an event of the deployment backend.
    pub enum GhostEventOutcome {
        /// The deployment was looked at again, and what changed is written down.
        Applied = "applied",
        /// It was received before.
        Duplicate = "duplicate",
        /// It concerns nothing that can still change here, or is of a type that means nothing here.
        Ignored = "ignored",
    }
}

/// The answer to an event of the deployment backend; sent once its effect is kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GhostEventReceipt {
    pub outcome: GhostEventOutcome,
}
