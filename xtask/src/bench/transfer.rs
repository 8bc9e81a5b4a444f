//! Long bodies, both ways: they pass through, so memory must not grow with them.

use std::time::Instant;

use super::gateway::STREAMED;
use super::peers::plain_nginx;
use super::report::{Section, figure};
use super::{Bench, Result, streams};
use crate::http::Connection;
use crate::service::{Process, free_address};
use std::net::SocketAddr;

/// Resident memory that a long body may take, whatever its length.
const GROWTH_MIB: f64 = 8.0;

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let bytes: usize = bench.options.size(1 << 30, 64 << 20);
    let upstream = streams::start()?;
    let mut plan = bench.plan("transfer");
    plan.text("studio.url", &format!("http://{upstream}"));
    let gateway = plan.start("ogeld", &[])?;
    let account = gateway.sign_up()?;
    let address = free_address()?;
    let nginx = plain_nginx(
        "transfer-nginx",
        &bench.folder.0,
        address,
        upstream,
        "proxy_buffering off; proxy_request_buffering off;",
    )?;
    let headers = [account.key.clone()];

    let mut section = Section::new(
        format!("A body of {} MiB (`{STREAMED}/…`)", bytes >> 20),
        &["gateway", "way", "MiB/s", "CPU ms/GiB", "RSS before, MiB", "RSS at most, MiB"],
    );
    let sides = [("nginx, unbuffered", nginx.process, address), ("ogeld", gateway.service.process, gateway.address)];
    for (name, process, address) in sides {
        for (way, word) in [(Way::Down, "download"), (Way::Up, "upload")] {
            // The first bodies fill caches and pools that stay.
            transfer(process, address, way, 8 << 20, &headers)?;
            let found = transfer(process, address, way, bytes, &headers)?;
            let [rate, cpu, before, most] = found;
            section.row([name.to_owned(), word.to_owned(), figure(rate), figure(cpu), figure(before), figure(most)]);
            if name == "ogeld" {
                section.at_most(&format!("{word}: RSS growth"), most - before, GROWTH_MIB, "MiB");
            }
        }
    }
    Ok(vec![section])
}

fn transfer(process: Process, address: SocketAddr, way: Way, bytes: usize, headers: &[String]) -> Result<[f64; 4]> {
    process.forget_peak()?;
    let (before, cpu, started) = (process.rss(), process.cpu_seconds(), Instant::now());
    let mut connection = Connection::open(address)?;
    let (status, moved) = match way {
        Way::Down => {
            let head = connection.send("GET", &format!("{STREAMED}/download/{bytes}"), headers, &[])?;
            let mut moved = 0;
            connection.body(&head, |piece| moved += piece.len())?;
            (head.status, moved)
        }
        Way::Up => {
            connection.begin("POST", &format!("{STREAMED}/upload"), headers, bytes)?;
            let piece = vec![b'x'; 64 << 10];
            for _ in 0..bytes / piece.len() {
                connection.write(&piece)?;
            }
            let head = connection.head()?;
            let mut text = Vec::new();
            connection.body(&head, |piece| text.extend_from_slice(piece))?;
            (head.status, String::from_utf8_lossy(&text).parse().unwrap_or(0))
        }
    };
    if status != 200 || moved != bytes {
        return Err(format!("{moved} of {bytes} bytes passed, with status {status}"));
    }
    let gibibytes = bytes as f64 / f64::from(1 << 30);
    let rate = gibibytes * 1024.0 / started.elapsed().as_secs_f64();
    Ok([rate, (process.cpu_seconds() - cpu) * 1000.0 / gibibytes, before, process.peak()])
}
