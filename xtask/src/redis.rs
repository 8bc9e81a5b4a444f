//! A private Redis (or Valkey) on a free port of the loopback address, gone afterwards. Kept like the PostgreSQL of
//! `postgres.rs`, by a script that ends when a pipe from us closes.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::workspace::Workspace;
use crate::{Result, postgres, shell};

const SCRIPT: &str = include_str!("redis.sh");

/// What the tests read the server's address from.
pub(crate) const URL_VARIABLE: &str = "OGEL_TEST_REDIS_URL";

/// Lives as long as this value.
pub(crate) struct Server {
    pub(crate) url: String,
    keeper: Child,
}

impl Server {
    pub(crate) fn start(workspace: &Workspace) -> Result<Self> {
        let program = program().ok_or("neither `redis-server` nor `valkey-server` is installed")?;
        let port = postgres::free_port().map_err(|error| format!("no free port on the loopback address: {error}"))?;
        std::fs::create_dir_all(&workspace.target).map_err(|error| error.to_string())?;
        let mut keeper = Command::new("sh")
            .args(["-c", SCRIPT])
            .env("OGEL_REDIS_SERVER", program)
            .env("OGEL_REDIS_DIR", workspace.target.join(format!("ogel-redis-{}", std::process::id())))
            .env("OGEL_REDIS_PORT", port.to_string())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the Redis script cannot be started: {error}"))?;
        let mut answer = String::new();
        let stdout = keeper.stdout.take().ok_or("the Redis script has no output")?;
        BufReader::new(stdout).read_line(&mut answer).map_err(|error| error.to_string())?;
        let server = Self { url: format!("redis://127.0.0.1:{port}"), keeper };
        if answer.trim() == "ready" { Ok(server) } else { Err("Redis did not start; its log is above".to_owned()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("warning: the test Redis may still be running: {error}");
        }
    }
}

/// `cargo xtask redis`: for running single tests again and again.
pub(crate) fn foreground(workspace: &Workspace) -> Result {
    let mut server = Server::start(workspace)?;
    println!("export {URL_VARIABLE}={}", server.url);
    eprintln!("Redis runs until Ctrl-C; give the line above to the shell that runs the tests");
    // `wait` would close the pipe that keeps the server alive, so it is put aside first.
    let pipe = server.keeper.stdin.take();
    let status = server.keeper.wait().map_err(|error| error.to_string())?;
    drop(pipe);
    Err(format!("the Redis script ended by itself ({status})"))
}

pub(crate) fn program() -> Option<PathBuf> {
    ["redis-server", "valkey-server"].into_iter().find_map(shell::find)
}
