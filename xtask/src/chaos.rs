//! `cargo xtask chaos`: breaks a running cluster on purpose, and counts what got lost, doubled or stuck.
//!
//! One row in [`ROWS`] is one fault and one file. Every row starts from the printed seed, so a run that failed can be run
//! again. Whatever ran in full is written into RELIABILITY.md.

mod clients;
mod clock;
mod disk;
mod ghost_faults;
mod kills;
mod postgres;
mod random;
mod redis;
mod report;
mod rolling;
mod same_key;

use std::path::PathBuf;
use std::time::Instant;

use crate::cluster::{self, Cluster};
use crate::workspace::Workspace;
use crate::{Result, preflight};
use random::Random;
use report::Outcome;

pub(crate) const USAGE: &str = "\
Breaks a cluster on purpose and counts what got lost; writes the rows that ran into RELIABILITY.md.

Usage: cargo xtask chaos [OPTION…]

  --only A,B     only these: kills same-key ghost redis postgres rolling disk clock
  --seed N       the same choices as in an earlier run
  --quick        fewer faults, in two minutes instead of many; writes nothing
  --ogeld PATH   break this program instead of building one
";

type Row = fn(&Chaos<'_>) -> Result<Outcome>;
const ROWS: &[(&str, Row)] = &[
    ("kills", kills::run),
    ("same-key", same_key::run),
    ("ghost", ghost_faults::run),
    ("redis", redis::run),
    ("postgres", postgres::run),
    ("rolling", rolling::run),
    ("disk", disk::run),
    ("clock", clock::run),
];

/// What every row starts from.
pub(crate) struct Chaos<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) ogeld: PathBuf,
    pub(crate) quick: bool,
    seed: u64,
}

impl Chaos<'_> {
    /// A cluster of three of its own, so that no row inherits another's damage.
    pub(crate) fn cluster(&self, extra: &[(&str, String)]) -> Result<Cluster> {
        Cluster::start(self.workspace, &self.ogeld, 3, extra)
    }

    /// `full` of something, or `short` where time is short.
    pub(crate) fn many(&self, full: usize, short: usize) -> usize {
        if self.quick { short } else { full }
    }

    pub(crate) fn random(&self) -> Random {
        Random::new(self.seed)
    }
}

struct Options {
    only: Vec<String>,
    seed: Option<u64>,
    quick: bool,
    ogeld: Option<PathBuf>,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self { only: Vec::new(), seed: None, quick: false, ogeld: None };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value\n\n{USAGE}"));
            match word {
                "--quick" => options.quick = true,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--seed" => {
                    let text = value()?;
                    options.seed = Some(text.parse().map_err(|_| format!("`{text}` is no seed"))?);
                }
                "--ogeld" => options.ogeld = Some(value()?.into()),
                _ => return Err(format!("there is no option `{word}`\n\n{USAGE}")),
            }
        }
        match options.only.iter().find(|name| !ROWS.iter().any(|(known, _)| known == name)) {
            Some(name) => Err(format!("there is no row called `{name}`\n\n{USAGE}")),
            None => Ok(options),
        }
    }
}

/// Sees to it that what a run needs is there.
pub(crate) fn satisfy_needs() -> Result {
    preflight::satisfy("the chaos run", cluster::NEEDS)?;
    preflight::satisfy("the chaos run", clock::NEEDS)
}

pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result {
    let options = Options::parse(words)?;
    let ogeld = match options.ogeld {
        Some(path) => path.canonicalize().map_err(|error| format!("`{}`: {error}", path.display()))?,
        None => cluster::build(workspace)?,
    };
    satisfy_needs()?;
    let seed = options.seed.unwrap_or_else(random::fresh_seed);
    println!("seed {seed}");
    let chaos = Chaos { workspace, ogeld, quick: options.quick, seed };
    let (mut outcomes, mut failed) = (Vec::new(), Vec::new());
    for (name, row) in ROWS {
        if !options.only.is_empty() && !options.only.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("==> {name}");
        let started = Instant::now();
        match row(&chaos) {
            Ok(outcome) => {
                outcome.print(started.elapsed());
                if !outcome.holds() {
                    failed.push(*name);
                }
                outcomes.push(outcome);
            }
            Err(sentence) => {
                eprintln!("error: {name}: {sentence}");
                failed.push(*name);
            }
        }
    }
    if !chaos.quick {
        report::write(workspace, seed, &outcomes)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("did not hold with seed {seed}: {}", failed.join(", "))) }
}
