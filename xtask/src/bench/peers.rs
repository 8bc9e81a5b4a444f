//! The gateways to compare with, over the same upstream. Each is a few lines of configuration, as their manuals say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::load::Target;
use super::upstream::nginx;
use crate::Result;
use crate::service::{Service, free_address, program};

/// A gateway that runs.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) note: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) service: Service,
}

impl Peer {
    pub(crate) fn target(&self, path: &str) -> Target {
        Target {
            name: self.name.to_owned(),
            url: format!("http://{}{path}", self.address),
            process: self.service.process,
            // What a caller of ours sends as well; nginx limits by it.
            headers: vec!["Authorization: Bearer ogel_0123456789abcdef0123456789abcdef".to_owned()],
            note: self.note,
        }
    }
}

/// The name whose figures ours are held against.
pub(crate) const YARDSTICK: &str = "nginx+limit";
pub(crate) const PLAIN: &str = "nginx";

/// The name, what it does, and how it is started in a folder for an upstream; none when it is not there.
type Start = fn(&str, &Path, SocketAddr, SocketAddr) -> Result<Option<Service>>;
pub(crate) const PEERS: &[(&str, &str, Start)] = &[
    (PLAIN, "plain, keep-alive", |name, folder, address, upstream| {
        plain_nginx(name, folder, address, upstream, "").map(Some)
    }),
    (YARDSTICK, "rate limit, header injection, request id, access log", |name, folder, address, upstream| {
        limited_nginx(name, folder, &[format!("{address}")], address, upstream).map(Some)
    }),
    ("haproxy", "plain", haproxy),
    ("caddy", "plain", caddy),
    ("pingora", "the smallest proxy on the library", pingora),
    ("envoy", "plain", envoy),
];

/// Starts those that are there and wanted; answers with the names of the others as well.
pub(crate) fn start_all(folder: &Path, upstream: SocketAddr) -> Result<(Vec<Peer>, Vec<&'static str>)> {
    let (mut running, mut absent) = (Vec::new(), Vec::new());
    for &(name, note, start) in PEERS {
        let address = free_address()?;
        match start(name, folder, address, upstream)? {
            Some(service) => running.push(Peer { name, note, address, service: service.listening(address)? }),
            None => absent.push(name),
        }
    }
    Ok((running, absent))
}

pub(crate) fn start(name: &'static str, folder: &Path, upstream: SocketAddr) -> Result<Peer> {
    let address = free_address()?;
    let row = PEERS.iter().find(|(peer, ..)| *peer == name).ok_or_else(|| format!("there is no peer `{name}`"))?;
    let service = row.2(name, folder, address, upstream)?.ok_or_else(|| format!("{name} is not here"))?;
    Ok(Peer { name, note: row.1, address, service })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `more` goes where requests are passed on.
pub(crate) fn plain_nginx(
    name: &str,
    folder: &Path,
    address: SocketAddr,
    upstream: SocketAddr,
    more: &str,
) -> Result<Service> {
    let servers = format!(
        "upstream up {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}
        server {{ listen {address} backlog=4096; client_max_body_size 0; location / {{
            proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; {more} }} }}"
    );
    Ok(nginx(name, folder, cores(), &servers, address)?.0)
}

/// The duties of ours that nginx can take over. `listen` are its `listen` lines, for TLS and HTTP/2.
pub(crate) fn limited_nginx(
    name: &str,
    folder: &Path,
    listen: &[String],
    address: SocketAddr,
    upstream: SocketAddr,
) -> Result<Service> {
    let listen: String = listen.iter().map(|words| format!("listen {words};")).collect();
    let log = folder.join(name).join("access.log");
    let servers = format!(
        "upstream up {{ server {upstream}; keepalive 256; keepalive_requests 100000000; }}
        limit_req_zone $http_authorization zone=callers:10m rate=1000000r/s;
        server {{ {listen} access_log {log} combined buffer=64k flush=1s; location / {{
            limit_req zone=callers burst=1000000 nodelay;
            proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\";
            proxy_set_header X-Appwrite-JWT token; add_header X-Request-Id $request_id; }} }}",
        log = log.display()
    );
    Ok(nginx(name, folder, cores(), &servers, address)?.0)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<String> {
    let file = folder.join(name);
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    Ok(file.display().to_string())
}

fn haproxy(name: &str, folder: &Path, address: SocketAddr, upstream: SocketAddr) -> Result<Option<Service>> {
    let Some(program) = program("haproxy") else { return Ok(None) };
    let text = format!(
        "global\n maxconn 4096\n nbthread {}\ndefaults\n mode http\n timeout client 60s\n timeout server 60s\n \
         timeout connect 5s\n http-reuse always\nfrontend in\n bind {address}\n default_backend out\n\
         backend out\n server up {upstream}\n",
        cores()
    );
    let file = write(folder, "haproxy.cfg", &text)?;
    let command = [&*program.to_string_lossy(), "-db", "-f", &file];
    Service::start(name, folder.join("haproxy.log"), &command).map(Some)
}

fn caddy(name: &str, folder: &Path, address: SocketAddr, upstream: SocketAddr) -> Result<Option<Service>> {
    let Some(program) = program("caddy") else { return Ok(None) };
    let text = format!(
        "{{\n admin off\n auto_https off\n log {{\n  output discard\n }}\n}}\nhttp://{address} {{\n reverse_proxy {upstream}\n}}\n"
    );
    let file = write(folder, "Caddyfile", &text)?;
    let command = [&*program.to_string_lossy(), "run", "--adapter", "caddyfile", "--config", &file];
    Service::start(name, folder.join("caddy.log"), &command).map(Some)
}

/// Where peers that Debian does not have are put, by hand.
fn own_peer(file: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("PEERS")?);
    Some(folder.join(file)).filter(|file| file.is_file())
}

fn pingora(name: &str, folder: &Path, address: SocketAddr, upstream: SocketAddr) -> Result<Option<Service>> {
    let Some(program) = own_peer("pingora/target/release/pingora-peer") else { return Ok(None) };
    let words = [program.display().to_string(), address.to_string(), upstream.to_string(), cores().to_string()];
    Service::start(name, folder.join("pingora.log"), &words.each_ref().map(String::as_str)).map(Some)
}

fn envoy(name: &str, folder: &Path, address: SocketAddr, upstream: SocketAddr) -> Result<Option<Service>> {
    let Some(program) = own_peer("envoyenv/bin/envoy") else { return Ok(None) };
    let socket = |at: SocketAddr| json!({ "socket_address": { "address": at.ip(), "port_value": at.port() } });
    let kind = |of: &str| format!("type.googleapis.com/envoy.extensions.filters.{of}");
    let manager = json!({
        "@type": kind("network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "route_config": { "virtual_hosts": [{
            "name": "all", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "up" } }],
        }] },
        "http_filters": [
            { "name": "envoy.filters.http.router", "typed_config": { "@type": kind("http.router.v3.Router") } },
        ],
    });
    let config = json!({ "static_resources": {
        "listeners": [{
            "address": socket(address), "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
        }],
        "clusters": [{
            "name": "up", "connect_timeout": "1s", "type": "STATIC",
            "load_assignment": {
                "cluster_name": "up", "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(upstream) } }] }],
            },
        }],
    } });
    let file = write(folder, "envoy.json", &config.to_string())?;
    let threads = cores().to_string();
    let program = program.to_string_lossy();
    let command = [&*program, "-c", &file, "--concurrency", &threads, "-l", "error", "--base-id", "11"];
    Service::start(name, folder.join("envoy.log"), &command).map(Some)
}
