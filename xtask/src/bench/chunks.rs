//! How late a piece of a slow stream arrives through a gateway.

use std::net::SocketAddr;

use super::gateway::STREAMED;
use super::load::quantile;
use super::peers::plain_nginx;
use super::report::{Section, figure};
use super::streams::{self, INTERVAL};
use super::{Bench, Result};
use crate::http::Connection;
use crate::service::free_address;

/// Milliseconds added to the direct way.
const ADDED_P50_MS: f64 = 0.2;
const ADDED_P99_MS: f64 = 1.0;

const DIRECT: &str = "direct";
const OURS: &str = "ogeld";

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let count = bench.options.size(1000, 50);
    let upstream = streams::start()?;
    let mut plan = bench.plan("chunks");
    plan.text("studio.url", &format!("http://{upstream}"));
    let gateway = plan.start("ogeld", &[])?;
    let account = gateway.sign_up()?;
    let address = free_address()?;
    let _nginx = plain_nginx("chunks-nginx", &bench.folder.0, address, upstream, "proxy_buffering off;")?;

    let path = format!("{STREAMED}/chunks/{count}");
    let headers = [account.key.clone(), "Accept: text/event-stream".to_owned()];
    let mut section = Section::new(
        format!("Delay of a chunk, one every {} ms (`GET {STREAMED}/…`)", INTERVAL.as_millis()),
        &["way", "p50 ms", "p99 ms"],
    );
    let ways = [(DIRECT, upstream), ("nginx, unbuffered", address), (OURS, gateway.address)];
    let mut delays = ways.map(|_| Vec::new());
    for _ in 0..bench.options.rounds.min(3) {
        for (delays, (_, address)) in delays.iter_mut().zip(ways) {
            delays.extend(delays_of(address, &path, &headers, count)?);
        }
    }
    let mut direct = [f64::NAN; 2];
    for (delays, (name, _)) in delays.iter_mut().zip(ways) {
        let found = [0.50, 0.99].map(|share| quantile(delays, share));
        section.row([name.to_owned(), figure(found[0]), figure(found[1])]);
        if name == DIRECT {
            direct = found;
        } else if name == OURS {
            section.at_most("p50 added", found[0] - direct[0], ADDED_P50_MS, "ms");
            section.at_most("p99 added", found[1] - direct[1], ADDED_P99_MS, "ms");
        }
    }
    Ok(vec![section])
}

/// Milliseconds from where a chunk left to where it arrived.
fn delays_of(address: SocketAddr, path: &str, headers: &[String], count: u64) -> Result<Vec<f64>> {
    let mut connection = Connection::open(address)?;
    let head = connection.send("GET", path, headers, &[])?;
    if head.status != 200 {
        return Err(format!("GET {path} was answered with {}", head.status));
    }
    let mut delays = Vec::new();
    connection.body(&head, |piece| {
        let now = streams::now();
        let text = String::from_utf8_lossy(piece);
        let sent = text.split("data: ").filter_map(|event| event.trim().parse::<u128>().ok());
        delays.extend(sent.map(|sent| now.saturating_sub(sent) as f64 / 1000.0));
    })?;
    if delays.len() as u64 == count { Ok(delays) } else { Err(format!("{} of {count} chunks arrived", delays.len())) }
}
