//! A client's request on its way to an upstream and back: what passes, what is ours, what never leaves.

use crate::{
    asking::{single, until},
    scripted::{Reply, Scripted},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use ogel_proxy::{ForwardRules, Forwarded, Limits, OutgoingBody, Passing, Replay, UpstreamBody, join};
use std::time::Duration;
use tokio::time::Instant;

fn rules() -> ForwardRules {
    let request = ["accept", "content-type", "x-appwrite-key", "x-forwarded-for", "x-sum", "forwarded"];
    ForwardRules::new(&request, &["content-type", "etag", "content-length", "x-sum", "via"])
}

fn forwarded() -> Forwarded {
    Forwarded::new("198.51.100.7".parse().unwrap(), true)
}

fn client_request(method: Method, headers: &[(&'static str, &'static str)]) -> Request<Full<Bytes>> {
    let body = if method == Method::POST { Bytes::from_static(b"body") } else { Bytes::new() };
    let mut request = Request::builder().method(method).uri("/in?x=1").body(Full::new(body)).unwrap();
    for (name, value) in headers {
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    request
}

async fn pass(rules: &ForwardRules, scripted: &Scripted, request: Request<Full<Bytes>>) -> Response<UpstreamBody> {
    pass_with(rules, scripted, request, &[]).await
}

async fn pass_with(
    rules: &ForwardRules,
    scripted: &Scripted,
    request: Request<Full<Bytes>>,
    ours: &[(&'static str, &str)],
) -> Response<UpstreamBody> {
    let base = "http://up.test/base".parse().unwrap();
    let upstream = single(base, scripted.connector(), Limits::default()).unwrap();
    let target = join(upstream.base(), &["v1", "things"], &[]).unwrap();
    let (head, body) = request.into_parts();
    let forwarded = forwarded();
    let (method, uri, headers) = (&head.method, &head.uri, &head.headers);
    let passing = Passing { method, uri, target: &target, headers, forwarded: &forwarded, ours };
    let how = until(Instant::now() + Duration::from_secs(5), Replay::BySafety);
    rules.pass(&upstream, passing, OutgoingBody::limited(body, u64::MAX), how).await.unwrap()
}

fn answering(text: &'static str) -> Scripted {
    Scripted::new(move |_| Reply::Raw(text.to_owned()))
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

#[tokio::test(start_paused = true)]
async fn listed_headers_pass_and_what_the_client_says_about_itself_is_replaced() {
    let headers = [
        ("host", "api.test"),
        ("accept", "a"),
        ("cookie", "secret"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-for", "7.7.7.7"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-proto", "gopher"),
        ("forwarded", "for=6.6.6.6"),
        ("expect", "100-continue"),
        ("upgrade", "h2c"),
        ("content-length", "4"),
    ];
    let scripted = answering(OK);
    pass(&rules(), &scripted, client_request(Method::POST, &headers)).await;
    let seen = &scripted.seen()[0];
    assert_eq!((seen.line(), seen.body.as_str()), ("POST /base/v1/things", "body"));
    assert_eq!((seen.headers("host"), seen.headers("accept")), (vec!["up.test"], vec!["a"]));
    assert_eq!(seen.headers("x-forwarded-for"), ["198.51.100.7"]);
    assert_eq!(
        (seen.headers("x-forwarded-proto"), seen.headers("x-forwarded-host")),
        (vec!["https"], vec!["api.test"])
    );
    assert_eq!(seen.headers("content-length"), ["4"]);
    for gone in ["cookie", "forwarded", "expect", "upgrade", "connection", "te", "via", "transfer-encoding"] {
        assert!(seen.headers(gone).is_empty(), "{gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_connection_names_stays_behind_even_a_credential() {
    let headers = [("connection", "close, X-Appwrite-Key"), ("x-appwrite-key", "k"), ("accept", "a")];
    let scripted = answering(OK);
    pass(&rules(), &scripted, client_request(Method::GET, &headers)).await;
    let seen = &scripted.seen()[0];
    assert!(seen.headers("x-appwrite-key").is_empty() && seen.headers("connection").is_empty());
    assert_eq!(seen.headers("accept"), ["a"]);
    let plain = [("connection", "keep-alive"), ("x-appwrite-key", "k")];
    pass(&rules(), &scripted, client_request(Method::GET, &plain)).await;
    assert_eq!(scripted.seen()[1].headers("x-appwrite-key"), ["k"]);
}

#[tokio::test(start_paused = true)]
async fn the_standard_header_and_via_are_sent_when_asked_for() {
    let mut rules = rules();
    rules.sends_forwarded = true;
    rules.via = Some(HeaderValue::from_static("1.1 gate"));
    let scripted = answering("HTTP/1.1 200 OK\r\nvia: 1.1 up\r\ncontent-length: 4\r\n\r\nfine");
    let response = pass(&rules, &scripted, client_request(Method::GET, &[("host", "api.test:8443")])).await;
    let seen = &scripted.seen()[0];
    assert_eq!(seen.headers("forwarded"), [r#"for=198.51.100.7;proto=https;host="api.test:8443""#]);
    assert_eq!(seen.headers("via"), ["1.1 gate"]);
    assert_eq!(response.headers().get_all("via").iter().collect::<Vec<_>>(), ["1.1 up", "1.1 gate"]);
    let hostile = client_request(Method::GET, &[("host", "a\";for=6.6.6.6")]);
    pass(&rules, &scripted, hostile).await;
    assert_eq!(scripted.seen()[1].headers("forwarded"), ["for=198.51.100.7;proto=https"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_response_listed_headers_and_trailers_pass() {
    let scripted = answering(
        "HTTP/1.1 200 OK\r\netag: 1\r\nserver: up\r\nset-cookie: a\r\nconnection: keep-alive, etag\r\n\
         trailer: X-Sum, X-Secret, Content-Length\r\ntransfer-encoding: chunked\r\n\r\n\
         4\r\nfine\r\n0\r\nx-sum: 1\r\nx-secret: 2\r\n\r\n",
    );
    let response = pass(&rules(), &scripted, client_request(Method::GET, &[("te", "gzip, Trailers")])).await;
    assert_eq!((response.headers().len(), response.headers()["trailer"].as_bytes()), (1, &b"x-sum"[..]));
    let whole = response.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-sum"]);
    let seen = &scripted.seen()[0];
    assert_eq!((seen.headers("te"), seen.headers("connection")), (vec!["trailers"], vec!["te"]));
}

#[tokio::test(start_paused = true)]
async fn a_length_passes_only_where_no_body_tells_it() {
    let scripted = answering("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\ncontent-length: 1000\r\netag: 1\r\n\r\n");
    let response = pass(&rules(), &scripted, client_request(Method::HEAD, &[])).await;
    let lengths: Vec<_> = response.headers().get_all("content-length").iter().collect();
    assert_eq!(lengths, ["1000"]);
    assert_eq!(response.headers()["etag"], "1");
    let response = pass(&rules(), &answering(OK), client_request(Method::GET, &[])).await;
    assert!(!response.headers().contains_key("content-length"), "the body says it");
    let size = http_body::Body::size_hint(response.body()).exact();
    assert_eq!(size, Some(4));
}

/// The headers of a request as it was sent, without those that frame its body, and those that were added to it.
fn lines(head: &str) -> (Vec<String>, Vec<String>) {
    let framing = ["host", "content-length", "transfer-encoding", "trailer"];
    let lines = head.lines().skip(1).filter(|line| !framing.iter().any(|name| line.starts_with(name)));
    let mut lines: Vec<_> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines.sort_unstable();
    lines.into_iter().partition(|line| !line.starts_with("x-ours") && !line.starts_with("x-bad"))
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_made_to_be_sent_otherwise_has_the_headers_of_one_that_is_passed_on() {
    let mut with_names = rules();
    with_names.sends_forwarded = true;
    with_names.via = Some(HeaderValue::from_static("1.1 gate"));
    let requests: [(Method, &[(&'static str, &'static str)]); 6] = [
        (Method::GET, &[]),
        (Method::HEAD, &[("host", "api.test"), ("accept", "a"), ("accept", "b"), ("cookie", "secret")]),
        (Method::POST, &[("host", "api.test"), ("content-length", "4"), ("forwarded", "for=6.6.6.6"), ("expect", "x")]),
        (
            Method::GET,
            &[("connection", "close, X-Appwrite-Key"), ("x-appwrite-key", "k"), ("x-forwarded-for", "6.6.6.6")],
        ),
        (Method::POST, &[("te", "trailers"), ("trailer", "X-Sum, X-Secret"), ("content-type", "a/b")]),
        (Method::GET, &[("host", "a\";for=6.6.6.6"), ("upgrade", "h2c"), ("te", "gzip")]),
    ];
    for rules in [rules(), with_names] {
        for (method, headers) in &requests {
            let request = || {
                let mut request = client_request(method.clone(), headers);
                if headers.is_empty() {
                    *request.uri_mut() = "http://h2.test:81/in".parse().unwrap();
                }
                request
            };
            let scripted = answering(OK);
            pass_with(&rules, &scripted, request(), &[("x-ours", "1"), ("x-bad", "a\r\nx-ours: 2")]).await;
            let seen = &scripted.seen()[0];
            let (passed, ours) = lines(&seen.head);
            assert_eq!(ours, ["x-ours: 1"]);
            let made = rules.request(request(), "http://up.test/base/v1/things".parse().unwrap(), &forwarded());
            assert_eq!(seen.line(), format!("{} {}", made.method(), made.uri().path()));
            let made = made.headers();
            let announced: Vec<_> = made.get_all("trailer").iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(seen.headers("trailer"), announced);
            let made = made.iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
            assert_eq!(passed, lines(&format!("\r\n{}", made.collect::<String>())).0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_response_only_what_is_listed_stays_however_it_is_written() {
    let mut with_names = rules();
    with_names.via = Some(HeaderValue::from_static("1.1 gate"));
    for (reply, method, stays, trailer) in [
        (OK, Method::GET, &[][..], None),
        (
            "HTTP/1.1 200 OK\r\nETag: 1\r\nServer: up\r\nSet-Cookie: a\r\nConnection: keep-alive, etag\r\nVIA: 1.1 up\r\n\
             content-length: 0\r\n\r\n",
            Method::GET,
            &["via: 1.1 up"],
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\ntrailer: X-Sum, X-Secret\r\ntransfer-encoding: chunked\r\n\r\n\
             4\r\nfine\r\n0\r\nx-sum: 1\r\nx-secret: 2\r\n\r\n",
            Method::POST,
            &["trailer: x-sum"],
            Some("1"),
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: 1\r\ndate: now\r\n\r\n",
            Method::GET,
            &["content-length: 1000", "etag: 1"],
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nETag: 1\r\ndate: now\r\n\r\n",
            Method::HEAD,
            &["content-length: 1000", "etag: 1"],
            None,
        ),
    ] {
        for (rules, via) in [(&rules(), None), (&with_names, Some("via: 1.1 gate"))] {
            let response = pass(rules, &answering(reply), client_request(method.clone(), &[])).await;
            let headers = response.headers().iter();
            let mut headers: Vec<_> =
                headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            headers.sort_unstable();
            let mut expected: Vec<_> = stays.iter().copied().chain(via).collect();
            expected.sort_unstable();
            assert_eq!(headers, expected, "{reply}");
            let whole = response.into_body().collect().await.unwrap();
            let sum = whole.trailers().map(|trailers| (trailers.len(), trailers["x-sum"].to_str().unwrap().to_owned()));
            assert_eq!(sum, trailer.map(|sum: &str| (1, sum.to_owned())), "{reply}");
            let body = if reply.contains("fine") { "fine" } else { "" };
            assert_eq!(whole.to_bytes(), body, "{reply}");
        }
    }
}

#[test]
fn an_ipv6_client_is_quoted_where_it_has_to_be() {
    let mut rules = rules();
    rules.sends_forwarded = true;
    let forwarded = Forwarded::new("2001:db8::1".parse().unwrap(), false);
    let request = rules.request(Request::new(()), "http://up.test/".parse().unwrap(), &forwarded);
    assert_eq!(request.headers()["forwarded"], r#"for="[2001:db8::1]";proto=http"#);
    assert_eq!(request.headers()["x-forwarded-for"], "2001:db8::1");
}
