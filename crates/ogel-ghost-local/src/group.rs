//! Process groups as the system shows them: who is in one, how much memory they hold, and how to end them all.
//! On Linux from `/proc`, elsewhere from `ps`. A build's processes also carry `OGEL_GHOST_BUILD=<id>` in their
//! environment, so that on Linux even those that left the group are found. Refuses to signal a group it cannot
//! recognise as the build's own. Next: `exec.rs`, which starts the groups.

use std::time::Duration;

use rustix::process::{Pid, Signal};

/// The variable that marks every process of a build.
pub(crate) const MARK: &str = "OGEL_GHOST_BUILD";

const TERM_GRACE: Duration = Duration::from_secs(2);
const KILL_GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Resident bytes of the living members of a group, or `None` if nobody lives.
pub(crate) async fn resident_bytes(pgid: u32) -> Option<u64> {
    let members = blocking(move || os::members(pgid)).await;
    (!members.is_empty()).then(|| members.iter().sum())
}

/// Ends the group: asks, waits two seconds, then kills. Returns once nobody lives (or after ten more seconds of a
/// process that even a kill does not end, which is logged). `reap` is called while waiting.
pub(crate) async fn end(pgid: u32, mut reap: impl FnMut()) {
    for (signal, grace) in [(Signal::TERM, TERM_GRACE), (Signal::KILL, KILL_GRACE)] {
        let deadline = tokio::time::Instant::now() + grace;
        let mut sent = false;
        loop {
            reap();
            if resident_bytes(pgid).await.is_none() {
                return;
            }
            // A kill is repeated: a member may have forked while the first one went through the list.
            if !sent || signal == Signal::KILL {
                send_group(pgid, signal);
                sent = true;
            }
            if tokio::time::Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    tracing::error!(process.group = pgid, "a process group survived being killed");
}

/// Kills every process that carries the mark of this build, in whatever group it is. Linux only; elsewhere nothing.
pub(crate) async fn sweep(build_id: &str) {
    let needle = format!("{MARK}={build_id}");
    let deadline = tokio::time::Instant::now() + KILL_GRACE;
    loop {
        let wanted = needle.clone();
        let found = blocking(move || os::marked(&wanted)).await;
        if found.is_empty() {
            return;
        }
        for pid in found {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // Gone already is what we want.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        if tokio::time::Instant::now() >= deadline {
            tracing::error!(build.id = %build_id, "processes of a build survived being killed");
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Tells this leader from a later process with the same number: its start time.
pub(crate) async fn mark(pgid: u32) -> Option<String> {
    blocking(move || os::start_mark(pgid)).await
}

fn send_group(pgid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pgid).ok().and_then(Pid::from_raw) {
        // Gone already is what we want.
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

async fn blocking<T: Send + Default + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}

#[cfg(target_os = "linux")]
mod os {
    use std::fs;

    struct Stat {
        state: u8,
        group: u32,
        start: String,
        resident_pages: u64,
    }

    /// `/proc/<pid>/stat`; the name in brackets may hold anything, so fields are counted after the last bracket.
    fn stat(pid: u32) -> Option<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Stat {
            state: *fields.first()?.as_bytes().first()?,
            group: fields.get(2)?.parse().ok()?,
            start: (*fields.get(19)?).to_owned(),
            resident_pages: fields.get(21)?.parse().ok()?,
        })
    }

    fn pids() -> impl Iterator<Item = u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    pub(super) fn members(pgid: u32) -> Vec<u64> {
        let page = rustix::param::page_size() as u64;
        let living = |stat: &Stat| stat.group == pgid && !matches!(stat.state, b'Z' | b'X');
        pids().filter_map(stat).filter(living).map(|stat| stat.resident_pages * page).collect()
    }

    pub(super) fn marked(needle: &str) -> Vec<u32> {
        let carries = |pid: &u32| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environ| environ.split(|&byte| byte == 0).any(|entry| entry == needle.as_bytes()))
        };
        let alive = |pid: &u32| stat(*pid).is_some_and(|stat| !matches!(stat.state, b'Z' | b'X'));
        pids().filter(carries).filter(alive).collect()
    }

    pub(super) fn start_mark(pid: u32) -> Option<String> {
        stat(pid).map(|stat| stat.start)
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use std::process::Command;

    fn ps(args: &[&str]) -> Option<String> {
        let output = Command::new("/bin/ps").args(args).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(super) fn members(pgid: u32) -> Vec<u64> {
        let text = ps(&["-A", "-o", "pgid=,stat=,rss="]).unwrap_or_default();
        let row = |line: &str| {
            let mut fields = line.split_whitespace();
            let group: u32 = fields.next()?.parse().ok()?;
            let state = fields.next()?;
            let kib: u64 = fields.next()?.parse().ok()?;
            (group == pgid && !state.starts_with('Z')).then_some(kib * 1024)
        };
        text.lines().filter_map(row).collect()
    }

    pub(super) fn marked(_needle: &str) -> Vec<u32> {
        Vec::new()
    }

    pub(super) fn start_mark(pid: u32) -> Option<String> {
        let text = ps(&["-p", &pid.to_string(), "-o", "lstart="])?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}
