//! The same over one server, a cluster of three, and a master that a Sentinel knows.

use crate::server::{Server, connected, eventually, process};
use ogel_cache::{Event, Grant, Lease, Redis};
use std::{process::Command, time::Duration};

const PATIENT: Duration = Duration::from_secs(2);

/// Everything that is asked of Redis.
async fn everything(url: &str) {
    let (one, two) = (process(url, 1, PATIENT), process(url, 2, PATIENT));
    connected(&one).await;
    connected(&two).await;
    let mut events = two.events();
    let (here, there) = (one.as_redis().unwrap(), two.as_redis().unwrap());
    // Kept under the epochs it was read under, and not under older ones.
    for scope in ["a", "b", "c", "d"] {
        let epoch = here.advance(scope, &["x", "y"], 1_800_000_000_000, false).await.unwrap();
        assert!(epoch >= 1_800_000_000_000);
        let changed = Event::Changed { scope: scope.into(), epoch, tags: vec!["x".into(), "y".into()] };
        assert_eq!(tokio::time::timeout(PATIENT, events.recv()).await.unwrap().unwrap(), changed);
        let minute = Duration::from_secs(60);
        assert!(here.keep(scope, &[("x", epoch), ("y", epoch)], "k", b"v", minute).await.unwrap());
        let found = there.find(scope, &["x", "y"], "k").await.unwrap();
        assert_eq!((found.epochs, found.value.as_deref()), (vec![epoch, epoch], Some(&b"v"[..])));
        assert_eq!(there.advance(scope, &["y"], 0, false).await.unwrap(), epoch + 1, "epochs only grow");
        assert!(!here.keep(scope, &[("x", epoch), ("y", epoch)], "k", b"old", minute).await.unwrap());
        let _ = events.recv().await;
    }
    // A window that two count together.
    let (length_ms, keeps_promises) = (10_000, false);
    let lease = |want, debt| Lease { holder: "h", limit: 10, now_ms: 15_000, length_ms, want, debt, keeps_promises };
    assert_eq!(here.lease(&lease(4, 1)).await.unwrap(), Grant { granted: 4, current: 5, before: 0 });
    assert_eq!(there.lease(&lease(9, 0)).await.unwrap(), Grant { granted: 5, current: 10, before: 0 });
    assert_eq!(there.lease(&lease(1, 0)).await.unwrap(), Grant { granted: 0, current: 10, before: 0 });
    assert_eq!(here.lease(&lease(-2, 0)).await.unwrap().current, 8);
    let next = Lease { now_ms: 25_000, want: 10, ..lease(0, 0) };
    assert_eq!(there.lease(&next).await.unwrap(), Grant { granted: 6, current: 6, before: 8 });
    promises_are_kept(here, there).await;
    // A batch that is sent again counts once.
    let day = Duration::from_secs(86_400);
    let fields = [("total".to_owned(), "3".to_owned()), ("total_duration".to_owned(), "1.250".to_owned())];
    for (from, batch) in [(here, 1), (here, 1), (there, 1), (here, 2)] {
        from.tally("sites", "2026-11-26", batch, day, &fields).await.unwrap();
    }
    let mut sums = there.tallies("sites", "2026-11-26").await.unwrap();
    sums.sort();
    assert_eq!(sums, [("total".to_owned(), "9".to_owned()), ("total_duration".to_owned(), "3.75".to_owned())]);
    // Said to others, and known as one's own.
    here.signal("news").await;
    eventually("it is heard", async || {
        matches!(events.recv().await, Ok(event @ Event::Signal { .. }) if two.is_news(&event) && !one.is_news(&event))
    })
    .await;
}

/// Whoever is told by the counts when there will be room finds it then, whatever is let in on credit or given back until then.
async fn promises_are_kept(here: &Redis, there: &Redis) {
    let at = |now_ms, want, debt| Lease {
        holder: "waits",
        limit: 10,
        now_ms,
        length_ms: 10_000,
        want,
        debt,
        keeps_promises: true,
    };
    let counts = |granted, current, before| Grant { granted, current, before };
    assert_eq!(here.lease(&at(15_000, 9, 1)).await.unwrap(), counts(9, 10, 0));
    // Nothing is promised yet, so what is given back counts.
    assert_eq!(here.lease(&at(15_000, -1, 0)).await.unwrap().current, 9);
    assert_eq!(here.lease(&at(15_000, 1, 0)).await.unwrap(), counts(1, 10, 0));
    // Room at 21000, when the ten weigh nine.
    assert_eq!(here.lease(&at(15_000, 1, 0)).await.unwrap(), counts(0, 10, 0));
    assert_eq!(there.lease(&at(16_000, 1, 1)).await.unwrap(), counts(0, 10, 0));
    assert_eq!(there.lease(&at(20_500, 1, 1)).await.unwrap(), counts(0, 0, 10));
    assert_eq!(there.lease(&at(15_000, -5, 0)).await.unwrap(), counts(0, 10, 0));
    assert_eq!(there.lease(&at(20_999, 1, 0)).await.unwrap(), counts(0, 0, 10));
    // What was owed is counted now, and the next one waits for it: until the ten weigh six, since three are in.
    assert_eq!(here.lease(&at(21_000, 1, 0)).await.unwrap(), counts(1, 3, 10));
    assert_eq!(there.lease(&at(23_999, 1, 0)).await.unwrap(), counts(0, 3, 10));
    assert_eq!(there.lease(&at(24_000, 1, 0)).await.unwrap(), counts(1, 4, 10));
    // What was promised or owed two windows ago is history.
    assert_eq!(here.lease(&at(24_000, 1, 1)).await.unwrap(), counts(0, 4, 10));
    assert_eq!(here.lease(&at(45_000, 2, 0)).await.unwrap(), counts(2, 2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server() {
    let server = Server::start(&[]);
    everything(&format!("redis://127.0.0.1:{}", server.port)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_with_a_password() {
    let server = Server::start(&["--requirepass", "p@ss"]);
    everything(&format!("redis://default:p%40ss@127.0.0.1:{}", server.port)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster() {
    let node = || Server::start(&["--cluster-enabled", "yes", "--save", ""]);
    let nodes = [node(), node(), node()];
    let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let made =
        Command::new("redis-cli").args(["--cluster", "create"]).args(&addresses).arg("--cluster-yes").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    everything(&format!("redis+cluster://{}", addresses.join(","))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_a_sentinel_knows() {
    let master = Server::start(&[]);
    let sentinel = Server::with(|folder, port| {
        let file = folder.join("sentinel.conf");
        let text = format!("port {port}\nsentinel monitor mymaster 127.0.0.1 {} 1\n", master.port);
        std::fs::write(&file, text).unwrap();
        vec![file.display().to_string(), "--sentinel".to_owned()]
    });
    everything(&format!("redis+sentinel://127.0.0.1:{}/mymaster", sentinel.port)).await;
}
