//! Where things are: the clone's root and cargo's target directory, asked from cargo and never guessed.

use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::MetadataCommand;

use crate::Result;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Cargo's target directory: the one place where chores may leave things behind.
    pub(crate) target: PathBuf,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        // The manifest is named so that a chore can be started from any directory of the clone.
        let metadata = MetadataCommand::new()
            .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .no_deps()
            .exec()
            .map_err(|error| format!("cargo cannot describe the workspace: {error}"))?;
        Ok(Self { root: metadata.workspace_root.into(), target: metadata.target_directory.into() })
    }

    /// A program that starts in the clone's root.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        command
    }

    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("cargo");
        command.args(arguments);
        // We run under a cargo that tells us which package we are. Build scripts that look at that would run again, and
        // with them half of the dependencies be compiled again, whenever a chore and a person take turns.
        for (name, _) in std::env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
    }
}
