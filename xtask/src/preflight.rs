//! What the check, or another chore, needs from the machine besides Rust. As root on Debian it is installed; anywhere else everything
//! that is missing is named at once, because nobody wants to learn it one failed run at a time.

use std::path::Path;
use std::process::Command;

use crate::{Result, postgres, redis, shell};

pub(crate) struct Need {
    pub(crate) name: &'static str,
    /// What of the chore cannot run without it.
    pub(crate) reason: &'static str,
    /// The Debian packages that bring it, or none when rustup does.
    pub(crate) packages: &'static [&'static str],
    pub(crate) present: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need { name: "git", reason: "deployments clone repositories", packages: &["git"], present: || runs("git") },
    Need { name: "node", reason: "a real Vite project is built", packages: &["nodejs"], present: || runs("node") },
    Need { name: "npm", reason: "a real Vite project is built", packages: &["npm"], present: || runs("npm") },
    Need {
        name: "PostgreSQL server programs",
        reason: "every store test runs on SQLite and on PostgreSQL",
        packages: &["postgresql"],
        present: || postgres::programs().is_some(),
    },
    Need {
        name: "redis-server",
        reason: "what replicas share is tested over a real Redis, which tests also kill and stop",
        packages: &["redis-server"],
        present: || redis::program().is_some(),
    },
    Need {
        name: "pgrep",
        reason: "tests look for processes that should be gone",
        packages: &["procps"],
        present: || runs("pgrep"),
    },
    Need {
        name: "gnome-keyring-daemon",
        reason: "`ogel login` keeps a token in a real keyring",
        packages: &["gnome-keyring"],
        present: || !cfg!(target_os = "linux") || runs("gnome-keyring-daemon"),
    },
    Need {
        name: "dbus-run-session",
        reason: "the keyring is asked over a session bus of its own",
        packages: &["dbus-daemon"],
        present: || !cfg!(target_os = "linux") || runs("dbus-run-session"),
    },
    Need { name: "rustfmt", reason: "`cargo fmt`", packages: &[], present: || runs("cargo-fmt") },
    Need { name: "clippy", reason: "`cargo clippy`", packages: &[], present: || runs("cargo-clippy") },
];

/// With less room than this left, in MiB, a failure is most likely one to write.
const LEAST_ROOM: u64 = 512;

pub(crate) fn run() -> Result {
    satisfy("the check", NEEDS)
}

/// What a failure is said to come from when the disk of `folder` is as good as full: a compiler only says that it could not
/// write.
pub(crate) fn short_of_room(folder: &Path) -> Option<String> {
    let free = free(folder).filter(|free| *free < LEAST_ROOM)?;
    Some(format!("; only {free} MiB are free where `{}` is, and the check writes about 5 GiB there", folder.display()))
}

/// In MiB, where the system has a `df` to ask.
fn free(folder: &Path) -> Option<u64> {
    let table = shell::output(Command::new("df").arg("-Pk").arg(folder)).ok()?;
    available(&table)
}

/// The fourth word of the last line: size, used and available in KiB.
fn available(table: &str) -> Option<u64> {
    let kib: u64 = table.lines().last()?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib / 1024)
}

/// Sees to it that everything `chore` needs is there, or says what is not.
pub(crate) fn satisfy(chore: &str, needs: &'static [Need]) -> Result {
    let absent = missing(needs);
    if absent.is_empty() {
        return Ok(());
    }
    if shell::is_root() && Path::new("/etc/debian_version").exists() && shell::find("apt-get").is_some() {
        install(&absent)?;
        let absent = missing(needs);
        return if absent.is_empty() { Ok(()) } else { Err(still_needed(chore, &absent)) };
    }
    Err(still_needed(chore, &absent))
}

fn missing(needs: &'static [Need]) -> Vec<&'static Need> {
    needs.iter().filter(|need| !(need.present)()).collect()
}

/// Starting it is the only honest question: rustup puts a `cargo-fmt` on the path that only says that it is missing.
fn runs(program: &str) -> bool {
    shell::succeeds(Command::new(program).arg("--version"))
}

fn install(absent: &[&Need]) -> Result {
    let names: Vec<&str> = absent.iter().map(|need| need.name).collect();
    println!("installing what is missing: {}", names.join(", "));

    let packages: Vec<&str> = absent.iter().flat_map(|need| need.packages).copied().collect();
    if !packages.is_empty() {
        let apt = |arguments: &[&str]| {
            shell::run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
        };
        apt(&["update", "--quiet"])?;
        apt(&[["install", "--yes", "--quiet", "--no-install-recommends"].as_slice(), &packages].concat())?;
    }
    let components: Vec<&str> = absent.iter().filter(|n| n.packages.is_empty()).map(|n| n.name).collect();
    if !components.is_empty() {
        shell::run(Command::new("rustup").args(["component", "add"]).args(&components))?;
    }
    Ok(())
}

fn still_needed(chore: &str, absent: &[&Need]) -> String {
    let lines = absent.iter().map(|need| {
        let source = match need.packages {
            [] => format!("`rustup component add {}`", need.name),
            packages => format!("on Debian `apt-get install {}`", packages.join(" ")),
        };
        format!("\n  {} ({}): {source}", need.name, need.reason)
    });
    format!("this machine misses what {chore} needs:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_that_is_left_is_read_from_what_df_prints() {
        let table =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 263940717 12582912 83886080 14% /\n";
        assert_eq!(available(table), Some(81920));
        assert_eq!(available(""), None);
        assert!(free(Path::new(env!("CARGO_MANIFEST_DIR"))).is_some());
    }
}
