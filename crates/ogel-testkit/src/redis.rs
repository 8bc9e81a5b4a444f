//! Redis in tests: the shared one of the run under a prefix of one's own, or a server of one's own to be killed.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tempfile::TempDir;

/// The run's Redis. Keys of different tests are told apart by [`redis_prefix`].
pub fn redis_url() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are told where the server is by the environment")]
    std::env::var("OGEL_TEST_REDIS_URL")
        .expect("set OGEL_TEST_REDIS_URL, or run `cargo ci`, which starts a Redis of its own")
}

/// A prefix that no other test has.
pub fn redis_prefix() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = ogel_server::world::Entropy::System.next();
    format!("test-{}-{nanos:x}-{}:", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A hash as it lies in the run's Redis.
pub fn redis_hash(url: &str, database: u32, key: &str) -> HashMap<String, String> {
    let address = url.strip_prefix("redis://").unwrap();
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    write!(stream.get_mut(), "SELECT {database}\r\nHGETALL {key}\r\n").unwrap();
    let mut lines = stream.lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "+OK");
    let count: usize = lines.next().unwrap().strip_prefix('*').unwrap().parse().unwrap();
    // Each is its length on a line of its own, then its text.
    let texts: Vec<String> = lines.take(2 * count).skip(1).step_by(2).collect();
    texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// A Redis of a test's own, which it may kill, stop, start and empty.
pub struct RedisServer {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    /// Besides those that every one has.
    arguments: Vec<String>,
}

/// `redis-server`, or what `OGEL_TEST_REDIS_SERVER` names: a `valkey-server`, for example.
fn program() -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are told which server to run by the environment")]
    std::env::var("OGEL_TEST_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

impl RedisServer {
    pub fn start() -> Self {
        Self::start_with(|_, _| Vec::new())
    }

    /// With more arguments, made from a folder of its own and its port.
    fn start_with(arguments: impl FnOnce(&Path, u16) -> Vec<String>) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(folder.path(), port);
        let mut server = Self { folder, port, child: None, arguments };
        server.up();
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it (again), empty, on the same port.
    pub fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let child = Command::new(program())
            .args(&self.arguments)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("`redis-server` is installed; `cargo ci` sees to it");
        self.child = Some(child);
        for _ in 0..500 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server did not come up");
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.as_ref().expect("it runs").id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// It keeps its connections and says nothing any more.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Empties it.
    pub fn flush(&self) {
        use std::io::Read as _;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.write_all(b"FLUSHALL\r\n").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+OK\r\n");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // A stopped process dies of this, too.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A master, its replica, and a Sentinel that makes the one of the other when it is gone.
pub struct WatchedRedis {
    master: Option<RedisServer>,
    _replica: RedisServer,
    sentinel: RedisServer,
}

impl WatchedRedis {
    /// Once the Sentinel knows that the replica follows.
    pub fn start() -> Self {
        let master = RedisServer::start();
        let follows = ["--replicaof".to_owned(), "127.0.0.1".to_owned(), master.port.to_string()];
        let replica = RedisServer::start_with(|_, _| follows.to_vec());
        let sentinel = RedisServer::start_with(|folder, _| {
            let file = folder.join("sentinel.conf");
            let text = format!(
                "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\n\
                 sentinel failover-timeout main 2000\n",
                master.port
            );
            std::fs::write(&file, text).unwrap();
            vec![file.display().to_string(), "--sentinel".to_owned()]
        });
        let watched = Self { master: Some(master), _replica: replica, sentinel };
        for _ in 0..1000 {
            if watched.knows_a_replica_that_follows() {
                return watched;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the Sentinel found no replica");
    }

    fn knows_a_replica_that_follows(&self) -> bool {
        let port = self.sentinel.port.to_string();
        let asked = Command::new("redis-cli").args(["-p", &port, "sentinel", "replicas", "main"]).output().unwrap();
        let text = String::from_utf8_lossy(&asked.stdout);
        let mut lines = text.lines();
        let field = |lines: &mut std::str::Lines<'_>, name: &str| {
            lines.find(|line| *line == name)?;
            lines.next().map(str::to_owned)
        };
        field(&mut lines, "master-link-status").as_deref() == Some("ok")
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/main", self.sentinel.port)
    }

    /// At once, as a crash would.
    pub fn kill_master(&mut self) {
        self.master.take().expect("it lives").kill();
    }
}
