//! The whole check, in the order in which a mistake is cheapest to find. It stops at the first failure, because what
//! follows would only repeat it, and ends with a table of what took how long.

use std::io::BufReader;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cargo_metadata::Message;

use crate::postgres::{self, Cluster};
use crate::redis::{self, Server};
use crate::workspace::Workspace;
use crate::{Result, chaos, fuzz, generate, models, preflight, shell, supply_chain, tidy, valkey};

type Step = fn(&mut Check) -> Result;

const STEPS: &[(&str, Step)] = &[
    ("preflight", |_| preflight::run().and_then(|()| chaos::satisfy_needs())),
    ("format", |check| shell::run(&mut check.workspace.cargo(&["fmt", "--all", "--check"]))),
    ("tidy", |check| tidy::run(&check.workspace)),
    ("clippy", Check::clippy),
    ("build", Check::build),
    ("PostgreSQL", Check::start_postgres),
    ("Redis", Check::start_redis),
    ("tests", Check::test),
    ("Valkey", Check::valkey),
    ("chaos", Check::chaos),
    ("models", |check| models::run(&check.workspace)),
    ("fuzz targets", |check| fuzz::run(&check.workspace, 5)),
    ("generated files", |check| generate::check(&check.workspace, check.ogeld.as_deref())),
    ("supply chain", Check::supply_chain),
];

/// What one step leaves for the next.
struct Check {
    workspace: Workspace,
    ogeld: Option<PathBuf>,
    cluster: Option<Cluster>,
    redis: Option<Server>,
    /// What could not be checked here; repeated at the end, where it is read.
    notes: Vec<String>,
}

pub(crate) fn run(workspace: Workspace) -> Result {
    let mut check = Check { workspace, ogeld: None, cluster: None, redis: None, notes: Vec::new() };
    let mut timings = Vec::new();
    let mut outcome = Ok(());
    for (name, step) in STEPS {
        println!("==> {name}");
        let started = Instant::now();
        let result = step(&mut check);
        timings.push((*name, started.elapsed(), result.is_ok()));
        if let Err(sentence) = result {
            let room = preflight::short_of_room(&check.workspace.target).unwrap_or_default();
            outcome = Err(format!("the check stopped in step `{name}`: {sentence}{room}"));
            break;
        }
    }
    summarize(&timings, &check.notes);
    outcome
}

fn summarize(timings: &[(&str, Duration, bool)], notes: &[String]) {
    println!("==> summary");
    for (name, elapsed, passed) in timings {
        println!("{name:<16} {:>7.1} s  {}", elapsed.as_secs_f64(), if *passed { "ok" } else { "FAILED" });
    }
    let total: Duration = timings.iter().map(|(_, elapsed, _)| *elapsed).sum();
    println!("{:<16} {:>7.1} s", "total", total.as_secs_f64());
    for note in notes {
        println!("note: {note}");
    }
}

impl Check {
    fn clippy(&mut self) -> Result {
        let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        shell::run(&mut self.workspace.cargo(&arguments))
    }

    /// Builds what the tests run, and remembers where the tests' `ogeld` is.
    fn build(&mut self) -> Result {
        let arguments = ["test", "--workspace", "--locked", "--no-run", "--message-format", "json-render-diagnostics"];
        let mut command = self.workspace.cargo(&arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let stdout = child.stdout.take().ok_or("cargo has no output")?;
        for message in Message::parse_stream(BufReader::new(stdout)) {
            let message = message.map_err(|error| format!("cargo's messages cannot be read: {error}"))?;
            if let Message::CompilerArtifact(artifact) = message
                && artifact.target.is_bin()
                && artifact.target.name == "ogeld"
                && !artifact.profile.test
            {
                self.ogeld = artifact.executable.map(Into::into);
            }
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err("the tests do not compile".to_owned()) }
    }

    fn start_postgres(&mut self) -> Result {
        self.cluster = Some(Cluster::start(&self.workspace)?);
        Ok(())
    }

    fn start_redis(&mut self) -> Result {
        self.redis = Some(Server::start(&self.workspace)?);
        Ok(())
    }

    /// Cluster and Redis end with this step, whichever way it goes.
    fn test(&mut self) -> Result {
        let cluster = self.cluster.take().ok_or("the tests need PostgreSQL")?;
        let redis = self.redis.take().ok_or("the tests need Redis")?;
        // Plain `cargo test`: a faster runner would be one more thing to install.
        let mut command = self.workspace.cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
        shell::run(command.env(postgres::URL_VARIABLE, &cluster.url).env(redis::URL_VARIABLE, &redis.url))
    }

    fn valkey(&mut self) -> Result {
        self.notes.extend(valkey::test(&self.workspace)?);
        Ok(())
    }

    /// The short form; RELIABILITY.md is made by the long one.
    fn chaos(&mut self) -> Result {
        let ogeld = self.ogeld.as_ref().ok_or("a cluster needs `ogeld`")?.display().to_string();
        chaos::run(&self.workspace, &["--quick", "--ogeld", &ogeld])
    }

    fn supply_chain(&mut self) -> Result {
        self.notes.extend(supply_chain::check(&self.workspace)?);
        Ok(())
    }
}
