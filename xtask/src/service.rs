//! Programs that run beside a chore, and what the kernel says of them.
//!
//! Each is kept by a small shell whose standard input is a pipe from us: when the pipe closes, on success, failure, panic
//! or SIGKILL alike, the shell ends the program and everything it started. Nothing is left on a port.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::{Result, shell};

const KEEPER: &str = include_str!("keeper.sh");

/// Long enough for a profiler to write its file.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running program.
pub(crate) struct Service {
    name: String,
    keeper: Child,
    pub(crate) process: Process,
    log: PathBuf,
}

impl Service {
    /// Starts `command` with no environment but a path: settings of the person at the terminal must not change figures.
    pub(crate) fn start(name: &str, log: PathBuf, command: &[&str]) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&log)
            .args(command)
            .env_clear()
            .env("PATH", path)
            // Caddy insists on a place for its state.
            .env("HOME", log.parent().unwrap_or(Path::new("/")))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        let mut answer = String::new();
        let stdout = keeper.stdout.take().ok_or("the keeper has no output")?;
        BufReader::new(stdout).read_line(&mut answer).map_err(|error| error.to_string())?;
        let process = Process(answer.trim().parse().map_err(|_| format!("{name} cannot be started"))?);
        Ok(Self { name: name.to_owned(), keeper, process, log })
    }

    /// Waits until it takes connections.
    pub(crate) fn listening(self, address: SocketAddr) -> Result<Self> {
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if !self.process.exists() || started.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let skipped = log.lines().count().saturating_sub(8);
                let end: Vec<&str> = log.lines().skip(skipped).collect();
                return Err(format!("{} did not start:\n{}", self.name, end.join("\n")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self)
    }
}

impl Service {
    /// Ends it as a crash does, without a chance to say goodbye.
    pub(crate) fn kill(self) -> Result {
        self.process.signal("KILL")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("warning: {} may still be running: {error}", self.name);
        }
    }
}

/// A process with all its descendants.
#[derive(Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// Sends a signal by its name, such as `KILL`.
    pub(crate) fn signal(self, name: &str) -> Result {
        shell::run(Command::new("kill").args(["-s", name, &self.0.to_string()]))
    }

    pub(crate) fn exists(self) -> bool {
        // A child that ended stays as a zombie until its keeper is told to stop.
        self.field("State").is_some_and(|state| !state.starts_with('Z'))
    }

    fn field(self, name: &str) -> Option<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// Its own, and those of all its descendants.
    pub(crate) fn tree_numbers(self) -> Vec<u32> {
        self.tree().into_iter().map(Self::number).collect()
    }

    /// Whether another program follows every process of it.
    pub(crate) fn is_traced(self) -> bool {
        self.tree().into_iter().all(|process| process.field("TracerPid").is_some_and(|tracer| tracer != "0"))
    }

    fn tree(self) -> Vec<Self> {
        let (mut seen, mut waiting) = (BTreeSet::new(), vec![self.0]);
        while let Some(process) = waiting.pop() {
            if !seen.insert(process) {
                continue;
            }
            let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            for task in tasks {
                let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
                waiting.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        seen.into_iter().map(Self).collect()
    }

    /// Seconds of processor time, user and system, so far.
    pub(crate) fn cpu_seconds(self) -> f64 {
        let ticks = |process: Self| -> Option<f64> {
            let text = std::fs::read_to_string(format!("/proc/{}/stat", process.0)).ok()?;
            // The name before the last parenthesis may hold anything.
            let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
            let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
            Some(number(11)? + number(12)?)
        };
        self.tree().into_iter().filter_map(ticks).sum::<f64>() / ticks_per_second()
    }

    fn mebibytes(self, field: &str) -> f64 {
        let of = |process: Self| process.field(field)?.split_whitespace().next()?.parse::<f64>().ok();
        self.tree().into_iter().filter_map(of).sum::<f64>() / 1024.0
    }

    /// Resident memory now, in MiB.
    pub(crate) fn rss(self) -> f64 {
        self.mebibytes("VmRSS")
    }

    /// The most resident memory since the start, or since [`Self::forget_peak`].
    pub(crate) fn peak(self) -> f64 {
        self.mebibytes("VmHWM")
    }

    pub(crate) fn forget_peak(self) -> Result {
        for process in self.tree() {
            std::fs::write(format!("/proc/{}/clear_refs", process.0), "5")
                .map_err(|error| format!("the peak of resident memory cannot be reset: {error}"))?;
        }
        Ok(())
    }
}

fn ticks_per_second() -> f64 {
    static TICKS: std::sync::OnceLock<f64> = std::sync::OnceLock::new();
    *TICKS.get_or_init(|| {
        let answer = shell::output(Command::new("getconf").arg("CLK_TCK")).ok();
        answer.and_then(|text| text.trim().parse().ok()).unwrap_or(100.0)
    })
}

/// A port nobody listens on, below those the kernel gives to clients: with thousands of connections one of them would
/// sooner or later sit on a port that a server is about to take.
pub(crate) fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 12_000;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let start = u16::try_from(std::process::id() % 100).unwrap_or(0) * 100;
        let address = SocketAddr::from(([127, 0, 0, 1], FIRST + (start + step) % COUNT));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port on the loopback address".to_owned())
}

/// A program on the search path or where Debian keeps servers, which is on root's path only.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    shell::find(name).or_else(|| Some(Path::new("/usr/sbin").join(name)).filter(|file| file.is_file()))
}
