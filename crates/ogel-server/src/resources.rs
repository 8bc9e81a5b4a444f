//! The table of nouns: what exists under `/api/v2`, and where it is answered. No row, no route.

pub(crate) mod auth;
pub(crate) mod builds;
pub(crate) mod deployments;
pub(crate) mod forwarded;
pub(crate) mod meta;
pub(crate) mod organizations;
pub(crate) mod projects;
pub(crate) mod shared;
pub(crate) mod users;

use crate::{limits::Class, state::App};
use http::Method;
use utoipa_axum::router::OpenApiRouter;

/// Who answers for a noun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Studio's own data.
    Native,
    /// Studio's record and Ghost's work together.
    Hybrid,
    /// Studio's existing backend, where `studio.forward` names it; nobody otherwise.
    Forwarded,
}

impl Plan {
    /// For the reference: what answers.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Native => "Answered from Studio's own data",
            Self::Forwarded => "Answered by Studio's existing backend where one is configured",
            Self::Hybrid => "Studio's record and the deployment backend's work together",
        }
    }
}

/// One row.
pub struct Resource {
    /// The first segment after `/api/v2`.
    pub name: &'static str,
    pub plan: Plan,
    /// What its requests count as.
    pub class: Class,
    /// POSTs that count as something else, by the last segment of their path; empty is the noun itself.
    pub exceptions: &'static [(&'static str, Class)],
    /// Its operations on the control plane.
    pub(crate) routes: fn() -> OpenApiRouter<App>,
}

/// Every noun. Routing, hints for mistyped paths and the coverage tests read it.
pub const RESOURCES: &[Resource] = &[
    Resource {
        name: "auth",
        plan: Plan::Native,
        class: Class::Call,
        exceptions: &[("login", Class::Login), ("signup", Class::Login)],
        routes: auth::routes,
    },
    Resource { name: "users", plan: Plan::Native, class: Class::Call, exceptions: &[], routes: users::routes },
    Resource {
        name: "organizations",
        plan: Plan::Native,
        class: Class::Call,
        exceptions: &[],
        routes: organizations::routes,
    },
    Resource { name: "projects", plan: Plan::Native, class: Class::Call, exceptions: &[], routes: projects::routes },
    Resource {
        name: "deployments",
        plan: Plan::Hybrid,
        class: Class::Call,
        exceptions: &[("", Class::Deploy), ("redeploy", Class::Deploy)],
        routes: deployments::routes,
    },
    Resource { name: "builds", plan: Plan::Hybrid, class: Class::Call, exceptions: &[], routes: builds::routes },
    Resource {
        name: "billing",
        plan: Plan::Forwarded,
        class: Class::Call,
        exceptions: &[],
        routes: OpenApiRouter::new,
    },
    Resource { name: "health", plan: Plan::Native, class: Class::Free, exceptions: &[], routes: meta::health_routes },
    Resource { name: "ready", plan: Plan::Native, class: Class::Free, exceptions: &[], routes: meta::ready_routes },
    Resource { name: "version", plan: Plan::Native, class: Class::Free, exceptions: &[], routes: meta::version_routes },
    Resource {
        name: "openapi.json",
        plan: Plan::Native,
        class: Class::Free,
        exceptions: &[],
        routes: meta::openapi_routes,
    },
];

/// The noun a path names, as its place in the table.
pub(crate) fn noun_of(path: &str) -> Option<usize> {
    let rest = path.strip_prefix(ogel_api::BASE_PATH)?.strip_prefix('/')?;
    let noun = rest.split('/').next()?;
    RESOURCES.iter().position(|resource| resource.name == noun)
}

/// What a request counts as. What names no noun counts too, or guessing paths would be free.
pub(crate) fn class_of(noun: Option<usize>, method: &Method, path: &str) -> Class {
    let Some(resource) = noun.and_then(|place| RESOURCES.get(place)) else { return Class::Call };
    if resource.exceptions.is_empty() || *method != Method::POST {
        return resource.class;
    }
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let last = if last == resource.name { "" } else { last };
    resource.exceptions.iter().find(|(segment, _)| *segment == last).map_or(resource.class, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_count_as_the_table_says() {
        let class = |method: Method, path: &str| class_of(noun_of(path), &method, path);
        assert_eq!(class(Method::GET, "/api/v2/health"), Class::Free);
        assert_eq!(class(Method::GET, "/api/v2/projects/x"), Class::Call);
        assert_eq!(class(Method::POST, "/api/v2/auth/login"), Class::Login);
        assert_eq!(class(Method::POST, "/api/v2/auth/logout"), Class::Call);
        assert_eq!(class(Method::POST, "/api/v2/deployments"), Class::Deploy);
        assert_eq!(class(Method::GET, "/api/v2/deployments"), Class::Call);
        assert_eq!(class(Method::POST, "/api/v2/deployments/d/redeploy"), Class::Deploy);
        assert_eq!(class(Method::POST, "/api/v2/deployments/d/cancel"), Class::Call);
        assert_eq!(class(Method::GET, "/nothing"), Class::Call);
    }
}
