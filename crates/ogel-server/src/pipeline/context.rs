//! What is known of a request while it is worked on, and the two answers for requests that no handler takes.

use super::trace::Ids;
use crate::{
    billing::metering::Payer,
    caller::Identity,
    edge::{Core, Peer},
    router::Place,
    world::World,
};
use axum::{
    body::Body,
    extract::{FromRequestParts, Request},
    http::{HeaderValue, Response, header, request::Parts},
    response::IntoResponse as _,
};
use ogel_api::error::ErrorCode;
use ogel_ghost::CallContext;
use ogel_proxy::AttemptLog;
use ogel_store::{Act, Actor, Project};
use std::{
    borrow::Cow,
    convert::Infallible,
    net::IpAddr,
    ops::Deref,
    sync::{Arc, OnceLock},
};
use tokio::time::Instant;

/// What every handler can have as an argument.
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
    /// Its path, if the router knows it.
    pub place: Option<Arc<Place>>,
}

impl RequestContext {
    pub(crate) fn new(known: Known) -> Self {
        Self(Arc::new(known))
    }

    /// The parameters of its path, in their order: names and what they say.
    pub(crate) fn parameters<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        self.place.iter().flat_map(move |place| place.parameters(path))
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

impl FromRequestParts<Self> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, context: &Self) -> Result<Self, Infallible> {
        Ok(context.clone())
    }
}

/// The answer for a path that no operation has.
pub(super) fn route_not_found(request: &Request) -> Response<Body> {
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

/// The answer for a path that exists with other methods.
pub(super) fn method_not_allowed(place: &Place, request: &Request) -> Response<Body> {
    let message = format!("this path has no `{}`; the `Allow` header lists what it has", request.method());
    let mut response = crate::error::Failure::new(ErrorCode::MethodNotAllowed, message).into_response();
    if let Ok(methods) = HeaderValue::try_from(place.methods()) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}
