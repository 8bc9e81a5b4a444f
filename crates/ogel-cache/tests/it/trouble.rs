//! A Redis that answers slowly: nobody waits longer than is allowed, and then not at all.

use crate::server::{PATIENCE, Server, connected, eventually, process};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Passes everything on to a server, its answers as late as is said.
async fn slow(server: u16) -> (u16, Arc<AtomicU64>) {
    let (listener, delay) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Arc::new(AtomicU64::new(0)));
    let (port, late) = (listener.local_addr().unwrap().port(), delay.clone());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let late = late.clone();
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) =
                    TcpStream::connect(("127.0.0.1", server)).await.unwrap().into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                    tokio::time::sleep(Duration::from_millis(late.load(Ordering::Relaxed))).await;
                    if to_client.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, delay)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_redis_costs_three_waits_and_comes_back_by_itself() {
    let server = Server::start(&[]);
    let (port, delay) = slow(server.port).await;
    // Longer than a busy machine keeps a thread from its core: only waits for Redis are to be counted.
    let wait = Duration::from_millis(150);
    let shared = process(&format!("redis://127.0.0.1:{port}"), 1, wait);
    connected(&shared).await;
    let redis = shared.as_redis().unwrap();
    assert!(redis.find("s", &["t"], "k").await.is_ok());
    delay.store(2000, Ordering::Relaxed);
    let started = Instant::now();
    let mut waits = 0;
    for _ in 0..1000 {
        let asked = Instant::now();
        assert!(redis.find("s", &["t"], "k").await.is_err());
        waits += u32::from(asked.elapsed() >= wait);
    }
    assert!(waits <= 3, "{waits}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(!redis.health().0 && redis.failures() >= 1);
    delay.store(0, Ordering::Relaxed);
    eventually("it is used again", async || redis.find("s", &["t"], "k").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_not_there_costs_nothing() {
    let port = crate::server::free_port();
    let shared = process(&format!("redis://127.0.0.1:{port}"), 1, PATIENCE);
    let started = Instant::now();
    for _ in 0..1000 {
        assert!(shared.as_redis().unwrap().find("s", &["t"], "k").await.is_err());
    }
    shared.signal("nobody hears it").await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}
