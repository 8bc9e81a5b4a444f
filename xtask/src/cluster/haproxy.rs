//! The load balancer: it asks each replica whether it is ready, and tries another one when a connection is refused.

use std::net::SocketAddr;
use std::path::Path;

use super::Replica;
use crate::Result;
use crate::service::{Service, program};

pub(super) fn start(folder: &Path, address: SocketAddr, replicas: &[Replica]) -> Result<Service> {
    let program = program("haproxy").ok_or("haproxy is not installed")?;
    let servers: String = (1..)
        .zip(replicas)
        .map(|(number, replica)| format!("  server replica{number} {} check\n", replica.address))
        .collect();
    // Only what never reached a replica is tried again here: whether more may be repeated is the client's to know.
    let config = format!(
        "global\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 1s\n  timeout client 120s\n  timeout server 120s\n  timeout tunnel 1h\n\
         \x20 retries 3\n  option redispatch 1\n  retry-on conn-failure\n\
         frontend api\n  bind {address}\n  default_backend replicas\n\
         backend replicas\n  balance roundrobin\n  option httpchk\n  http-check send meth GET uri /api/v2/ready hdr Host ogel\n\
         \x20 default-server inter 200ms fastinter 100ms downinter 200ms fall 2 rise 1\n{servers}"
    );
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config).map_err(|error| error.to_string())?;
    let (program, file) = (program.display().to_string(), file.display().to_string());
    Service::start("haproxy", folder.join("haproxy.log"), &[&*program, "-db", "-f", &*file])?.listening(address)
}
