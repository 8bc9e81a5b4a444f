//! The programs that the benchmark runs. As root on Debian they are installed; elsewhere the missing ones are named.

use crate::Result;
use crate::preflight::{self, Need};
use crate::service::program;

const NEEDS: &[Need] = &[
    Need { name: "nginx", reason: "the upstream, and the yardstick", packages: &["nginx"], present: || has("nginx") },
    Need { name: "haproxy", reason: "a gateway to compare with", packages: &["haproxy"], present: || has("haproxy") },
    Need { name: "caddy", reason: "a gateway to compare with", packages: &["caddy"], present: || has("caddy") },
    Need { name: "wrk", reason: "makes the load", packages: &["wrk"], present: || has("wrk") },
    Need {
        name: "h2load",
        reason: "makes the load over HTTP/2 and TLS",
        packages: &["nghttp2-client"],
        present: || has("h2load"),
    },
    Need {
        name: "valgrind",
        reason: "counts allocations and instructions",
        packages: &["valgrind"],
        present: || has("valgrind"),
    },
    Need { name: "strace", reason: "counts system calls", packages: &["strace"], present: || has("strace") },
    Need { name: "openssl", reason: "makes a certificate", packages: &["openssl"], present: || has("openssl") },
    Need { name: "node", reason: "makes sessions of Studio's", packages: &["nodejs"], present: || has("node") },
    Need { name: "npm", reason: "makes sessions of Studio's", packages: &["npm"], present: || has("npm") },
    Need {
        name: "sqlite3",
        reason: "makes a database of Studio's",
        packages: &["sqlite3"],
        present: || has("sqlite3"),
    },
    Need { name: "git", reason: "a build to stream logs of", packages: &["git"], present: || has("git") },
];

pub(crate) fn install() -> Result {
    preflight::satisfy("the benchmark", NEEDS)
}

fn has(name: &str) -> bool {
    program(name).is_some()
}
