//! A request made fit for an upstream, and its response for the client: an allow-list each way, and who the client is
//! in headers of our own. What the client claims about itself there is replaced, never added to. Refuses to choose the
//! target: the caller builds it with [`crate::join`]. Next: `headers.rs`, the lists.

use crate::{
    body::UpstreamBody,
    headers::{HeaderRules, has_token},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use std::{fmt::Write, net::IpAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who the client is, in the words of a header. Make one per connection and keep it: a request then only counts
/// references.
#[derive(Clone, Debug)]
pub struct Forwarded {
    client: HeaderValue,
    proto: HeaderValue,
    /// `for=…;proto=…` of RFC 7239.
    standard: HeaderValue,
}

impl Forwarded {
    /// `client`: see [`crate::client_address`]. `is_tls`: whether the client came by `https`.
    pub fn new(client: IpAddr, is_tls: bool) -> Self {
        let proto = if is_tls { "https" } else { "http" };
        let mut standard = match client {
            IpAddr::V4(client) => format!("for={client};proto="),
            IpAddr::V6(client) => format!("for=\"[{client}]\";proto="),
        };
        standard.push_str(proto);
        let value = |text: String| HeaderValue::try_from(text).expect("addresses are printable");
        Self { client: value(client.to_string()), proto: HeaderValue::from_static(proto), standard: value(standard) }
    }
}

/// What passes, each way.
#[derive(Clone, Debug)]
pub struct ForwardRules {
    pub request: HeaderRules,
    pub response: HeaderRules,
    /// Whether to send RFC 7239's `Forwarded` next to the `X-Forwarded-` headers.
    pub sends_forwarded: bool,
    /// Our name in `Via`, both ways, as `1.1 name`. `None`: no such header.
    pub via: Option<HeaderValue>,
}

impl ForwardRules {
    pub fn new(request: &[&'static str], response: &[&'static str]) -> Self {
        Self {
            request: HeaderRules::new(request),
            response: HeaderRules::new(response),
            sends_forwarded: false,
            via: None,
        }
    }

    /// The request for the upstream: the method and the body of `incoming`, the listed headers, `target`. The body is
    /// then wrapped with [`crate::OutgoingBody::streamed`] or [`crate::OutgoingBody::limited`].
    pub fn request<B>(&self, incoming: Request<B>, target: Uri, forwarded: &Forwarded) -> Request<B> {
        let (head, body) = incoming.into_parts();
        let from = &head.headers;
        // The caller adds some of its own: growing would hash all of them again.
        let mut headers = HeaderMap::with_capacity(from.len() + 10);
        self.request.copy(from, &mut headers);
        headers.insert(FORWARDED_FOR, forwarded.client.clone());
        headers.insert(FORWARDED_PROTO, forwarded.proto.clone());
        headers.remove(FORWARDED_HOST);
        headers.remove(header::FORWARDED);
        // In HTTP/2 the host is part of the target.
        let host = from.get(header::HOST).cloned();
        let host = host.or_else(|| HeaderValue::from_str(head.uri.authority()?.as_str()).ok());
        if self.sends_forwarded {
            headers.insert(header::FORWARDED, standard(&forwarded.standard, host.as_ref()));
        }
        if let Some(host) = host {
            headers.insert(FORWARDED_HOST, host);
        }
        if let Some(announced) = self.request.announced(from) {
            headers.insert(header::TRAILER, announced);
        }
        if from.contains_key(header::TE) && has_token(from, header::TE, "trailers") {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
        self.add_via(&mut headers);
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (head.method, target, headers);
        request
    }

    /// The response for the client, its trailers included. `method`: of the request; only a response to HEAD, or one
    /// without a body, keeps a `Content-Length` that its body does not tell.
    pub fn response(&self, method: &Method, incoming: Response<UpstreamBody>) -> Response<UpstreamBody> {
        let (head, mut body) = incoming.into_parts();
        let from = &head.headers;
        let mut headers = HeaderMap::with_capacity(from.len() + 16);
        self.response.copy(from, &mut headers);
        if *method == Method::HEAD || head.status == StatusCode::NOT_MODIFIED {
            // The first of several: those that differ were refused.
            if let Some(length) = from.get(header::CONTENT_LENGTH).filter(|length| is_number(length)) {
                headers.insert(header::CONTENT_LENGTH, length.clone());
            }
        }
        if let Some(announced) = self.response.announced(from) {
            headers.insert(header::TRAILER, announced);
        }
        self.add_via(&mut headers);
        body.filter_trailers(self.response.clone());
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (head.status, headers);
        response
    }

    fn add_via(&self, headers: &mut HeaderMap) {
        if let Some(via) = &self.via {
            headers.append(header::VIA, via.clone());
        }
    }
}

fn is_number(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
}

/// `Forwarded` with the host, which is quoted: it may have a port. One that cannot stand in quotes is left out.
fn standard(client: &HeaderValue, host: Option<&HeaderValue>) -> HeaderValue {
    let Some(host) = host.and_then(|host| host.to_str().ok()).filter(|host| !host.contains(['"', '\\'])) else {
        return client.clone();
    };
    let mut text = client.to_str().unwrap_or_default().to_owned();
    // Writing to a string cannot fail.
    let _ = write!(text, ";host=\"{host}\"");
    HeaderValue::try_from(text).unwrap_or_else(|_| client.clone())
}
