//! The master dies: the Sentinel makes its replica the master, and the same process goes on with it.

use crate::server::{Server, connected, eventually, process};
use ogel_cache::{Event, Lease};
use std::{process::Command, time::Duration};

const PATIENT: Duration = Duration::from_secs(2);

fn asked(port: u16, arguments: &[&str]) -> String {
    let answer = Command::new("redis-cli").args(["-p", &port.to_string()]).args(arguments).output().unwrap();
    String::from_utf8_lossy(&answer.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_master_dies_its_replica_takes_over_with_what_was_kept() {
    let master = Server::start(&["--save", ""]);
    let replica = Server::start(&["--save", "", "--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinel = Server::with(|folder, port| {
        let file = folder.join("sentinel.conf");
        let text = format!(
            "port {port}\nsentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 2000\n",
            master.port
        );
        std::fs::write(&file, text).unwrap();
        vec![file.display().to_string(), "--sentinel".to_owned()]
    });
    eventually("the Sentinel knows that the replica follows", async || {
        asked(sentinel.port, &["sentinel", "replicas", "main"]).contains("master-link-status\nok")
    })
    .await;
    let url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port);
    let (one, two) = (process(&url, 1, PATIENT), process(&url, 2, PATIENT));
    connected(&one).await;
    connected(&two).await;
    let (here, there) = (one.as_redis().unwrap(), two.as_redis().unwrap());
    let epoch = here.advance("s", &["t"], 1_800_000_000_000, false).await.unwrap();
    assert!(here.keep("s", &[("t", epoch)], "k", b"v", Duration::from_secs(60)).await.unwrap());
    let lease =
        Lease { holder: "h", limit: 10, now_ms: 15_000, length_ms: 10_000, want: 4, debt: 0, keeps_promises: true };
    assert_eq!(here.lease(&lease).await.unwrap().granted, 4);
    eventually("all of it has reached the replica", async || {
        asked(replica.port, &["-n", "5", "dbsize"]).trim() == "1"
            && asked(replica.port, &["-n", "4", "dbsize"]).trim() == "2"
    })
    .await;
    drop(master);
    // Nobody waits for what is gone.
    eventually("it is given up", async || !here.health().0).await;
    connected(&one).await;
    connected(&two).await;
    assert_eq!(asked(replica.port, &["role"]).lines().next(), Some("master"));
    // Commands, and what was kept.
    let found = there.find("s", &["t"], "k").await.unwrap();
    assert_eq!((found.epochs, found.value.as_deref()), (vec![epoch], Some(&b"v"[..])));
    assert_eq!(there.lease(&Lease { want: 9, ..lease }).await.unwrap().granted, 6, "both count on");
    // What is said at one is heard at the other.
    let mut events = two.events();
    let next = here.advance("s", &["t"], 0, false).await.unwrap();
    assert_eq!(next, epoch + 1);
    eventually(
        "the other hears of it",
        async || matches!(events.recv().await, Ok(Event::Changed { epoch, .. }) if epoch == next),
    )
    .await;
}
