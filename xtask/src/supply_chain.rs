//! The supply chain, judged by cargo-deny against `deny.toml`. What can be known from the lock file is always checked;
//! published vulnerabilities need a database from the network, and its absence is said aloud instead of passed over.

use std::path::PathBuf;
use std::time::Duration;

use crate::workspace::Workspace;
use crate::{Result, shell};

const VERSION: &str = "0.20.2";

/// Long enough for a slow line, short enough for a network that swallows packets.
const DATABASE_LIMIT: Duration = Duration::from_secs(90);

/// Answers with what was not checked, if anything.
pub(crate) fn check(workspace: &Workspace) -> Result<Option<String>> {
    let program = cargo_deny(workspace)?;
    let deny = |arguments: &[&str]| {
        let mut command = workspace.command(&program);
        command.arg("--locked").args(arguments);
        command
    };
    shell::run(&mut deny(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;

    if let Err(reason) = shell::run_within(&mut deny(&["fetch", "db"]), DATABASE_LIMIT) {
        println!("{reason}");
        return Ok(Some("advisories: database not obtainable here, not checked".to_owned()));
    }
    // Offline, because a failure from here on has to be an advisory and not the network again.
    shell::run(&mut deny(&["--offline", "check", "advisories"]))?;
    Ok(None)
}

/// The one on the search path, or our own, built once: the version in the directory's name makes an upgrade rebuild it.
fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(program) = shell::find("cargo-deny") {
        return Ok(program);
    }
    let root = workspace.target.join("tools").join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        println!("building cargo-deny {VERSION} (once, about a minute)");
        // Unoptimised: it builds in a quarter of the time and still answers in seconds.
        let mut install =
            workspace.cargo(&["install", "cargo-deny", "--locked", "--version", VERSION, "--debug", "--root"]);
        install.env("CARGO_PROFILE_DEV_DEBUG", "0");
        // A target directory of its own keeps it from waiting for, or invalidating, the workspace's.
        shell::run(install.arg(&root).arg("--target-dir").arg(root.join("build")))?;
        // Half a gigabyte of intermediate files that nothing reads again; a failure to remove them harms nobody.
        std::fs::remove_dir_all(root.join("build")).ok();
    }
    Ok(program)
}
