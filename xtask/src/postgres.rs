//! A private PostgreSQL cluster: a free port on the loopback address, its files in a fresh directory, gone afterwards.
//!
//! It is kept by a small script in a process group of its own, whose standard input is a pipe from us. When the pipe
//! closes, the script stops the server and removes the files. A pipe closes on success, failure, panic, Ctrl-C and even
//! SIGKILL, so no signal handler is needed and nothing can be left behind.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::workspace::Workspace;
use crate::{Result, shell};

const SCRIPT: &str = include_str!("postgres.sh");

/// What the tests read the cluster's address from.
pub(crate) const URL_VARIABLE: &str = "OGEL_TEST_POSTGRES_URL";

/// What an acknowledged write is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commits {
    /// It may be lost with the server: enough for tests, and faster.
    Lazy,
    /// It outlives the server's processes.
    Durable,
}

/// Lives as long as this value.
pub(crate) struct Cluster {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    keeper: Child,
    answers: BufReader<ChildStdout>,
}

impl Cluster {
    pub(crate) fn start(workspace: &Workspace) -> Result<Self> {
        Self::start_with(workspace, Commits::Lazy)
    }

    pub(crate) fn start_with(workspace: &Workspace, commits: Commits) -> Result<Self> {
        let programs = programs().ok_or("the PostgreSQL server programs (`initdb`, `pg_ctl`) are not installed")?;
        let port = free_port().map_err(|error| format!("no free port on the loopback address: {error}"))?;
        // PostgreSQL refuses to run as root, and whom we become instead may be barred from a clone in root's home.
        let (mut command, parent) = if shell::is_root() {
            (unprivileged_shell()?, std::env::temp_dir())
        } else {
            std::fs::create_dir_all(&workspace.target).map_err(|error| error.to_string())?;
            (Command::new("sh"), workspace.target.clone())
        };
        let mut keeper = command
            .args(["-c", SCRIPT])
            .env("OGEL_PG_PROGRAMS", programs)
            .env("OGEL_PG_DIR", parent.join(format!("ogel-postgres-{}", std::process::id())))
            .env("OGEL_PG_PORT", port.to_string())
            .env("OGEL_PG_COMMIT", if commits == Commits::Durable { "local" } else { "off" })
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the PostgreSQL script cannot be started: {error}"))?;

        let stdout = keeper.stdout.take().ok_or("the PostgreSQL script has no output")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let url = format!("postgres://ogel@{address}/postgres");
        let mut cluster = Self { url, address, keeper, answers: BufReader::new(stdout) };
        if cluster.answer()? == "ready" {
            Ok(cluster)
        } else {
            Err("PostgreSQL did not start; its log is above".to_owned())
        }
    }

    /// Ends every process of the server at once, as a crash does.
    pub(crate) fn crash(&mut self) -> Result {
        self.tell("crash")
    }

    /// Starts it again on what the crash left.
    pub(crate) fn start_again(&mut self) -> Result {
        self.tell("start")
    }

    fn tell(&mut self, word: &str) -> Result {
        let stdin = self.keeper.stdin.as_mut().ok_or("the PostgreSQL script takes no words any more")?;
        writeln!(stdin, "{word}").map_err(|error| error.to_string())?;
        match &*self.answer()? {
            "done" => Ok(()),
            answer => Err(format!("PostgreSQL did not {word}: {answer}")),
        }
    }

    fn answer(&mut self) -> Result<String> {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|error| error.to_string())?;
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("warning: the test PostgreSQL may still be running: {error}");
        }
    }
}

/// `cargo xtask postgres`: for running single tests again and again against one cluster.
pub(crate) fn foreground(workspace: &Workspace) -> Result {
    let mut cluster = Cluster::start(workspace)?;
    println!("export {URL_VARIABLE}={}", cluster.url);
    eprintln!("PostgreSQL runs until Ctrl-C; give the line above to the shell that runs the tests");
    // `wait` would close the pipe that keeps the cluster alive, so it is put aside first.
    let pipe = cluster.keeper.stdin.take();
    let status = cluster.keeper.wait().map_err(|error| error.to_string())?;
    drop(pipe);
    Err(format!("the PostgreSQL script ended by itself ({status})"))
}

/// The directory of `initdb` and `pg_ctl`: the search path, Debian's versioned directories (newest first), then
/// wherever `pg_config` says, which covers Homebrew and builds from source.
pub(crate) fn programs() -> Option<PathBuf> {
    let on_path = shell::find("initdb").and_then(|file| Some(file.parent()?.to_owned()));
    let mut versioned: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versioned.sort_by_key(|folder| std::cmp::Reverse(version_of(folder)));
    let configured = Command::new("pg_config").arg("--bindir").output().ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        Some(PathBuf::from(text.trim()))
    });
    let complete = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file();
    on_path.into_iter().chain(versioned).chain(configured).find(complete)
}

fn version_of(folder: &std::path::Path) -> u32 {
    let version = folder.parent().and_then(|parent| parent.file_name()?.to_str()?.parse().ok());
    version.unwrap_or(0)
}

/// A shell as somebody who is not root: Debian's `postgres` if it exists, else `nobody`.
fn unprivileged_shell() -> Result<Command> {
    let exists = |user: &&str| shell::succeeds(Command::new("id").args(["-u", user]));
    let user = ["postgres", "nobody"].into_iter().find(exists);
    let user = user.ok_or("PostgreSQL refuses to run as root, and neither `postgres` nor `nobody` is a user here")?;
    // The two take the same arguments; `runuser` asks nothing of PAM, `su` is everywhere.
    let program = if shell::find("runuser").is_some() { "runuser" } else { "su" };
    let mut command = Command::new(program);
    command.args(["-s", "/bin/sh", user]);
    Ok(command)
}

/// Free now; nobody else asks for this port in the second before the server takes it.
pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
