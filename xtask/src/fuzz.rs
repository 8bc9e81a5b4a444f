//! The fuzz targets of `fuzz/`, each for some seconds: long enough to notice that a rule no longer holds, and the corpus
//! that is committed always runs whole.

use std::path::PathBuf;

use crate::workspace::Workspace;
use crate::{Result, shell};

const VERSION: &str = "0.13.1";
const TARGETS: &[&str] = &["path", "headers", "id", "frame"];

/// `seconds` for each target.
pub(crate) fn run(workspace: &Workspace, seconds: u32) -> Result {
    let program = cargo_fuzz(workspace)?;
    for target in TARGETS {
        // What is found goes below `target/`: the corpus is what people chose to keep.
        let found = workspace.target.join("fuzz-found").join(target);
        std::fs::create_dir_all(&found).map_err(|error| format!("cannot make `{}`: {error}", found.display()))?;
        let mut command = workspace.command(&program);
        // Without a sanitizer: the code is safe Rust, and a stable compiler is all it then takes.
        command.args(["fuzz", "run", "--sanitizer", "none", "--target-dir"]).arg(workspace.target.join("fuzz"));
        command.arg(target).arg(&found).arg(workspace.root.join("fuzz/corpus").join(target));
        command.args(["--", &format!("-max_total_time={seconds}"), "-timeout=5", "-rss_limit_mb=1024", "-verbosity=0"]);
        println!("fuzzing `{target}` for {seconds} s");
        shell::run(&mut command)?;
    }
    Ok(())
}

/// The one on the search path, or our own, built once.
fn cargo_fuzz(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(program) = shell::find("cargo-fuzz") {
        return Ok(program);
    }
    let root = workspace.target.join("tools").join(format!("cargo-fuzz-{VERSION}"));
    let program = root.join("bin/cargo-fuzz");
    if !program.is_file() {
        println!("building cargo-fuzz {VERSION} (once)");
        let mut install =
            workspace.cargo(&["install", "cargo-fuzz", "--locked", "--version", VERSION, "--debug", "--root"]);
        install.env("CARGO_PROFILE_DEV_DEBUG", "0");
        shell::run(install.arg(&root).arg("--target-dir").arg(root.join("build")))?;
        std::fs::remove_dir_all(root.join("build")).ok();
    }
    Ok(program)
}
