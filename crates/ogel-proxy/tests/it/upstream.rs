//! Connections kept, replayed, timed out and given up.

use crate::{
    asking::{ask, pass_on, rules, single, until},
    scripted::{Reply, Scripted, answer},
};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use ogel_proxy::{
    ConnectReason, Connector, EjectionConfig, Limits, OutgoingBody, Replay, Upstream, UpstreamConfig, UpstreamError,
};
use std::time::Duration;
use tokio::time::Instant;

fn upstream(scripted: &Scripted, limits: Limits) -> Upstream {
    single("http://ghost.test:8080".parse().unwrap(), scripted.connector(), limits).unwrap()
}

fn request(method: Method) -> Request<Bytes> {
    let body = if method == Method::POST { Bytes::from_static(b"payload") } else { Bytes::new() };
    Request::builder().method(method).uri("http://elsewhere.test/path?q=1").body(body).unwrap()
}

async fn send(upstream: &Upstream, method: Method, replay: Replay) -> Result<Response<Bytes>, UpstreamError> {
    ask(upstream, &request(method), until(Instant::now() + Duration::from_secs(60), replay)).await
}

async fn get(upstream: &Upstream) -> Result<Response<Bytes>, UpstreamError> {
    send(upstream, Method::GET, Replay::BySafety).await
}

fn ok() -> Reply {
    answer(200, "text/plain", "fine")
}

#[tokio::test(start_paused = true)]
async fn requests_after_each_other_share_one_connection_and_carry_our_host() {
    let scripted = Scripted::new(|_| ok());
    let upstream = upstream(&scripted, Limits::default());
    for _ in 0..5 {
        assert_eq!(get(&upstream).await.unwrap().body(), "fine");
    }
    assert_eq!((scripted.connects(), upstream.connections_opened(), upstream.idle_connections()), (1, 1, 1));
    let seen = scripted.seen();
    assert_eq!(seen[4].line(), "GET /path?q=1");
    assert_eq!(seen[4].headers("host"), ["ghost.test:8080"]);
}

#[tokio::test(start_paused = true)]
async fn requests_at_once_get_a_connection_each_and_only_so_many_are_kept() {
    let scripted = Scripted::new(|_| ok());
    let upstream = upstream(&scripted, Limits { max_idle_per_thread: 2, ..Limits::default() });
    let (a, b, c, d) = tokio::join!(get(&upstream), get(&upstream), get(&upstream), get(&upstream));
    assert!([a, b, c, d].iter().all(Result::is_ok));
    assert_eq!((scripted.connects(), upstream.idle_connections()), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn a_connection_idle_for_too_long_is_not_used_again() {
    let scripted = Scripted::new(|_| ok());
    let upstream = upstream(&scripted, Limits { idle_timeout: Duration::from_secs(10), ..Limits::default() });
    get(&upstream).await.unwrap();
    tokio::time::advance(Duration::from_secs(9)).await;
    get(&upstream).await.unwrap();
    assert_eq!(scripted.connects(), 1);
    tokio::time::advance(Duration::from_secs(10)).await;
    get(&upstream).await.unwrap();
    assert_eq!((scripted.connects(), upstream.idle_connections()), (2, 1));
}

/// A name that points somewhere else by now, without anybody closing a connection: who asks for it is told by the connector
/// which place it led to.
#[tokio::test(start_paused = true)]
async fn an_upstream_that_moves_is_followed_however_busy_its_connections_are() {
    struct Moving([Scripted; 2], std::sync::atomic::AtomicUsize);
    impl ogel_proxy::Connect for Moving {
        fn connect<'a>(
            &'a self,
            host: &'a str,
            port: u16,
            tls: bool,
        ) -> ogel_proxy::BoxFuture<'a, std::io::Result<Box<dyn ogel_proxy::Io>>> {
            self.0[self.1.load(std::sync::atomic::Ordering::SeqCst)].connect(host, port, tls)
        }
    }
    let places = [Scripted::new(|_| ok()), Scripted::new(|_| ok())];
    let name = std::sync::Arc::new(Moving(places.clone(), 0.into()));
    let limits = Limits { max_age: Duration::from_secs(60), ..Limits::default() };
    // The greatest chance there is takes a quarter off.
    let random: ogel_proxy::Random = std::sync::Arc::new(|| u64::MAX);
    let config = UpstreamConfig { limits, breaker: None, ejection: EjectionConfig::default(), random };
    let base = "http://ghost.test:8080".parse().unwrap();
    let upstream = Upstream::new(vec![base], Connector::custom(name.clone()), config).unwrap();
    get(&upstream).await.unwrap();
    name.1.store(1, std::sync::atomic::Ordering::SeqCst);
    // Never idle for long, so nothing else would end it.
    for _ in 0..44 {
        tokio::time::advance(Duration::from_secs(1)).await;
        get(&upstream).await.unwrap();
    }
    assert_eq!((places[0].connects(), places[1].connects()), (1, 0));
    for _ in 0..2 {
        tokio::time::advance(Duration::from_secs(1)).await;
        get(&upstream).await.unwrap();
    }
    assert_eq!((places[0].seen().len(), places[1].connects(), places[1].seen().len()), (45, 1, 2));
    assert_eq!(upstream.idle_connections(), 1, "the old one is not kept beside the new one");
}

#[tokio::test(start_paused = true)]
async fn a_connection_the_upstream_closed_is_noticed_before_it_is_used_even_for_a_post() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
    let scripted = Scripted::new(move |_| Reply::Last(text.to_owned()));
    let upstream = upstream(&scripted, Limits::default());
    for _ in 0..3 {
        assert_eq!(send(&upstream, Method::POST, Replay::Never).await.unwrap().body(), "fine");
        tokio::task::yield_now().await;
    }
    assert_eq!((scripted.connects(), scripted.seen().len()), (3, 3));
}

/// Answers the first request; closes when the second comes on the same connection; answers all later ones.
fn dies_under_the_second() -> Scripted {
    Scripted::new(|seen| if seen.number == 2 { Reply::Close } else { ok() })
}

#[tokio::test(start_paused = true)]
async fn a_get_on_a_kept_connection_that_dies_is_replayed_once_on_a_fresh_one() {
    let scripted = dies_under_the_second();
    let upstream = upstream(&scripted, Limits::default());
    get(&upstream).await.unwrap();
    assert_eq!(get(&upstream).await.unwrap().body(), "fine");
    let connections: Vec<_> = scripted.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_post_is_replayed_only_when_it_is_keyed() {
    let scripted = dies_under_the_second();
    let kept = upstream(&scripted, Limits::default());
    get(&kept).await.unwrap();
    let error = send(&kept, Method::POST, Replay::BySafety).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Reset { sent: true, .. }), "{error:?}");
    assert!(error.may_have_been_processed());
    assert_eq!(scripted.seen().len(), 2);

    let scripted = dies_under_the_second();
    let kept = upstream(&scripted, Limits::default());
    get(&kept).await.unwrap();
    send(&kept, Method::POST, Replay::Keyed).await.unwrap();
    let bodies: Vec<_> = scripted.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, ["", "payload", "payload"]);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_replayed_is_not_even_if_it_is_a_get() {
    let scripted = dies_under_the_second();
    let kept = upstream(&scripted, Limits::default());
    get(&kept).await.unwrap();
    let error = send(&kept, Method::GET, Replay::Never).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Reset { sent: true, .. }), "{error:?}");
    assert_eq!(scripted.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_that_dies_is_not_replayed() {
    let scripted = Scripted::new(|_| Reply::Close);
    let error = get(&upstream(&scripted, Limits::default())).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Reset { .. }), "{error:?}");
    assert_eq!(scripted.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_says_so_and_is_certainly_unprocessed() {
    let scripted = Scripted::new(|_| ok());
    scripted.refuse(1);
    let error = get(&upstream(&scripted, Limits::default())).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Connect { reason: ConnectReason::Refused, .. }), "{error:?}");
    assert!(!error.may_have_been_processed() && error.is_transient());
}

#[tokio::test(start_paused = true)]
async fn silence_ends_at_the_first_byte_timeout_or_at_the_deadline_whichever_is_first() {
    let scripted = Scripted::new(|_| Reply::Hang);
    let upstream = upstream(&scripted, Limits { first_byte_timeout: Duration::from_secs(5), ..Limits::default() });
    let started = Instant::now();
    let error = get(&upstream).await.unwrap_err();
    assert!(matches!(error, UpstreamError::FirstByteTimeout), "{error:?}");
    assert_eq!(started.elapsed().as_secs(), 5);
    let deadline = Instant::now() + Duration::from_secs(2);
    let error = ask(&upstream, &request(Method::GET), until(deadline, Replay::BySafety)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Deadline { sent: true }), "{error:?}");
    assert_eq!((started.elapsed().as_secs(), upstream.idle_connections()), (7, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_ends_too_by_a_limit_of_its_own() {
    let scripted = Scripted::new(|_| Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned()));
    let upstream = upstream(&scripted, Limits { body_idle_timeout: Duration::from_secs(40), ..Limits::default() });
    let started = Instant::now();
    let error = get(&upstream).await.unwrap_err();
    assert!(matches!(error, UpstreamError::BodyIdleTimeout), "{error:?}");
    assert_eq!(started.elapsed().as_secs(), 40);
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_slowly_but_keeps_coming_is_read_to_its_end() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
    let scripted = Scripted::new(move |_| Reply::Drip(vec![head, "ab", "cd", "ef"], Duration::from_secs(4)));
    let upstream = upstream(&scripted, Limits { body_idle_timeout: Duration::from_secs(5), ..Limits::default() });
    assert_eq!(get(&upstream).await.unwrap().body(), "abcdef");
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = ask(&upstream, &request(Method::GET), until(deadline, Replay::BySafety)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Deadline { sent: true }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_cut_short_is_truncated_whichever_way_it_told_its_end() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
    ] {
        let scripted = Scripted::new(move |_| Reply::Last(text.to_owned()));
        let error = get(&upstream(&scripted, Limits::default())).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Truncated { .. }), "{text}: {error:?}");
        assert!(error.may_have_been_processed() && error.is_transient());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_http_or_can_be_read_in_two_ways_is_a_protocol_error() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(40 << 10));
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(70 << 10));
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(200));
    for text in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n b: folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nfine",
        "HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\nfine",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nfine",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        &long,
        &endless,
        &many,
    ] {
        let reply = text.to_owned();
        let scripted = Scripted::new(move |_| Reply::Raw(reply.clone()));
        let upstream = upstream(&scripted, Limits::default());
        let error = get(&upstream).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Protocol { .. }), "{}: {error:?}", &text[..40.min(text.len())]);
        assert_eq!(upstream.idle_connections(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_answer_that_nobody_asked_for_is_never_given_to_the_next_request() {
    let split = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfineHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let scripted = Scripted::new(move |_| Reply::Raw(split.to_owned()));
    let upstream = upstream(&scripted, Limits::default());
    for _ in 0..3 {
        assert_eq!(get(&upstream).await.unwrap().body(), "fine");
    }
    assert_eq!(scripted.connects(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_same_length_twice_is_one_length() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nfine";
    let scripted = Scripted::new(move |_| Reply::Raw(text.to_owned()));
    assert_eq!(get(&upstream(&scripted, Limits::default())).await.unwrap().body(), "fine");
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_limit_is_refused_whether_or_not_it_tells_its_length() {
    let told = || answer(200, "text/plain", &"x".repeat(101));
    let chunk = || {
        Reply::Raw(format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n65\r\n{}\r\n0\r\n\r\n",
            "x".repeat(101)
        ))
    };
    let scripted = Scripted::new(move |seen| if seen.number == 1 { told() } else { chunk() });
    let upstream = upstream(&scripted, Limits { max_response_bytes: 100, ..Limits::default() });
    for _ in 0..2 {
        let error = get(&upstream).await.unwrap_err();
        assert!(matches!(error, UpstreamError::TooLarge { limit: 100 }), "{error:?}");
    }
    assert_eq!(upstream.idle_connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_announces_too_much_is_refused_before_it_comes() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n";
    let scripted = Scripted::new(move |_| Reply::Raw(head.to_owned()));
    let upstream = upstream(&scripted, Limits { max_response_bytes: 100, ..Limits::default() });
    let started = Instant::now();
    let error = get(&upstream).await.unwrap_err();
    assert!(matches!(error, UpstreamError::TooLarge { limit: 100 }), "{error:?}");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn chunks_are_put_together() {
    let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n";
    let scripted = Scripted::new(move |_| Reply::Raw(text.to_owned()));
    let upstream = upstream(&scripted, Limits::default());
    assert_eq!(get(&upstream).await.unwrap().body(), "abcde");
    assert_eq!(upstream.idle_connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_streamed_body_keeps_its_connection_until_its_end_and_closes_it_when_dropped() {
    let scripted = Scripted::new(|_| ok());
    let upstream = upstream(&scripted, Limits::default());
    let deadline = Instant::now() + Duration::from_secs(60);
    let rules = rules(&[]);
    let once = || {
        let request = request(Method::GET).map(OutgoingBody::from);
        pass_on(&upstream, &rules, request, until(deadline, Replay::BySafety))
    };
    let response = once().await.unwrap();
    assert_eq!(upstream.idle_connections(), 0);
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "fine");
    assert_eq!(upstream.idle_connections(), 1, "its length was told, so the last piece is its end");
    drop(once().await.unwrap());
    assert_eq!(upstream.idle_connections(), 0);
    get(&upstream).await.unwrap();
    assert_eq!(scripted.connects(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_gives_its_connection_back_at_once() {
    let scripted = Scripted::new(|_| Reply::Raw("HTTP/1.1 204 No Content\r\n\r\n".to_owned()));
    let upstream = upstream(&scripted, Limits::default());
    let deadline = Instant::now() + Duration::from_secs(60);
    let request = request(Method::DELETE).map(OutgoingBody::from);
    let response = pass_on(&upstream, &rules(&[]), request, until(deadline, Replay::Never)).await.unwrap();
    assert_eq!(upstream.idle_connections(), 1);
    drop(response);
    get(&upstream).await.unwrap();
    assert_eq!(scripted.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_closes_its_connection() {
    let scripted = Scripted::new(|seen| if seen.number == 1 { Reply::Hang } else { ok() });
    let upstream = upstream(&scripted, Limits::default());
    let dropped = tokio::time::timeout(Duration::from_millis(100), get(&upstream)).await;
    assert!(dropped.is_err());
    get(&upstream).await.unwrap();
    assert_eq!((scripted.connects(), upstream.idle_connections()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_never_asked_for() {
    let scripted = Scripted::new(|_| ok());
    let error = send(&upstream(&scripted, Limits::default()), Method::CONNECT, Replay::Keyed).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Protocol { .. }) && scripted.connects() == 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_without_a_host_is_refused() {
    let scripted = Scripted::new(|_| ok());
    assert!(single("/path".parse().unwrap(), scripted.connector(), Limits::default()).is_err());
}
