//! A request made fit for an upstream, and its response for the client: an allow-list each way, and who the client is
//! in headers of our own. What the client claims about itself there is replaced, never added to. Refuses to choose the
//! target: the caller builds it with [`crate::join`]. Next: `headers.rs`, the lists.

use crate::{
    body::UpstreamBody,
    error::UpstreamError,
    headers::{HeaderRules, has_token},
    http1::Keep,
    outgoing::OutgoingBody,
    upload::{Fields, Head},
    upstream::{Sending, Upstream},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use std::{borrow::Cow, fmt::Write, net::IpAddr};

/// For the headers of a response that pass and those that whoever answers will add.
const ROOM: usize = 8;

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
    /// `client`: see [`crate::client_address()`]. `is_tls`: whether the client came by `https`.
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
            // What the client says about itself there is ours to say.
            request: HeaderRules::new(request).without(&[
                FORWARDED_FOR,
                FORWARDED_PROTO,
                FORWARDED_HOST,
                header::FORWARDED,
            ]),
            response: HeaderRules::new(response),
            sends_forwarded: false,
            via: None,
        }
    }

    /// Sends the client's request on and makes the response fit for the client. Headers are written from where they lie,
    /// and only those that stay are read; a response to HEAD, or one without a body, keeps a `Content-Length` that its body
    /// does not tell.
    pub async fn pass(
        &self,
        upstream: &Upstream,
        passing: Passing<'_>,
        body: OutgoingBody,
        how: Sending<'_>,
    ) -> Result<Response<UpstreamBody>, UpstreamError> {
        let fields = Fields::Passed(self, &passing);
        let to_head = *passing.method == Method::HEAD;
        let keep = Keep { rules: &self.response, to_head, room: ROOM };
        let target = passing.target.path_and_query().map_or("/", PathAndQuery::as_str);
        let head = Head { method: passing.method, target, fields, keep };
        let answer = upstream.send_head(head, body, how).await?;
        Ok(self.response(passing.method, answer))
    }

    /// What [`Self::pass`] sends, as a request of its own, for whoever sends it in another way (a WebSocket): the method and
    /// the body of `incoming`, the listed headers, `target`.
    pub fn request<B>(&self, incoming: Request<B>, target: Uri, forwarded: &Forwarded) -> Request<B> {
        let (head, body) = incoming.into_parts();
        // The caller adds some of its own: growing would hash all of them again.
        let mut headers = HeaderMap::with_capacity(head.headers.len() + 10);
        let (method, uri, from) = (&head.method, &head.uri, &head.headers);
        let passing = Passing { method, uri, target: &target, headers: from, forwarded, ours: &[] };
        self.each(&passing, |name, value| {
            headers.append(name, value.clone());
        });
        if let Some(announced) = self.request.announced(&head.headers) {
            headers.insert(header::TRAILER, announced);
        }
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (head.method, target, headers);
        request
    }

    /// Every header that passes, but `Trailer`.
    pub(crate) fn each(&self, from: &Passing<'_>, mut show: impl FnMut(&HeaderName, &HeaderValue)) {
        let Passing { headers, forwarded, .. } = from;
        // In HTTP/2 the host is part of the target.
        let authority = || HeaderValue::from_str(from.uri.authority()?.as_str()).ok();
        let host = headers.get(header::HOST).map(Cow::Borrowed).or_else(|| authority().map(Cow::Owned));
        let host = host.as_deref();
        self.request.each(headers, &mut show);
        show(&FORWARDED_FOR, &forwarded.client);
        show(&FORWARDED_PROTO, &forwarded.proto);
        if self.sends_forwarded {
            show(&header::FORWARDED, &standard(&forwarded.standard, host));
        }
        if let Some(host) = host {
            show(&FORWARDED_HOST, host);
        }
        if headers.contains_key(header::TE) && has_token(headers, header::TE, "trailers") {
            show(&header::TE, &HeaderValue::from_static("trailers"));
            show(&header::CONNECTION, &HeaderValue::from_static("te"));
        }
        if let Some(via) = &self.via {
            show(&header::VIA, via);
        }
    }

    /// The response for the client, its trailers included. `method`: of the request.
    fn response(&self, method: &Method, incoming: Response<UpstreamBody>) -> Response<UpstreamBody> {
        let (mut head, mut body) = incoming.into_parts();
        // Where only what may stay was read, nothing is left to do.
        if !head.headers.keys().all(|name| self.response.allows(name)) {
            head.headers = self.staying(method, head.status, &head.headers);
        }
        if let Some(via) = &self.via {
            head.headers.append(header::VIA, via.clone());
        }
        body.filter_trailers(self.response.clone());
        Response::from_parts(head, body)
    }

    fn staying(&self, method: &Method, status: StatusCode, from: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(from.len() + 16);
        self.response.copy(from, &mut headers);
        if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
            // The first of several: those that differ were refused.
            if let Some(length) = from.get(header::CONTENT_LENGTH).filter(|length| is_number(length)) {
                headers.insert(header::CONTENT_LENGTH, length.clone());
            }
        }
        if let Some(announced) = self.response.announced(from) {
            headers.insert(header::TRAILER, announced);
        }
        headers
    }
}

/// A client's request that is passed on.
#[derive(Clone, Copy)]
pub struct Passing<'a> {
    pub method: &'a Method,
    /// What the client asked for.
    pub uri: &'a Uri,
    /// What the upstream is asked for: path and query.
    pub target: &'a Uri,
    /// As they came from the client.
    pub headers: &'a HeaderMap,
    pub forwarded: &'a Forwarded,
    /// What is added to them, names in lower case; a value that cannot stand in a header is left out.
    pub ours: &'a [(&'static str, &'a str)],
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
