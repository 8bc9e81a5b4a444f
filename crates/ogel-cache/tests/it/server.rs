//! Servers of a test's own.

use ogel_cache::{RedisConfig, Shared};
use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Handle;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with the value.
pub(crate) struct Server {
    pub(crate) port: u16,
    child: Child,
    _folder: TempDir,
}

/// `redis-server`, or what `OGEL_TEST_REDIS_SERVER` names: a `valkey-server`, for example.
fn program() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are told which server to run by the environment")]
    std::env::var("OGEL_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

pub(crate) fn free_port() -> u16 {
    // A cluster's bus is on the port above by 10,000, so not too high a one.
    (0..1000)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port())
        .find(|port| *port < 50_000)
        .unwrap()
}

impl Server {
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::with(|_, port| {
            more.iter().map(ToString::to_string).chain(["--port".to_owned(), port.to_string()]).collect()
        })
    }

    /// `arguments` are made from a folder and a port.
    pub(crate) fn with(arguments: impl FnOnce(&Path, u16) -> Vec<String>) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let child = Command::new(program())
            .args(arguments(folder.path(), port))
            .args(["--bind", "127.0.0.1", "--dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("`redis-server` is installed; `cargo ci` sees to it");
        let server = Self { port, child, _folder: folder };
        for _ in 0..1000 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server did not come up");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process of its own, as far as Redis can tell.
pub(crate) fn process(url: &str, number: u64, wait: Duration) -> Shared {
    let config = RedisConfig {
        url: url.to_owned(),
        wait,
        prefix: String::new(),
        cache_database: 4,
        limits_database: 5,
        metrics_database: 6,
        process: number,
    };
    Shared::redis(&config, &Handle::current()).unwrap()
}

pub(crate) async fn eventually(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is().await {
        assert!(tokio::time::Instant::now() < deadline, "this never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn connected(shared: &Shared) {
    let redis = shared.as_redis().unwrap();
    eventually("Redis is used and heard", async || redis.health() == (true, true)).await;
}
