//! What the embedded Ghost is told at start. It reads no environment and no file by itself: whoever embeds it decides.
//! Refuses: defaults that reach outside this machine. Next: `lib.rs`, which consumes it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Where "now" comes from.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Where events are posted, and the secret both signatures are made with.
#[derive(Clone)]
pub struct Webhook {
    /// Absolute `http` or `https` URL.
    pub url: String,
    /// Shared secret. `whsec_` + base64 is decoded for the Standard Webhooks signature, anything else is used as it is.
    pub secret: String,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Settings of one embedded Ghost. `Config::new` fills in everything but the two things that have no default.
#[derive(Clone)]
pub struct Config {
    /// Holds the SQLite file, clones in progress, build outputs and the npm cache. One process at a time.
    pub data_dir: PathBuf,
    /// Address of the REST and realtime API. Port 0 takes a free one.
    pub api_listen: SocketAddr,
    /// Address of the preview server. Port 0 takes a free one.
    pub preview_listen: SocketAddr,
    /// Base of preview URLs, such as `http://localhost:4001`. By default `http://localhost:` and the bound port.
    pub preview_public_base: Option<String>,
    /// The platform's key: sees everything.
    pub platform_key: String,
    /// Where events are posted, if anywhere.
    pub webhook: Option<Webhook>,
    /// Accept `file://` repositories.
    pub allow_file_urls: bool,
    /// Accept repositories on loopback, private and link-local hosts.
    pub allow_private_hosts: bool,
    /// Builds running at once, at least one; the rest queue.
    pub max_concurrent_builds: usize,
    /// Wall-clock limit of one build, from clone to published output.
    pub build_timeout: Duration,
    /// Limit of resident memory of a build's process group.
    pub build_memory_bytes: u64,
    /// Lines kept per build. What comes after is read and dropped, and the log says so.
    pub max_log_lines: u64,
    /// Bytes kept per line. Longer lines are cut, and marked.
    pub max_line_bytes: usize,
    /// Let the platform's key ask for faults with `POST /v1/faults`. For a Ghost in a process of its own.
    pub fault_control: bool,
    /// Where "now" comes from.
    pub clock: Clock,
    /// The environment child processes may inherit from. Only `PATH`, `LANG` and settings of npm, proxies and
    /// certificates are taken from it. Empty by default: then `PATH` is the usual system directories.
    pub inherit_env: Vec<(OsString, OsString)>,
}

impl Config {
    /// Loopback, free ports, two builds at a time, 15 minutes and 2 GiB each.
    pub fn new(data_dir: impl Into<PathBuf>, platform_key: impl Into<String>) -> Config {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Config {
            data_dir: data_dir.into(),
            api_listen: loopback,
            preview_listen: loopback,
            preview_public_base: None,
            platform_key: platform_key.into(),
            webhook: None,
            allow_file_urls: false,
            allow_private_hosts: false,
            max_concurrent_builds: 2,
            build_timeout: Duration::from_secs(15 * 60),
            build_memory_bytes: 2 << 30,
            max_log_lines: 1_000_000,
            max_line_bytes: 16 << 10,
            fault_control: false,
            clock: default_clock(),
            inherit_env: Vec::new(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that names the real clock; every reader gets it as a value"
)]
fn default_clock() -> Clock {
    Arc::new(Utc::now)
}
