//! The models of `models/`: what threads share without a lock, in every order in which they can interleave.

use crate::workspace::Workspace;
use crate::{Result, shell};

/// All of them; each is small enough to be searched to its end.
pub(crate) fn run(workspace: &Workspace) -> Result {
    let mut command = workspace.cargo(&["test", "--release", "--locked", "--lib", "--manifest-path"]);
    command.arg(workspace.root.join("models/Cargo.toml"));
    // A folder of its own: the flag would have everything else built again.
    command.arg("--target-dir").arg(workspace.target.join("models")).env("RUSTFLAGS", "--cfg loom");
    shell::run(&mut command)
}
