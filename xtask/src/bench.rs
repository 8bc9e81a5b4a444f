//! `cargo xtask bench`: what the gateway costs, measured beside other gateways in the same run on one machine.
//!
//! The figure to compare is processor time of a gateway's own processes per request: it hardly moves on a shared machine,
//! requests per second do. Everything runs on the loopback address and ends with us.
//!
//! One row in [`SECTIONS`] is one question and one file. Next: `bench/gateway.rs`, ours; `bench/peers.rs`, the others.

mod allocations;
mod chunks;
mod connections;
mod costs;
mod gateway;
mod growth;
mod hold;
mod identity;
mod load;
mod needs;
mod options;
mod peers;
mod protocols;
mod proxies;
mod report;
mod soak;
mod streams;
mod syscalls;
mod training;
mod transfer;
mod upstream;

use std::path::PathBuf;

use crate::workspace::Workspace;
use crate::{Result, release};
use gateway::{Account, Gateway, Plan, ROUTES, Route};
pub(crate) use hold::child as hold;
use options::Options;
pub(crate) use options::USAGE;
use report::Section;
pub(crate) use training::train;
use upstream::Upstream;

/// Name, and what measures it.
type Measure = fn(&Bench<'_>) -> Result<Vec<Section>>;
const SECTIONS: &[(&str, Measure)] = &[
    ("proxies", proxies::measure),
    ("costs", costs::measure),
    ("allocations", allocations::measure),
    ("syscalls", syscalls::measure),
    ("growth", growth::measure),
    ("identity", identity::measure),
    ("protocols", protocols::measure),
    ("transfer", transfer::measure),
    ("chunks", chunks::measure),
    ("connections", connections::measure),
    ("soak", soak::measure),
];

/// What every section starts from.
struct Bench<'a> {
    options: &'a Options,
    folder: Scratch,
    ogeld: PathBuf,
    upstream: Upstream,
}

/// Files of one run.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Removes what runs that were killed have left, too. `prefix` says whose they are.
    pub(crate) fn make(prefix: &str) -> Result<Self> {
        let parent = std::env::temp_dir();
        for entry in std::fs::read_dir(&parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(process) = name.strip_prefix(prefix) else { continue };
            if !PathBuf::from("/proc").join(process).exists() {
                drop(Self(entry.path()));
            }
        }
        let folder = Self(parent.join(format!("{prefix}{}", std::process::id())));
        std::fs::create_dir_all(&folder.0).map_err(|error| error.to_string())?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("warning: `{}` could not be removed: {error}", self.0.display());
        }
    }
}

pub(crate) fn run(workspace: &Workspace, words: &[&str]) -> Result {
    let options = Options::parse(words)?;
    let ogeld = match &options.ogeld {
        Some(path) => path.canonicalize().map_err(|error| format!("`{}`: {error}", path.display()))?,
        None => release::build(workspace)?,
    };
    let bench = Bench::start(&options, ogeld)?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (name, measure) in SECTIONS.iter().filter(|(name, _)| options.wants(name)) {
        println!("==> {name}");
        match measure(&bench) {
            Ok(tables) => {
                tables.iter().for_each(report::print);
                done.push((*name, tables));
            }
            Err(sentence) => {
                eprintln!("error: {name}: {sentence}");
                failed.push(*name);
            }
        }
    }
    let lost: usize = done.iter().flat_map(|(_, tables)| tables).map(|table| table.lost).sum();
    println!("==> summary\n{lost} bounds not held");
    if options.quick {
        println!("a quick run says that it works, not how fast it is: nothing is written");
    } else {
        report::write(workspace, &report::conditions(options.seconds, options.rounds), &done)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("not measured: {}", failed.join(", "))) }
}

impl<'a> Bench<'a> {
    /// Installs what is needed and starts the upstream.
    fn start(options: &'a Options, ogeld: PathBuf) -> Result<Self> {
        needs::install()?;
        let folder = Scratch::make("ogel-bench-")?;
        let upstream = Upstream::start(&folder.0)?;
        Ok(Self { options, folder, ogeld, upstream })
    }

    /// A gateway with its own database, over our upstream.
    fn plan(&self, folder: &str) -> Plan {
        let upstream = format!("http://{}", self.upstream.address);
        Plan::new(&self.ogeld, &self.folder.0.join(folder), &upstream)
    }

    /// One that runs, with somebody who may call it.
    fn gateway(&self, folder: &str) -> Result<(Gateway, Account)> {
        let gateway = self.plan(folder).start("ogeld", &[])?;
        let account = gateway.sign_up()?;
        Ok((gateway, account))
    }

    /// The routes that the build under test answers, and a note on the others.
    fn routes(&self, gateway: &Gateway, account: &Account) -> Result<(Vec<&'static Route>, Vec<String>)> {
        let (mut there, mut notes) = (Vec::new(), Vec::new());
        for route in ROUTES {
            if gateway.answers(route, account)? {
                there.push(route);
            } else {
                notes.push(format!("not measured: {}, which this build does not answer", route.title()));
            }
        }
        Ok((there, notes))
    }
}

/// The cheapest route that really goes through, or what there is.
fn main_route(routes: &[&'static Route]) -> Result<&'static Route> {
    routes.first().copied().ok_or_else(|| "this build answers none of the routes".to_owned())
}
