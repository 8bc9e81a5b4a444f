//! Which crate may know which. The tables here are the architecture; a new arrow is a decision, made by editing them.
//! Only what is declared in the manifests and the lock file is read, so that the test needs no network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Crate, what it may be built with, and what its tests may use besides.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("ogel-api", &[], &[]),
    ("ogel-store", &["ogel-api"], &[]),
    ("ogel-cache", &[], &[]),
    ("ogel-proxy", &[], &[]),
    ("ogel-ghost", &["ogel-api", "ogel-proxy"], &[]),
    ("ogel-ghost-local", &[], &[]),
    (
        "ogel-server",
        &["ogel-api", "ogel-store", "ogel-cache", "ogel-proxy", "ogel-ghost", "ogel-ghost-local"],
        &["ogel-testkit"],
    ),
    ("ogel-client", &["ogel-api"], &["ogel-testkit"]),
    ("ogel-cli", &["ogel-api", "ogel-client"], &["ogel-testkit"]),
    (
        "ogel-testkit",
        &["ogel-api", "ogel-store", "ogel-proxy", "ogel-ghost", "ogel-ghost-local", "ogel-server", "ogel-client"],
        &[],
    ),
    ("xtask", &[], &[]),
];

/// A dependency with consequences, and the only crates that may be built with it.
const RESERVED: &[(&str, &[&str])] = &[
    // Below the server nothing knows the web framework, so that it can be used without one.
    ("axum", &["ogel-server", "ogel-ghost-local", "ogel-testkit"]),
    // SQL stays where both databases are tested.
    ("sqlx", &["ogel-store", "ogel-ghost-local", "ogel-testkit"]),
    // And what is shared through Redis, where both kinds are tested.
    ("redis", &["ogel-cache"]),
];

/// Second TLS stacks, anywhere in the graph: rustls on ring is the one that is chosen, and system libraries would tie
/// the binary to a machine.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys"];

/// The crates that know how Ghost spells its paths.
const KNOW_GHOST_PATHS: &[&str] = &["ogel-ghost", "ogel-ghost-local", "ogel-testkit"];

#[test]
fn every_arrow_between_crates_is_in_the_table() {
    let metadata = metadata();
    let members: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let Some((_, build, tests)) = ARROWS.iter().find(|(name, ..)| *name == package.name.as_str()) else {
            faults.push(format!("`{}` has no row in ARROWS", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| members.contains(d.name.as_str())) {
            let name = dependency.name.as_str();
            let for_tests = dependency.kind == DependencyKind::Development;
            if !(build.contains(&name) || for_tests && tests.contains(&name)) {
                let kind = if for_tests { " (for tests)" } else { "" };
                faults.push(format!("{} -> {name}{kind} is not an allowed arrow", package.name));
            }
        }
    }
    let gone = ARROWS.iter().filter(|(name, ..)| !members.contains(name));
    faults.extend(gone.map(|(name, ..)| format!("`{name}` has a row in ARROWS but is not in the workspace")));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_web_framework_and_sql_stay_where_they_belong() {
    let metadata = metadata();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        for dependency in package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development) {
            let reserved = RESERVED.iter().find(|(name, _)| *name == dependency.name);
            if reserved.is_some_and(|(_, allowed)| !allowed.contains(&package.name.as_str())) {
                faults.push(format!("{} -> {} is reserved for other crates", package.name, dependency.name));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn no_second_tls_stack_is_in_the_lock_file() {
    let lock = read(metadata().workspace_root.join("Cargo.lock").as_std_path());
    let names: BTreeSet<&str> = lock.lines().filter_map(|l| l.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert!(names.contains("rustls"), "the lock file is not read as it should be");
    let found: Vec<_> = BANNED.iter().filter(|name| names.contains(**name)).collect();
    assert!(found.is_empty(), "{found:?} came in; `cargo tree -i NAME` shows with whom");
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for package in &metadata().packages {
        let manifest = read(package.manifest_path.as_std_path());
        assert!(manifest.contains("[lints]\nworkspace = true"), "`{}` lacks `lints.workspace = true`", package.name);
    }
}

#[test]
fn only_ghosts_crates_spell_its_paths() {
    let metadata = metadata();
    let strangers = metadata.packages.iter().filter(|package| !KNOW_GHOST_PATHS.contains(&package.name.as_str()));
    let faults: Vec<String> =
        strangers.filter(|package| package.name.as_str() != "xtask").flat_map(ghost_paths).collect();
    assert!(faults.is_empty(), "Ghost's paths belong into ogel-ghost:\n{}", faults.join("\n"));
}

/// Lines of a crate's own code that have `/v1/` in a string. Comments and test modules may speak of it.
fn ghost_paths(package: &Package) -> Vec<String> {
    let mut found = Vec::new();
    for file in rust_files(package.manifest_path.with_file_name("src").as_std_path()) {
        let text = read(&file);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in (1..).zip(code.lines()) {
            // Where OTLP takes spans is no secret of Ghost's.
            let line = line.replace("/v1/traces", "");
            let before = line.split_once("/v1/").map(|(before, _)| before);
            if before.is_some_and(|before| !before.contains("//") && before.matches('"').count() % 2 == 1) {
                found.push(format!("{}:{number}: {}", file.display(), line.trim()));
            }
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).expect("a crate has sources").map(|entry| entry.expect("a readable entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo describes the workspace")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
