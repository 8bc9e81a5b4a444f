//! What a request asks of the kernel, counted by strace under the usual load. A lock that two threads want at the same time
//! shows as `futex`: that hardly any is counted is how we know that the way of a request shares none.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::load::{CONNECTIONS, Target};
use super::peers::{self, YARDSTICK};
use super::report::{Section, figure};
use super::{Bench, Result};
use crate::service::Process;
use crate::shell;

/// Lines of the access log are handed to their writer a hundred at a time, which is a call or two.
const FUTEX: f64 = 0.1;

/// A kind of call, and what it is named.
const KINDS: &[(&str, &[&str])] = &[
    ("read", &["read", "readv", "recvfrom", "recvmsg"]),
    ("write", &["write", "writev", "sendto", "sendmsg"]),
    ("epoll_wait", &["epoll_wait", "epoll_pwait", "epoll_pwait2"]),
    ("futex", &["futex"]),
];

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let (gateway, account) = bench.gateway("syscalls")?;
    let (routes, notes) = bench.routes(&gateway, &account)?;
    let peer = peers::start(YARDSTICK, &bench.folder.0, bench.upstream.address)?;
    let mut targets = vec![peer.target("/v1/anything")];
    targets.extend(routes.iter().map(|route| gateway.at(route, &format!("ogeld, {}", route.name), &account, "")));

    let mut columns = vec!["gateway"];
    columns.extend(KINDS.iter().map(|(kind, _)| *kind));
    columns.push("others");
    let mut section = Section::new(format!("System calls per request, {CONNECTIONS} connections"), &columns);
    for target in &targets {
        target.wrk(CONNECTIONS, 1, None)?;
        let counts = count(target, bench.options.seconds, &bench.folder.0)?;
        section.row(std::iter::once(target.name.clone()).chain(counts.iter().map(|count| figure(*count))));
        if target.name != YARDSTICK {
            section.at_most(&format!("{}: futex", target.name), counts[3], FUTEX, "");
        }
    }
    notes.into_iter().for_each(|note| section.note(note));
    section.note("strace slows all of them, so that more is waited for than without it");
    Ok(vec![section])
}

/// Calls of each kind and of all others, per request.
fn count(target: &Target, seconds: u64, folder: &Path) -> Result<Vec<f64>> {
    let table = folder.join("strace.txt");
    let tracer = Tracer::attach(target.process, &table)?;
    let run = target.wrk(CONNECTIONS, seconds, None)?;
    tracer.detach()?;
    let table = std::fs::read_to_string(&table).map_err(|error| error.to_string())?;
    let mut counts = vec![0.0; KINDS.len() + 1];
    for (name, calls) in table.lines().filter_map(calls) {
        let kind = KINDS.iter().position(|(_, names)| names.contains(&name)).unwrap_or(KINDS.len());
        counts[kind] += calls / run.requests;
    }
    Ok(counts)
}

/// A line of strace's summary: share, seconds, microseconds a call, calls, errors if there were any, and the name.
fn calls(line: &str) -> Option<(&str, f64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [share, _, _, calls, .., name] = words.as_slice() else { return None };
    share.parse::<f64>().ok().filter(|_| *name != "total")?;
    Some((name, calls.parse().ok()?))
}

struct Tracer(Child);

impl Tracer {
    fn attach(process: Process, table: &Path) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(table);
        for number in process.tree_numbers() {
            command.args(["-p", &number.to_string()]);
        }
        let mut child = command.stderr(Stdio::null()).spawn().map_err(|error| format!("strace: {error}"))?;
        // It says nothing when it is there; what it traces does.
        while !process.is_traced() {
            if child.try_wait().map_err(|error| error.to_string())?.is_some() {
                return Err("strace may not attach: run this as root, or set kernel.yama.ptrace_scope to 0".to_owned());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(Self(child))
    }

    fn detach(mut self) -> Result {
        shell::run(Command::new("kill").args(["-s", "INT", &self.0.id().to_string()]))?;
        self.0.wait().map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Ended already, unless something failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_strace_is_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n \
                    51.25    0.062714           7      8364       120 recvfrom\n \
                    48.75    0.059652           7      8242           sendto\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.122366           7     16606       120 total\n";
        assert_eq!(text.lines().filter_map(calls).collect::<Vec<_>>(), [("recvfrom", 8364.0), ("sendto", 8242.0)]);
    }
}
