//! Every operation of the API, put together from the table of nouns, and found by its path.
//!
//! Handlers are axum's, and so are their arguments. Its router is not used: each of its layers costs every request a box,
//! a copy of what is inside, and below a prefix another URI. What requests pass on their way, `pipeline.rs` calls as
//! functions; here it only says which ([`Plane`]).

use crate::{
    openapi,
    pipeline::RequestContext,
    resources::{RESOURCES, auth},
    state::App,
};
use axum::{
    extract::{FromRef, Request},
    handler::Handler,
    response::Response,
};
use http::Method;
use percent_encoding::percent_decode_str;
use std::{borrow::Cow, collections::BTreeMap, pin::Pin, sync::Arc};
use utoipa::openapi::PathItem;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// Where an operation is answered, and so what its requests pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plane {
    /// Where the connections to the database are.
    Control,
    /// On the thread that accepted the request: streams, and what is only passed on.
    Data,
    /// A page for people, which is no part of the API.
    Page,
}

/// What is known of a request is what handlers have for their state.
impl FromRef<RequestContext> for App {
    fn from_ref(context: &RequestContext) -> Self {
        context.core.app.clone()
    }
}

pub(crate) type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;
pub(crate) type Call = Arc<dyn Fn(Request, RequestContext) -> Answering + Send + Sync>;

fn call_of<T, H>(handler: H) -> Call
where
    T: 'static,
    H: Handler<T, RequestContext, Future = Answering> + Sync,
{
    Arc::new(move |request, context| handler.clone().call(request, context))
}

/// Operations of a noun, each with its documentation.
#[derive(Default)]
pub(crate) struct Routes(Vec<Documented>);

/// A handler beside what utoipa collects of it.
pub(crate) struct Documented {
    collected: UtoipaMethodRouter<RequestContext>,
    call: Call,
}

/// Handlers with `#[utoipa::path]`, for [`Routes::routes`].
macro_rules! routes {
    ($($($handler:ident)::+),+) => {
        [$($crate::router::Documented::new(utoipa_axum::routes!($($handler)::+), $($handler)::+)),+]
    };
}
pub(crate) use routes;

impl Documented {
    pub(crate) fn new<T, H>(collected: UtoipaMethodRouter<RequestContext>, handler: H) -> Self
    where
        T: 'static,
        H: Handler<T, RequestContext, Future = Answering> + Sync,
    {
        Self { collected, call: call_of(handler) }
    }

    /// Its paths, below the base, with the methods it has there.
    fn places(&self) -> impl Iterator<Item = (&String, Method)> {
        self.collected.1.paths.iter().flat_map(|(path, item)| methods_of(item).map(move |method| (path, method)))
    }
}

fn methods_of(item: &PathItem) -> impl Iterator<Item = Method> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [
        (get, Method::GET),
        (put, Method::PUT),
        (post, Method::POST),
        (delete, Method::DELETE),
        (patch, Method::PATCH),
    ];
    all.into_iter().filter(|(operation, _)| operation.is_some()).map(|(_, method)| method)
}

impl Routes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn routes(mut self, operations: impl IntoIterator<Item = Documented>) -> Self {
        self.0.extend(operations);
        self
    }

    pub(crate) fn merge(self, more: Self) -> Self {
        self.routes(more.0)
    }
}

/// A path that exists.
pub(crate) struct Place {
    /// As the access log names it.
    pub(crate) pattern: String,
    /// Its parameters, each with the segment it stands for.
    parameters: Vec<(String, usize)>,
    operations: Vec<Operation>,
}

pub(crate) struct Operation {
    method: Method,
    pub(crate) plane: Plane,
    pub(crate) call: Call,
}

impl Place {
    fn new(pattern: &str) -> Self {
        let name = |segment: &str| Some(segment.strip_prefix('{')?.strip_suffix('}')?.to_owned());
        let segments = pattern.split('/').enumerate();
        let parameters = segments.filter_map(|(at, segment)| Some((name(segment)?, at))).collect();
        Self { pattern: pattern.to_owned(), parameters, operations: Vec::new() }
    }

    /// What answers the method; HEAD is answered as GET is.
    pub(crate) fn operation(&self, method: &Method) -> Option<&Operation> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.operations.iter().find(|operation| operation.method == *method)
    }

    /// What `Allow` says.
    pub(crate) fn methods(&self) -> String {
        const ALL: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let has = ALL.into_iter().filter(|method| self.operation(method).is_some());
        has.map(|method| method.to_string()).collect::<Vec<_>>().join(",")
    }

    /// The names of its parameters with what `path`, which is one of its own, says for them, in their order.
    pub(crate) fn parameters<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        self.parameters.iter().map(|(name, at)| {
            let text = path.split('/').nth(*at).unwrap_or_default();
            (name.as_str(), percent_decode_str(text).decode_utf8_lossy())
        })
    }
}

/// Where each path leads.
#[derive(Default)]
pub(crate) struct Router(matchit::Router<Arc<Place>>);

impl Router {
    pub(crate) fn find(&self, path: &str) -> Option<&Arc<Place>> {
        self.0.at(path).ok().map(|found| found.value)
    }
}

/// All that each data-plane thread serves.
pub(crate) fn router(app: &App) -> Router {
    let forwarded = &app.config().studio.forward;
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    let mut add = |path: String, method: Method, plane, call| {
        let place = places.entry(path).or_insert_with_key(|path| Place::new(path));
        assert!(place.operation(&method).is_none(), "{method} {} is there twice", place.pattern);
        place.operations.push(Operation { method, plane, call });
    };
    for noun in RESOURCES.iter().filter(|noun| !forwarded.iter().any(|name| name == noun.name)) {
        for (plane, routes) in [(Plane::Control, (noun.routes)()), (Plane::Data, (noun.data_plane)())] {
            for documented in &routes.0 {
                for (path, method) in documented.places() {
                    add(format!("{}{path}", ogel_api::BASE_PATH), method, plane, documented.call.clone());
                }
            }
        }
    }
    // Where Studio's backend logs people in, it has pages of its own.
    if !forwarded.iter().any(|name| name == "auth") {
        let device = || auth::oauth::DEVICE_PAGE.to_owned();
        add(device(), Method::GET, Plane::Page, call_of(auth::device_page::show));
        add(device(), Method::POST, Plane::Page, call_of(auth::device_page::submit));
        let metadata = "/.well-known/oauth-authorization-server".to_owned();
        add(metadata, Method::GET, Plane::Page, call_of(auth::oauth::metadata));
    }
    let mut router = Router::default();
    for (path, place) in places {
        router.0.insert(path, Arc::new(place)).expect("the table's paths do not contradict each other");
    }
    router
}

/// `openapi.json`, from the same operations.
pub fn document() -> utoipa::openapi::OpenApi {
    let planes: [fn(&crate::resources::Resource) -> Routes; 2] = [|noun| (noun.routes)(), |noun| (noun.data_plane)()];
    let of_planes = planes.map(|routes| {
        let all = RESOURCES.iter().flat_map(|noun| routes(noun).0);
        all.fold(OpenApiRouter::new(), |all, documented| all.routes(documented.collected)).into_openapi()
    });
    let [mut document, of_data] = of_planes;
    document.merge(of_data);
    openapi::complete(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_knows_its_parameters_and_methods() {
        let mut place = Place::new("/api/v2/webhooks/{id}/deliveries/{delivery}");
        let call = call_of(async || "here");
        for method in [Method::POST, Method::GET] {
            place.operations.push(Operation { method, plane: Plane::Data, call: call.clone() });
        }
        let parameters: Vec<_> = place.parameters("/api/v2/webhooks/a%20b/deliveries/c").collect();
        assert_eq!(parameters, [("id", Cow::Borrowed("a b")), ("delivery", Cow::Borrowed("c"))]);
        assert_eq!(place.methods(), "GET,HEAD,POST");
        assert!(place.operation(&Method::HEAD).is_some() && place.operation(&Method::PUT).is_none());
    }
}
