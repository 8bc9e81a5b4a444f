//! Files that come from the code and are committed, so that readers and other programs need no build to see them.
//! `ogeld` prints them, this file only knows which goes where. One row in [`GENERATED`] adds another.

use std::path::{Path, PathBuf};

use crate::workspace::Workspace;
use crate::{Result, shell};

struct Generated {
    /// Where it is committed, from the root of the clone.
    file: &'static str,
    /// What to ask `ogeld` for.
    arguments: &'static [&'static str],
}

const GENERATED: &[Generated] = &[
    Generated { file: "openapi.json", arguments: &["openapi"] },
    Generated { file: "docs/config.md", arguments: &["config", "--markdown"] },
    Generated { file: "docs/errors.md", arguments: &["errors"] },
    Generated { file: "docs/permissions.md", arguments: &["permissions"] },
];

pub(crate) fn write(workspace: &Workspace) -> Result {
    for row in GENERATED {
        let path = workspace.root.join(row.file);
        let text = text_of(row, workspace, None)?;
        if is_fresh(&path, &text) {
            println!("fresh    {}", row.file);
            continue;
        }
        let folder = path.parent().ok_or("a generated file needs a directory")?;
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, &text))
            .map_err(|error| format!("`{}` cannot be written: {error}", row.file))?;
        println!("written  {}", row.file);
    }
    Ok(())
}

/// `ogeld` is the program that the tests were run with, if there is one: building it by itself would choose other
/// features for its dependencies and compile half of them again.
pub(crate) fn check(workspace: &Workspace, ogeld: Option<&Path>) -> Result {
    let mut stale = Vec::new();
    for row in GENERATED {
        if !is_fresh(&workspace.root.join(row.file), &text_of(row, workspace, ogeld)?) {
            stale.push(format!("`{}`", row.file));
        }
    }
    match stale.as_slice() {
        [] => Ok(()),
        [one] => Err(format!("{one} is stale; run `cargo xtask generate` and commit what it writes")),
        many => Err(format!("{} are stale; run `cargo xtask generate` and commit what it writes", many.join(", "))),
    }
}

fn text_of(row: &Generated, workspace: &Workspace, ogeld: Option<&Path>) -> Result<String> {
    let mut command = match ogeld {
        Some(program) => workspace.command(PathBuf::from(program)),
        None => workspace.cargo(&["run", "--quiet", "--locked", "-p", "ogel-server", "--bin", "ogeld", "--"]),
    };
    shell::output(command.args(row.arguments))
}

fn is_fresh(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|committed| committed == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_and_a_changed_file_are_stale() {
        let this_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generate.rs");
        assert!(is_fresh(&this_file, include_str!("generate.rs")));
        assert!(!is_fresh(&this_file, "something else"));
        assert!(!is_fresh(Path::new("no/such/file"), ""));
    }
}
