//! What the service says about itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The process is alive.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `ok`: a process that is not answers nothing.
    pub status: String,
}

/// Whether a load balancer should send requests here.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// `ready`, or `unavailable` (with HTTP 503).
    pub status: String,
    pub checks: Vec<Check>,
}

/// One dependency, as seen from this process just now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Check {
    pub name: String,
    pub ok: bool,
    /// Whether readiness depends on it.
    pub required: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Version {
    pub version: String,
    /// The path every operation starts with.
    pub api: String,
}
