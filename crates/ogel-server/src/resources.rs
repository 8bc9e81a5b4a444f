//! The table of nouns: what exists under `/api/v2`, and where it is answered. No row, no route.

pub(crate) mod auth;
pub(crate) mod builds;
pub(crate) mod deployments;
pub(crate) mod meta;
pub(crate) mod organizations;
pub(crate) mod projects;
pub(crate) mod shared;
pub(crate) mod users;

use crate::state::App;
use utoipa_axum::router::OpenApiRouter;

/// Who answers for a noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Studio's own data.
    Native,
    /// Studio's record and Ghost's work together.
    Hybrid,
}

impl Plan {
    /// For the reference: what answers.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Native => "Answered from Studio's own data",
            Self::Hybrid => "Studio's record and the deployment backend's work together",
        }
    }
}

/// One row.
pub struct Resource {
    /// The first segment after `/api/v2`.
    pub name: &'static str,
    pub plan: Plan,
    /// Its operations on the control plane.
    pub(crate) routes: fn() -> OpenApiRouter<App>,
}

/// Every noun. Routing, hints for mistyped paths and the coverage tests read it.
pub const RESOURCES: &[Resource] = &[
    Resource { name: "auth", plan: Plan::Native, routes: auth::routes },
    Resource { name: "users", plan: Plan::Native, routes: users::routes },
    Resource { name: "organizations", plan: Plan::Native, routes: organizations::routes },
    Resource { name: "projects", plan: Plan::Native, routes: projects::routes },
    Resource { name: "deployments", plan: Plan::Hybrid, routes: deployments::routes },
    Resource { name: "builds", plan: Plan::Hybrid, routes: builds::routes },
    Resource { name: "health", plan: Plan::Native, routes: meta::health_routes },
    Resource { name: "ready", plan: Plan::Native, routes: meta::ready_routes },
    Resource { name: "version", plan: Plan::Native, routes: meta::version_routes },
    Resource { name: "openapi.json", plan: Plan::Native, routes: meta::openapi_routes },
];
