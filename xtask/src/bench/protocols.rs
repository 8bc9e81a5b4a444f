//! HTTP/2 and TLS, beside nginx with the same certificate.

use std::process::Command;

use super::load::{CONNECTIONS, median};
use super::peers::limited_nginx;
use super::report::{Section, figure};
use super::{Bench, Result, main_route};
use crate::service::free_address;
use crate::shell;

/// CPU per request against nginx over the same protocol.
const CPU_RATIO: f64 = 1.10;
/// Requests at the same time on one connection, where the protocol has that.
const AT_ONCE: &str = "4";

/// A protocol, whether it is over TLS, and what tells `h2load` to speak it.
const PROTOCOLS: &[(&str, bool, &[&str])] = &[
    ("HTTP/1.1", false, &["--h1"]),
    ("HTTP/2 (prior knowledge)", false, &["-m", AT_ONCE]),
    ("HTTP/1.1 over TLS", true, &["--h1"]),
    ("HTTP/2 over TLS", true, &["-m", AT_ONCE]),
];

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Section>> {
    let (certificate, key) = certificate(bench)?;
    let plan = bench.plan("protocols");
    let plain = plan.start("plain", &[])?;
    let account = plain.sign_up()?;
    let mut secure = plan.clone();
    secure.text("server.tls_certificate", &certificate);
    secure.text("server.tls_key", &key);
    let secure = secure.start("secure", &[])?;
    let (routes, _) = bench.routes(&plain, &account)?;
    let route = main_route(&routes)?;
    let path = route.path(&account.project);

    // Before 1.25 nginx tells protocols apart by port where there is no TLS.
    let (h1, h2, tls) = (free_address()?, free_address()?, free_address()?);
    let listen = [
        format!("{h1}"),
        format!("{h2} http2"),
        format!("{tls} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3"),
    ];
    let nginx = limited_nginx("protocols-nginx", &bench.folder.0, &listen, h1, bench.upstream.address)?;

    let mut cpu: Vec<[Vec<f64>; 2]> = PROTOCOLS.iter().map(|_| [Vec::new(), Vec::new()]).collect();
    let mut failed = vec![0.0; PROTOCOLS.len()];
    for round in 0..=bench.options.rounds {
        for (at, (_, over_tls, words)) in PROTOCOLS.iter().enumerate() {
            let scheme = if *over_tls { "https" } else { "http" };
            let gateway = if *over_tls { &secure } else { &plain };
            let mut ours = gateway.target("ogeld", &path, &account, "");
            ours.url = format!("{scheme}://{}{path}", gateway.address);
            let mut theirs = ours.clone();
            let address = if *over_tls {
                tls
            } else if words.contains(&"-m") {
                h2
            } else {
                h1
            };
            (theirs.name, theirs.process) = ("nginx+limit".to_owned(), nginx.process);
            theirs.url = format!("{scheme}://{address}{path}");
            for (side, target) in [&ours, &theirs].into_iter().enumerate() {
                let mut arguments: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
                // The round before the first only warms up.
                let seconds = if round == 0 { 1 } else { bench.options.seconds };
                arguments.extend([format!("-c{CONNECTIONS}"), format!("-D{seconds}")]);
                let run = target.h2load(&arguments)?;
                if round > 0 {
                    cpu[at][side].push(run.cpu);
                    failed[at] += if side == 0 { run.failed } else { 0.0 };
                }
            }
        }
    }

    let mut section = Section::new(
        format!("Protocols, {CONNECTIONS} connections: {}", route.title()),
        &["protocol", "ogeld, CPU µs/request", "nginx+limit", "ratio", "failed"],
    );
    for (at, (name, ..)) in PROTOCOLS.iter().enumerate() {
        let [ours, theirs] = [0, 1].map(|side| median(cpu[at][side].iter().copied()));
        section.row([(*name).to_owned(), figure(ours), figure(theirs), figure(ours / theirs), figure(failed[at])]);
        section.at_most(&format!("{name}: CPU per request / nginx+limit"), ours / theirs, CPU_RATIO, "");
        section.at_most(&format!("{name}: failed requests"), failed[at], 0.0, "");
    }
    section.note(format!("HTTP/2 with {AT_ONCE} requests at the same time on each connection"));
    if !route.proxied {
        section.note("ogeld answered by itself, nginx asked the upstream: the ratio compares different work");
    }
    Ok(vec![section])
}

/// A certificate for the loopback address, and its key.
fn certificate(bench: &Bench<'_>) -> Result<(String, String)> {
    let at = |name: &str| bench.folder.0.join(name).display().to_string();
    let (certificate, key) = (at("certificate.pem"), at("key.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]);
    command.args(["-keyout", &key, "-out", &certificate]);
    if !shell::succeeds(&mut command) {
        return Err("openssl could not make a certificate".to_owned());
    }
    Ok((certificate, key))
}
