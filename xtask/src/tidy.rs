//! The rules that no compiler knows: every source file opens with what it is for, and nothing that belongs to one
//! person's machine or to a list of good intentions is committed. File sizes are shown, not judged.

use std::{collections::BTreeMap, path::Path};

use crate::workspace::Workspace;
use crate::{Result, shell};

/// Text that may not be committed, and why. Spelled in halves, so that this file does not accuse itself.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/tmp/tar", "get"), "a path of one machine"),
    (concat!("://regi", "stry."), "a package registry's address: clones must work with any mirror"),
    (concat!("://index.cra", "tes.io"), "a package registry's address: clones must work with any mirror"),
    (concat!("://static.cra", "tes.io"), "a package registry's address: clones must work with any mirror"),
    (
        concat!("\"resolved\": \"ht", "tp"),
        "a package's address; `npm install --omit-lockfile-registry-resolved` writes none",
    ),
    (concat!("TO", "DO"), "an intention; do it, or write it down as an issue"),
    (concat!("FIX", "ME"), "an intention; do it, or write it down as an issue"),
];

pub(crate) fn run(workspace: &Workspace) -> Result {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let names = shell::output(workspace.command("git").args(list))?;
    let mut sizes = Vec::new();
    let mut faults = Vec::new();
    for name in names.split_terminator('\0') {
        // What cannot be read as text is a picture, or a file that was deleted and not yet committed.
        let Ok(text) = std::fs::read_to_string(workspace.root.join(name)) else { continue };
        faults.extend(faults_of(name, &text));
        if is_ours(name) {
            sizes.push((text.lines().count(), name));
        }
    }
    faults.extend(repeated_decisions(names.split_terminator('\0')));
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    println!("the ten largest source files (lines):");
    for (lines, name) in sizes.iter().take(10) {
        println!("{lines:>6}  {name}");
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("not tidy:\n  {}", faults.join("\n  "))) }
}

fn is_ours(name: &str) -> bool {
    let rust = Path::new(name).extension().is_some_and(|extension| extension == "rs");
    rust && (name.starts_with("crates/") || name.starts_with("xtask/"))
}

fn faults_of(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if is_ours(name) && !text.starts_with("//!") {
        faults.push(format!("{name}:1: open the file with `//!` and say what it is for"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        for (forbidden, reason) in FORBIDDEN {
            if stands_alone(line, forbidden) {
                faults.push(format!("{name}:{number}: `{forbidden}` is {reason}"));
            }
        }
    }
    faults
}

/// Decisions are named by their number, so that two may not share one.
fn repeated_decisions<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let decisions = names.filter_map(|name| Some((name.strip_prefix("docs/adr/")?.get(..4)?, name)));
    decisions
        .filter_map(|(number, name)| {
            let before = seen.insert(number, name)?;
            Some(format!("{name}: `{before}` has the same number; take the next one that is free"))
        })
        .collect()
}

/// Whether the text occurs other than as the middle of a longer word or path (`homework/`, `{data}/work/`).
fn stands_alone(line: &str, forbidden: &str) -> bool {
    line.match_indices(forbidden).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        forbidden.starts_with(':') || !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_decisions_with_one_number_are_named() {
        let faults = |names: &[&'static str]| repeated_decisions(names.iter().copied()).len();
        assert_eq!(faults(&["docs/adr/0001-a.md", "docs/adr/0002-b.md", "docs/a.md"]), 0);
        assert_eq!(faults(&["docs/adr/0001-a.md", "docs/adr/0001-b.md"]), 1);
    }

    #[test]
    fn a_file_without_an_opening_is_named() {
        assert_eq!(faults_of("crates/a/src/lib.rs", "fn main() {}\n").len(), 1);
        assert!(faults_of("crates/a/src/lib.rs", "//! Why.\nfn main() {}\n").is_empty());
        assert!(faults_of("docs/a.md", "no opening needed\n").is_empty());
    }

    #[test]
    fn forbidden_text_is_found_where_it_stands_and_not_inside_words() {
        let path = FORBIDDEN[0].0;
        assert_eq!(
            faults_of("a.md", &format!("fine\nsee {path}main")),
            [format!("a.md:2: `{path}` is a path of one machine")]
        );
        assert!(faults_of("a.md", &format!("home{}", &path[1..])).is_empty());
        assert!(faults_of("a.rs", &format!("{{data}}{path}")).is_empty());
        assert_eq!(faults_of("a.json", &format!("https{}npmjs.org", FORBIDDEN[2].0)).len(), 1);
    }
}
