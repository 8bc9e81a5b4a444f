//! An upstream with several addresses, its breaker, and the log of what was tried.

use crate::{
    asking::{ask, get_of, until},
    scripted::{Reply, Scripted, answer},
};
use bytes::Bytes;
use http::Response;
use ogel_proxy::{
    AttemptLog, BoxFuture, BreakerConfig, BreakerState, Connect, Connector, EjectionConfig, Io, Limits, Replay,
    Sending, Upstream, UpstreamConfig, UpstreamError,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Host `h0` is the first of these, `h1` the second.
struct Hosts(Vec<Scripted>);

impl Connect for Hosts {
    fn connect<'a>(&'a self, host: &'a str, port: u16, tls: bool) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        let at: usize = host[1..].parse().unwrap();
        self.0[at].connect(host, port, tls)
    }
}

fn upstream(hosts: &[Scripted], breaker: Option<BreakerConfig>) -> Upstream {
    let bases = (0..hosts.len()).map(|at| format!("http://h{at}:81").parse().unwrap()).collect();
    let dice = AtomicU64::new(1);
    let random = Arc::new(move || dice.fetch_add(0x9e37_79b9_7f4a_7c15, SeqCst).wrapping_mul(0xbf58_476d_1ce4_e5b9));
    let ejection = EjectionConfig { consecutive_failures: 3, ..EjectionConfig::default() };
    let config = UpstreamConfig { limits: Limits::default(), breaker, ejection, random };
    Upstream::new(bases, Connector::custom(Arc::new(Hosts(hosts.to_vec()))), config).unwrap()
}

fn obliging() -> Scripted {
    Scripted::new(|_| answer(200, "text/plain", "fine"))
}

async fn get(upstream: &Upstream) -> Result<Response<Bytes>, UpstreamError> {
    ask(upstream, &get_of("/x"), until(Instant::now() + Duration::from_secs(5), Replay::BySafety)).await
}

#[tokio::test(start_paused = true)]
async fn addresses_share_the_load_and_each_is_called_by_its_own_name() {
    let hosts = [obliging(), obliging(), obliging()];
    let upstream = upstream(&hosts, None);
    for _ in 0..60 {
        get(&upstream).await.unwrap();
    }
    for (at, host) in hosts.iter().enumerate() {
        assert!(host.seen().len() >= 5, "h{at} saw {}", host.seen().len());
        assert_eq!(host.seen()[0].headers("host"), [format!("h{at}:81")]);
        assert_eq!(host.connects(), 1);
    }
    assert_eq!((upstream.pending_requests(), upstream.idle_connections()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_slow_gets_less() {
    let slow = Scripted::new(|_| {
        let fine = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
        Reply::Drip(vec![fine], Duration::from_secs(4))
    });
    let hosts = [slow, obliging(), obliging()];
    let upstream = upstream(&hosts, None);
    let requests = (0..8).map(|_| async {
        for _ in 0..25 {
            get(&upstream).await.unwrap();
        }
    });
    futures_util::future::join_all(requests).await;
    let seen: Vec<_> = hosts.iter().map(|host| host.seen().len()).collect();
    assert_eq!(seen.iter().sum::<usize>(), 200);
    assert!(seen[0] < 60 && seen[1] > 50 && seen[2] > 50, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_refuses_costs_no_request_is_left_out_and_comes_back() {
    let hosts = [obliging(), obliging()];
    let upstream = upstream(&hosts, None);
    hosts[0].refuse(3);
    for _ in 0..20 {
        get(&upstream).await.unwrap();
    }
    assert_eq!((upstream.ejected_addresses(), hosts[0].seen().len(), hosts[1].seen().len()), (1, 0, 20));
    tokio::time::advance(Duration::from_secs(3)).await;
    for _ in 0..20 {
        get(&upstream).await.unwrap();
    }
    assert!(hosts[0].seen().len() > 3 && upstream.ejected_addresses() == 0);
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_in_the_log() {
    let hosts = [obliging(), obliging()];
    let upstream = upstream(&hosts, None);
    hosts[0].refuse(1);
    let mut lines = Vec::new();
    for _ in 0..20 {
        let log = AttemptLog::new();
        let deadline = Instant::now() + Duration::from_secs(5);
        let how = Sending { deadline, replay: Replay::Never, log: Some(&log), informational: None };
        ask(&upstream, &get_of("/x"), how).await.unwrap();
        let reused: Vec<_> = log.attempts().iter().map(|attempt| attempt.reused).collect();
        lines.push((log.to_string(), reused));
    }
    let both = lines.iter().find(|(line, _)| line.contains("refused")).unwrap();
    assert_eq!(both.0, "h0:81 refused 0.0ms, h1:81 200 0.0ms");
    assert!(!both.1[0], "what was refused was no kept connection");
    assert!(lines.contains(&("h1:81 200 0.0ms".to_owned(), vec![true])), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn the_breaker_opens_half_opens_and_closes() {
    let is_well = Arc::new(AtomicBool::new(false));
    let host = Scripted::new({
        let is_well = is_well.clone();
        move |_| answer(if is_well.load(SeqCst) { 200 } else { 503 }, "text/plain", "fine")
    });
    let breaker = BreakerConfig { consecutive_failures: 4, pause: Duration::from_secs(1), ..BreakerConfig::default() };
    let upstream = upstream(std::slice::from_ref(&host), Some(breaker));
    for _ in 0..4 {
        assert_eq!(get(&upstream).await.unwrap().status(), 503);
    }
    assert_eq!(upstream.breaker_state(), BreakerState::Open);
    let error = get(&upstream).await.unwrap_err();
    let UpstreamError::BreakerOpen { retry_after } = error else { panic!("{error:?}") };
    assert!(retry_after > Duration::from_millis(740) && retry_after <= Duration::from_secs(1));
    assert!(!error.is_transient() && !error.may_have_been_processed());
    assert_eq!(host.seen().len(), 4);

    tokio::time::advance(retry_after).await;
    assert_eq!(get(&upstream).await.unwrap().status(), 503);
    assert!(matches!(get(&upstream).await, Err(UpstreamError::BreakerOpen { .. })), "one failed probe is enough");
    tokio::time::advance(Duration::from_secs(2)).await;
    is_well.store(true, SeqCst);
    for _ in 0..10 {
        get(&upstream).await.unwrap();
    }
    assert_eq!(upstream.breaker_state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_upstream_s_fault_does_not_open_the_breaker() {
    let host = Scripted::new(|seen| if seen.number <= 20 { Reply::Hang } else { answer(500, "text/plain", "") });
    let upstream = upstream(std::slice::from_ref(&host), Some(BreakerConfig::default()));
    for _ in 0..20 {
        let how = until(Instant::now() + Duration::from_millis(50), Replay::Never);
        let error = ask(&upstream, &get_of("/x"), how).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Deadline { sent: true }), "{error:?}");
    }
    for _ in 0..20 {
        assert_eq!(get(&upstream).await.unwrap().status(), 500);
    }
    assert_eq!(upstream.breaker_state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_cut_off_or_come_too_late_do_open_it() {
    let replies: [fn() -> Reply; 2] =
        [|| Reply::Last("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned()), || Reply::Hang];
    for reply in replies {
        let host = Scripted::new(move |_| reply());
        let breaker = BreakerConfig { min_requests: 4, consecutive_failures: 4, ..BreakerConfig::default() };
        let upstream = upstream(std::slice::from_ref(&host), Some(breaker));
        for _ in 0..4 {
            get(&upstream).await.unwrap_err();
        }
        assert_eq!(upstream.breaker_state(), BreakerState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_have_to_share_scheme_and_path() {
    let make = |bases: &[&str]| {
        let config = UpstreamConfig {
            limits: Limits::default(),
            breaker: None,
            ejection: EjectionConfig::default(),
            random: Arc::new(|| 0),
        };
        let bases = bases.iter().map(|base| base.parse().unwrap()).collect();
        Upstream::new(bases, obliging().connector(), config).is_ok()
    };
    assert!(make(&["http://a/p", "http://b:81/p"]));
    for wrong in [&["http://a", "https://b"][..], &["http://a/p", "http://b/q"], &[], &["http://a", "/only"]] {
        assert!(!make(wrong), "{wrong:?}");
    }
}

/// What a name means may change while we run: each connection asks anew.
#[tokio::test(start_paused = true)]
async fn a_name_that_means_another_address_by_now_is_followed_by_the_next_connection() {
    struct Names(Arc<AtomicU64>, [Scripted; 2]);
    impl Connect for Names {
        fn connect<'a>(&'a self, host: &'a str, port: u16, tls: bool) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
            assert_eq!(host, "ghost.test", "the name, not what it once meant");
            self.1[usize::try_from(self.0.load(SeqCst)).unwrap()].connect(host, port, tls)
        }
    }
    let meaning = Arc::new(AtomicU64::new(0));
    // The old one closes after its answer, as one does that is taken out of service.
    let old = Scripted::new(|_| {
        Reply::Last("HTTP/1.1 200 X\r\ncontent-length: 3\r\nconnection: close\r\n\r\nold".to_owned())
    });
    let new = Scripted::new(|_| answer(200, "text/plain", "new"));
    let connector = Connector::custom(Arc::new(Names(meaning.clone(), [old.clone(), new.clone()])));
    let config = UpstreamConfig {
        limits: Limits::default(),
        breaker: None,
        ejection: EjectionConfig::default(),
        random: Arc::new(|| 1),
    };
    let upstream = Upstream::new(vec!["http://ghost.test:81".parse().unwrap()], connector, config).unwrap();
    assert_eq!(get(&upstream).await.unwrap().body(), "old");
    meaning.store(1, SeqCst);
    for _ in 0..3 {
        assert_eq!(get(&upstream).await.unwrap().body(), "new");
    }
    assert_eq!((old.seen().len(), new.seen().len(), new.connects()), (1, 3, 1));
}
