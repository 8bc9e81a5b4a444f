//! The table of nouns: what exists under `/api/v2`, and where it is answered. No row, no route.

mod admin;
pub(crate) mod auth;
pub(crate) mod billing;
pub(crate) mod builds;
pub(crate) mod deployments;
pub(crate) mod domains;
pub(crate) mod forwarded;
pub(crate) mod meta;
pub(crate) mod metrics;
pub(crate) mod operations;
pub(crate) mod organizations;
pub(crate) mod projects;
mod proxied;
pub(crate) mod shared;
pub(crate) mod sites;
pub(crate) mod users;
pub(crate) mod webhooks;

use crate::{limits::Class, router::Routes};
use http::Method;

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

/// What becomes of the answers to a noun's reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Each is made for its request.
    Never,
    /// Kept for `cache.fresh_seconds`, by project, role and question, and until something under this tag changes.
    Kept(&'static str),
    /// The same of one thing; lists are made for each request.
    OneKept(&'static str),
}

impl Cache {
    /// For the reference, behind what answers.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Never => "",
            Self::Kept(_) => "; reads are kept for some seconds, see `X-Cache`",
            Self::OneKept(_) => "; reads of one are kept for some seconds, see `X-Cache`",
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
    pub cache: Cache,
    /// Its operations on the control plane.
    pub(crate) routes: fn() -> Routes,
    /// Its operations on the data-plane thread that accepted the request: streams, and reads that are only passed on.
    pub(crate) data_plane: fn() -> Routes,
}

impl Resource {
    /// One whose operations are all on the control plane.
    const fn new(name: &'static str, plan: Plan, routes: fn() -> Routes) -> Self {
        let (class, cache) = (Class::Call, Cache::Never);
        Self { name, plan, class, exceptions: &[], cache, routes, data_plane: Routes::new }
    }

    /// One that anybody may ask as often as they like: it costs nothing, and load balancers do.
    const fn unlimited(self) -> Self {
        Self { class: Class::Free, ..self }
    }

    const fn with_classes(self, exceptions: &'static [(&'static str, Class)]) -> Self {
        Self { exceptions, ..self }
    }

    /// One whose reads are kept, under its own name.
    const fn kept(self) -> Self {
        Self { cache: Cache::Kept(self.name), ..self }
    }

    /// One whose lists are not kept, while reads of one thing are.
    const fn one_kept(self) -> Self {
        Self { cache: Cache::OneKept(self.name), ..self }
    }

    const fn and_data_plane(self, data_plane: fn() -> Routes) -> Self {
        Self { data_plane, ..self }
    }
}

/// Every noun. Routing, hints for mistyped paths and the coverage tests read it.
pub const RESOURCES: &[Resource] = &[
    Resource::new("auth", Plan::Native, auth::routes).with_classes(&[
        ("login", Class::Login),
        ("signup", Class::Login),
        ("code", Class::Login),
    ]),
    Resource::new("users", Plan::Native, users::routes),
    Resource::new("organizations", Plan::Native, organizations::routes),
    Resource::new("invitations", Plan::Native, organizations::invitations::routes),
    Resource::new("projects", Plan::Native, projects::routes),
    Resource::new("deployments", Plan::Hybrid, deployments::routes)
        .with_classes(&[("", Class::Deploy), ("redeploy", Class::Deploy)])
        .and_data_plane(deployments::data_plane)
        .one_kept(),
    Resource::new("operations", Plan::Native, operations::routes),
    Resource::new("builds", Plan::Hybrid, builds::routes).and_data_plane(builds::data_plane).one_kept(),
    Resource::new("sites", Plan::Proxied, sites::routes).and_data_plane(sites::data_plane).kept(),
    Resource::new("domains", Plan::Proxied, domains::routes).and_data_plane(domains::data_plane).kept(),
    // Ghost reports from few addresses, and as often as builds change; a payment service does as well.
    Resource::new("webhooks", Plan::Native, webhooks::routes)
        .with_classes(&[("ghost", Class::Free), ("stripe", Class::Free)]),
    Resource::new("billing", Plan::Native, billing::routes),
    Resource::new("admin", Plan::Native, admin::routes),
    Resource::new("metrics", Plan::Native, metrics::routes),
    Resource::new("health", Plan::Native, meta::health_routes).unlimited(),
    Resource::new("ready", Plan::Native, meta::ready_routes).unlimited(),
    Resource::new("version", Plan::Native, Routes::new).and_data_plane(meta::version_data_plane).unlimited(),
    Resource::new("openapi.json", Plan::Native, meta::openapi_routes).unlimited(),
];

/// What the answers about a noun are kept under. Does not compile for one whose answers the table does not keep.
pub(crate) const fn tag_of(noun: &str) -> &'static str {
    let mut place = 0;
    while place < RESOURCES.len() {
        if is_same(RESOURCES[place].name.as_bytes(), noun.as_bytes()) {
            match RESOURCES[place].cache {
                Cache::Kept(tag) | Cache::OneKept(tag) => return tag,
                Cache::Never => panic!("the table keeps no answers about this noun"),
            }
        }
        place += 1;
    }
    panic!("the table has no such noun")
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The noun a path names, as its place in the table.
pub(crate) fn noun_of(path: &str) -> Option<usize> {
    let rest = path.strip_prefix(ogel_api::BASE_PATH)?.strip_prefix('/')?;
    let noun = rest.split('/').next()?;
    RESOURCES.iter().position(|resource| resource.name == noun)
}

/// What a request waits for that stays on its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Studio,
    Ghost,
}

impl Backend {
    pub const ALL: [Self; 2] = [Self::Studio, Self::Ghost];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Studio => "studio",
            Self::Ghost => "ghost",
        }
    }
}

/// `is_forwarded`: whether Studio's backend answers for the noun here.
pub(crate) fn backend_of(noun: Option<usize>, is_forwarded: bool) -> Option<Backend> {
    if is_forwarded {
        return Some(Backend::Studio);
    }
    let resource = RESOURCES.get(noun?)?;
    (resource.plan == Plan::Proxied).then_some(Backend::Ghost)
}

/// What a request counts as. What names no noun counts too, or guessing paths would be free.
pub(crate) fn class_of(noun: Option<usize>, method: &Method, path: &str) -> Class {
    let Some(resource) = noun.and_then(|place| RESOURCES.get(place)) else {
        // The page with the other login form.
        let logs_in = path == auth::oauth::DEVICE_PAGE && *method == Method::POST;
        return if logs_in { Class::Login } else { Class::Call };
    };
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
        assert_eq!(class(Method::POST, "/api/v2/auth/device/code"), Class::Login);
        assert_eq!(class(Method::POST, "/device"), Class::Login);
        assert_eq!(class(Method::GET, "/device"), Class::Call);
        assert_eq!(class(Method::POST, "/api/v2/auth/logout"), Class::Call);
        assert_eq!(class(Method::POST, "/api/v2/deployments"), Class::Deploy);
        assert_eq!(class(Method::GET, "/api/v2/deployments"), Class::Call);
        assert_eq!(class(Method::POST, "/api/v2/deployments/d/redeploy"), Class::Deploy);
        assert_eq!(class(Method::POST, "/api/v2/deployments/d/cancel"), Class::Call);
        assert_eq!(class(Method::POST, "/api/v2/webhooks/ghost"), Class::Free);
        assert_eq!(class(Method::GET, "/nothing"), Class::Call);
    }
}
