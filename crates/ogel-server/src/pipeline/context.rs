//! What is known of a request while it is worked on, and the two answers for requests that no handler takes.

use super::trace::Ids;
use crate::{
    billing::metering::Payer,
    caller::Identity,
    edge::{Core, Peer},
    world::World,
};
use axum::{
    body::Body,
    extract::{FromRequestParts, MatchedPath, Request},
    http::{Response, request::Parts},
    response::IntoResponse as _,
};
use ogel_api::error::ErrorCode;
use ogel_ghost::CallContext;
use ogel_proxy::AttemptLog;
use ogel_store::{Act, Actor, Project};
use std::{
    net::IpAddr,
    ops::Deref,
    sync::{Arc, OnceLock},
};
use tokio::time::Instant;

/// In the extensions of every request that reaches a handler.
#[derive(Clone)]
pub(crate) struct RequestContext(Arc<Known>);

pub(crate) struct Known {
    pub ids: Ids,
    /// When the answer must have begun.
    pub deadline: Instant,
    /// The largest body that is read.
    pub body_limit: usize,
    pub identity: Identity,
    /// Whether the credential came by cookie, which other sites' pages can send too.
    pub by_cookie: bool,
    pub client: IpAddr,
    /// Each attempt at an upstream.
    pub attempts: AttemptLog,
    /// The connection it came by.
    pub peer: Arc<Peer>,
    /// The thread that accepted it.
    pub core: Arc<Core>,
    /// What the answer counts for, once a handler knows.
    pub payer: OnceLock<Payer>,
    /// The pattern of its path, once the router knows.
    pub route: OnceLock<MatchedPath>,
}

impl RequestContext {
    pub(crate) fn new(known: Known) -> Self {
        Self(Arc::new(known))
    }

    /// The request is about this project: it counts as its organization's usage.
    pub(crate) fn meter(&self, project: &Project) {
        // The first one stays: a request counts once.
        let _ = self.payer.set((project.organization_id, project.id));
    }

    /// What the audit log says of something done by this request.
    pub(crate) fn act(&self, world: &World, actor: Actor) -> Act {
        let request_id = Some(self.ids.request.to_string());
        Act { id: world.uuid(), at: world.now(), actor, ip: Some(self.client), request_id, answer: None }
    }

    /// What a call to Ghost on behalf of this request carries.
    pub(crate) fn call(&self) -> CallContext<'_> {
        CallContext {
            deadline: self.deadline,
            request_id: Some(&self.ids.request),
            traceparent: Some(&self.ids.traceparent),
            attempts: Some(&self.attempts),
        }
    }
}

impl Deref for RequestContext {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = crate::error::Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ogel_api::error::Error::internal("a handler was called outside the pipeline").into())
    }
}

/// Notes the route's pattern for the log line: only the router knows it.
pub(super) fn remember_route(request: &Request) {
    let extensions = request.extensions();
    if let (Some(context), Some(route)) = (extensions.get::<RequestContext>(), extensions.get::<MatchedPath>()) {
        // A request has one.
        let _ = context.route.set(route.clone());
    }
}

/// The answer for a path that no operation has.
pub(crate) async fn route_not_found(request: Request) -> Response<Body> {
    let path = request.uri().path();
    let segment = path.strip_prefix(ogel_api::BASE_PATH).unwrap_or(path).trim_start_matches('/');
    let segment = segment.split('/').next().unwrap_or_default();
    let known = crate::resources::RESOURCES.iter().map(|resource| resource.name);
    let hint = match crate::config::nearest(segment, known) {
        _ if !path.starts_with(ogel_api::BASE_PATH) => format!("every path starts with `{}`", ogel_api::BASE_PATH),
        Some(known) if known != segment => format!("did you mean `{known}`?"),
        _ => format!("`{}/openapi.json` lists every operation", ogel_api::BASE_PATH),
    };
    crate::error::Failure::new(ErrorCode::RouteNotFound, format!("no operation has this path; {hint}")).into_response()
}

/// The answer for a path that exists with other methods; the router adds `Allow`.
pub(crate) async fn method_not_allowed(request: Request) -> Response<Body> {
    remember_route(&request);
    let message = format!("this path has no `{}`; the `Allow` header lists what it has", request.method());
    crate::error::Failure::new(ErrorCode::MethodNotAllowed, message).into_response()
}
