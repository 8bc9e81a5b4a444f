//! The supply chain, judged by cargo-deny against `deny.toml`. What can be known from the lock file is always checked;
//! published vulnerabilities need a database from the network, and its absence is said aloud instead of passed over.

use std::time::Duration;

use crate::workspace::Workspace;
use crate::{Result, shell, tools};

const VERSION: &str = "0.20.2";

/// Long enough for a slow line, short enough for a network that swallows packets.
const DATABASE_LIMIT: Duration = Duration::from_secs(90);

/// Answers with what was not checked, if anything.
pub(crate) fn check(workspace: &Workspace) -> Result<Option<String>> {
    let program = tools::cargo_tool(workspace, "cargo-deny", VERSION)?;
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
