//! Load for `cargo xtask release`: what the gateway is there for, over every protocol, so that counters see what is hot.

use std::path::Path;

use super::load::CONNECTIONS;
use super::options::Options;
use super::{Bench, Result, chunks, growth, identity, protocols, transfer};

/// Of each kind of request.
const SECONDS: u64 = 3;

pub(crate) fn train(ogeld: &Path) -> Result {
    let mut options = Options::parse(&[])?;
    // Little of each kind: a counter needs to see what runs, not for how long.
    options.quick = true;
    (options.rounds, options.seconds) = (1, SECONDS);
    let bench = Bench::start(&options, ogeld.to_owned())?;
    let (gateway, account) = bench.gateway("training")?;
    for route in bench.routes(&gateway, &account)?.0 {
        let target = gateway.at(route, route.name, &account, "");
        for connections in [CONNECTIONS, 1] {
            target.wrk(connections, SECONDS, None)?;
        }
    }
    for measure in [protocols::measure, growth::measure, transfer::measure, chunks::measure] {
        measure(&bench)?;
    }
    identity::train(&bench)
}
