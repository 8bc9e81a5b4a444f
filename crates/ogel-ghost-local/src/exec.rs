//! One command of a build as a child process: own process group, scrubbed environment, no stdin, every line to the log,
//! and four ways to end: it exits, it is cancelled, it runs out of time, it runs out of memory. Whatever it leaves
//! behind in its group is killed before this returns. Refuses to inherit anything. Next: `pipeline.rs`.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::group;
use crate::lines::Splitter;
use crate::log::{Log, Stream};
use crate::state::App;

const MEMORY_POLL: Duration = Duration::from_millis(100);
/// How long output may stay open after the group is gone: something that left the group may hold it. Long enough for a
/// slow disk to take the last lines.
const DRAIN: Duration = Duration::from_secs(15);

/// The limits and the log a build's commands share.
pub(crate) struct Bounds {
    pub(crate) app: Arc<App>,
    pub(crate) build_id: String,
    pub(crate) log: Log,
    /// Cancelled by the caller or by the end of the process.
    pub(crate) stop: CancellationToken,
    pub(crate) deadline: Instant,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) enum End {
    Exited(ExitStatus),
    Stopped,
    OutOfTime,
    OutOfMemory(u64),
    NotStarted(std::io::Error),
}

/// Runs `program` to its end. `hide` are texts that must not reach the log.
pub(crate) async fn run<A: AsRef<OsStr>>(
    bounds: &Bounds,
    program: &str,
    args: &[A],
    cwd: &Path,
    env: &[(OsString, OsString)],
    hide: &[String],
) -> End {
    let mut command = Command::new(program);
    command.args(args).current_dir(cwd).env_clear().envs(env.iter().map(|(name, value)| (name, value)));
    command.env(group::MARK, &bounds.build_id);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return End::NotStarted(error),
    };
    let pgid = child.id().unwrap_or_default();
    remember(bounds, pgid).await;
    let readers = [
        child
            .stdout
            .take()
            .map(|pipe| tokio::spawn(pump(pipe, Stream::Stdout, bounds.log.clone(), limit(bounds), hide.to_vec()))),
        child
            .stderr
            .take()
            .map(|pipe| tokio::spawn(pump(pipe, Stream::Stderr, bounds.log.clone(), limit(bounds), hide.to_vec()))),
    ];
    let end = tokio::select! {
        biased;
        () = bounds.stop.cancelled() => End::Stopped,
        () = tokio::time::sleep_until(bounds.deadline) => End::OutOfTime,
        used = over_limit(pgid, bounds.app.config.build_memory_bytes) => End::OutOfMemory(used),
        status = child.wait() => match status {
            Ok(status) => End::Exited(status),
            Err(error) => End::NotStarted(error),
        },
    };
    group::end(pgid, || {
        // Reaps the leader; an error means that it was reaped already.
        let _ = child.try_wait();
    })
    .await;
    group::sweep(&bounds.build_id).await;
    for mut reader in readers.into_iter().flatten() {
        if tokio::time::timeout(DRAIN, &mut reader).await.is_err() {
            reader.abort();
        }
    }
    forget(bounds, pgid).await;
    end
}

fn limit(bounds: &Bounds) -> usize {
    bounds.app.config.max_line_bytes
}

async fn over_limit(pgid: u32, limit: u64) -> u64 {
    loop {
        tokio::time::sleep(MEMORY_POLL).await;
        if let Some(used) = group::resident_bytes(pgid).await
            && used > limit
        {
            return used;
        }
    }
}

async fn pump(mut pipe: impl AsyncRead + Unpin, stream: Stream, log: Log, max_line: usize, hide: Vec<String>) {
    let mut buffer = vec![0; 32 << 10];
    let mut splitter = Splitter::new(max_line);
    let mut lines = Vec::new();
    loop {
        let read = match pipe.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "output of a build could not be read");
                break;
            }
        };
        splitter.push(&buffer[..read], |line| lines.push(line));
        for line in lines.drain(..) {
            log.line(stream, masked(line, &hide)).await;
        }
    }
    if let Some(line) = splitter.finish() {
        log.line(stream, masked(line, &hide)).await;
    }
}

fn masked(line: String, hide: &[String]) -> String {
    hide.iter().fold(line, |line, secret| line.replace(secret, "***"))
}

/// Writes the group down, so that a start after a crash can find and end it.
async fn remember(bounds: &Bounds, pgid: u32) {
    let mark = group::mark(pgid).await.unwrap_or_default();
    let done = sqlx::query("INSERT OR REPLACE INTO build_groups (build_id, pgid, mark) VALUES ($1, $2, $3)")
        .bind(&bounds.build_id)
        .bind(i64::from(pgid))
        .bind(mark)
        .execute(&bounds.app.db)
        .await;
    if let Err(error) = done {
        tracing::error!(%error, "a process group could not be written down");
    }
}

async fn forget(bounds: &Bounds, pgid: u32) {
    let done = sqlx::query("DELETE FROM build_groups WHERE build_id = $1 AND pgid = $2")
        .bind(&bounds.build_id)
        .bind(i64::from(pgid))
        .execute(&bounds.app.db)
        .await;
    if let Err(error) = done {
        tracing::error!(%error, "a process group could not be crossed out");
    }
}

/// The environment of every command: where programs are, a private home, and how to reach the network.
pub(crate) fn base_env(app: &App, build_dir: &Path) -> Vec<(OsString, OsString)> {
    let given = |name: &str| app.config.inherit_env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let mut env: Vec<(OsString, OsString)> =
        app.config.inherit_env.iter().filter(|(name, _)| is_network(name)).cloned().collect();
    let mut set = |name: &str, value: OsString| env.push((name.into(), value));
    set("PATH", given("PATH").unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()));
    set("LANG", given("LANG").unwrap_or_else(|| "C.UTF-8".into()));
    set("HOME", build_dir.join("home").into());
    set("TMPDIR", build_dir.join("tmp").into());
    set("CI", "1".into());
    set("npm_config_cache", app.root.join("cache").join("npm").into());
    set("npm_config_update_notifier", "false".into());
    set("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0".into());
    env
}

fn is_network(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let lower = name.to_ascii_lowercase();
    lower.starts_with("npm_config_")
        || matches!(
            lower.as_str(),
            "http_proxy"
                | "https_proxy"
                | "no_proxy"
                | "all_proxy"
                | "ssl_cert_file"
                | "ssl_cert_dir"
                | "node_extra_ca_certs"
        )
}
