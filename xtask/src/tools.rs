//! Cargo's own extensions that a chore needs: the one on the search path, or our own, built once.

use std::path::PathBuf;

use crate::workspace::Workspace;
use crate::{Result, shell};

/// The program `name`. The version in the directory's name makes an upgrade rebuild it.
pub(crate) fn cargo_tool(workspace: &Workspace, name: &str, version: &str) -> Result<PathBuf> {
    if let Some(program) = shell::find(name) {
        return Ok(program);
    }
    let root = workspace.target.join("tools").join(format!("{name}-{version}"));
    let program = root.join("bin").join(name);
    if !program.is_file() {
        println!("building {name} {version} (once, about a minute)");
        // Unoptimised: it builds in a quarter of the time and still answers in seconds.
        let mut install = workspace.cargo(&["install", name, "--locked", "--version", version, "--debug", "--root"]);
        install.env("CARGO_PROFILE_DEV_DEBUG", "0");
        // A target directory of its own keeps it from waiting for, or invalidating, the workspace's.
        shell::run(install.arg(&root).arg("--target-dir").arg(root.join("build")))?;
        // Half a gigabyte of intermediate files that nothing reads again; a failure to remove them harms nobody.
        std::fs::remove_dir_all(root.join("build")).ok();
    }
    Ok(program)
}
