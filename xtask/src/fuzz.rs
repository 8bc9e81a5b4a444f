//! The fuzz targets of `fuzz/`, each for some seconds: long enough to notice that a rule no longer holds, and the corpus
//! that is committed always runs whole.

use crate::workspace::Workspace;
use crate::{Result, shell, tools};

const VERSION: &str = "0.13.1";
const TARGETS: &[&str] = &["path", "headers", "id", "frame", "chunks", "request", "response"];

/// `seconds` for each target.
pub(crate) fn run(workspace: &Workspace, seconds: u32) -> Result {
    let program = tools::cargo_tool(workspace, "cargo-fuzz", VERSION)?;
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
