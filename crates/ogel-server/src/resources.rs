//! The table of nouns: what exists under `/api/v2`, and where it is answered. No row, no route.

pub(crate) mod auth;
pub(crate) mod builds;
pub(crate) mod deployments;
pub(crate) mod domains;
pub(crate) mod meta;
pub(crate) mod organizations;
pub(crate) mod projects;
mod proxied;
pub(crate) mod shared;
pub(crate) mod sites;
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
    /// Ghost's, on the caller's behalf.
    Proxied,
}

impl Plan {
    /// For the reference: what answers.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Native => "Answered from Studio's own data",
            Self::Hybrid => "Studio's record and the deployment backend's work together",
            Self::Proxied => "Kept by the deployment backend, and asked of it on the caller's behalf",
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
    /// Its operations on the data-plane thread that accepted the request: streams, and reads that are only passed on.
    pub(crate) data_plane: fn() -> OpenApiRouter<App>,
}

impl Resource {
    /// One whose operations are all on the control plane.
    const fn new(name: &'static str, plan: Plan, routes: fn() -> OpenApiRouter<App>) -> Self {
        Self { name, plan, routes, data_plane: OpenApiRouter::new }
    }

    const fn and_data_plane(self, data_plane: fn() -> OpenApiRouter<App>) -> Self {
        Self { data_plane, ..self }
    }
}

/// Every noun. Routing, hints for mistyped paths and the coverage tests read it.
pub const RESOURCES: &[Resource] = &[
    Resource::new("auth", Plan::Native, auth::routes),
    Resource::new("users", Plan::Native, users::routes),
    Resource::new("organizations", Plan::Native, organizations::routes),
    Resource::new("projects", Plan::Native, projects::routes),
    Resource::new("deployments", Plan::Hybrid, deployments::routes),
    Resource::new("builds", Plan::Hybrid, builds::routes).and_data_plane(builds::data_plane),
    Resource::new("sites", Plan::Proxied, sites::routes).and_data_plane(sites::data_plane),
    Resource::new("domains", Plan::Proxied, domains::routes).and_data_plane(domains::data_plane),
    Resource::new("health", Plan::Native, meta::health_routes),
    Resource::new("ready", Plan::Native, meta::ready_routes),
    Resource::new("version", Plan::Native, meta::version_routes),
    Resource::new("openapi.json", Plan::Native, meta::openapi_routes),
];
