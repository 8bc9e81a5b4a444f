//! `cargo xtask cluster`: three `ogeld` on one PostgreSQL, one Redis and one Ghost, behind HAProxy. For people who want to
//! look at it, and for `chaos`, which breaks it.
//!
//! Everything listens on the loopback address and ends with us. Next: `cluster/replica.rs`.

mod haproxy;
mod replica;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::bench::Scratch;
use crate::http::{Connection, bearer, text};
use crate::postgres::{self, Commits};
use crate::preflight::{self, Need};
use crate::service::{Service, free_address, program};
use crate::workspace::Workspace;
use crate::{Result, shell};
pub(crate) use replica::Replica;

pub(crate) const NEEDS: &[Need] = &[
    Need {
        name: "haproxy",
        reason: "the load balancer in front of three replicas",
        packages: &["haproxy"],
        present: || program("haproxy").is_some(),
    },
    Need {
        name: "redis-server",
        reason: "what replicas share",
        packages: &["redis-server"],
        present: || program("redis-server").is_some(),
    },
    Need {
        name: "PostgreSQL server programs",
        reason: "the replicas' database",
        packages: &["postgresql"],
        present: || postgres::programs().is_some(),
    },
    Need {
        name: "git",
        reason: "deployments clone repositories",
        packages: &["git"],
        present: || shell::find("git").is_some(),
    },
];

/// What signs webhooks between Ghost and us here. It protects nothing.
pub(crate) const WEBHOOK_SECRET: &str = "whsec_b2dlbC1jbHVzdGVyLXdlYmhvb2stc2VjcmV0";
pub(crate) const PLATFORM_KEY: &str = "platform-key-of-the-cluster";
const ENCRYPTION_KEY: &str = "b2dlbC1jbHVzdGVyLWtleS1pcy1ub3QtYS1zZWNyZXQ=";

/// Everything that runs. Fields end in this order: what is in front first.
pub(crate) struct Cluster {
    _balancer: Service,
    /// Where clients go.
    pub(crate) address: SocketAddr,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) ghost: Option<Service>,
    pub(crate) ghost_address: SocketAddr,
    pub(crate) redis: Option<Service>,
    pub(crate) redis_address: SocketAddr,
    pub(crate) postgres: postgres::Cluster,
    pub(crate) folder: Scratch,
}

/// Somebody who may do everything in an organization of theirs.
#[derive(Clone)]
pub(crate) struct Account {
    /// `Authorization` as a whole line.
    pub(crate) key: String,
    pub(crate) project: String,
}

impl Cluster {
    /// Starts `count` replicas of `ogeld`. `extra` are settings besides, as TOML writes them.
    pub(crate) fn start(workspace: &Workspace, ogeld: &Path, count: usize, extra: &[(&str, String)]) -> Result<Self> {
        Self::start_under(workspace, ogeld, count, extra, &[])
    }

    /// The same, with words before each replica's program, such as `env NAME=VALUE`.
    pub(crate) fn start_under(
        workspace: &Workspace,
        ogeld: &Path,
        count: usize,
        extra: &[(&str, String)],
        under: &[String],
    ) -> Result<Self> {
        preflight::satisfy("the cluster", NEEDS)?;
        let folder = Scratch::make("ogel-cluster-")?;
        let postgres = postgres::Cluster::start_with(workspace, Commits::Durable)?;
        let redis_address = free_address()?;
        let redis = start_redis(&folder.0, redis_address)?;
        let (ghost_address, preview, address) = (free_address()?, free_address()?, free_address()?);
        let ghost = start_ghost(ogeld, &folder.0, ghost_address, preview, address)?;
        let mut settings: Vec<(&str, String)> = vec![
            ("database.url", quoted(&postgres.url)),
            ("redis.url", quoted(&format!("redis://{redis_address}"))),
            ("ghost.url", quoted(&format!("http://{ghost_address}"))),
            ("ghost.api_key", quoted(PLATFORM_KEY)),
            ("ghost.webhook_secret", quoted(WEBHOOK_SECRET)),
            ("ghost.webhook_url", quoted(&format!("http://{address}/api/v2/webhooks/ghost"))),
            ("secrets.encryption_key", quoted(ENCRYPTION_KEY)),
            ("server.public_url", quoted(&format!("http://{address}"))),
            ("server.unready_seconds", "1".to_owned()),
            ("deployments.allow_file_urls", "true".to_owned()),
            ("deployments.allow_private_hosts", "true".to_owned()),
            ("log.filter", quoted("info")),
            // Thousands of requests come from one address and one key here; `limits` rows set their own.
            ("limits.address", "1000000".to_owned()),
            ("limits.api_key_free", "1000000".to_owned()),
            ("limits.session", "1000000".to_owned()),
            ("limits.anonymous", "1000000".to_owned()),
            ("limits.deploy", "1000000".to_owned()),
            ("limits.login", "1000000".to_owned()),
            ("limits.organization_free", "1000000".to_owned()),
            ("limits.project_free", "1000000".to_owned()),
            ("billing.plans_file", quoted(&plans_without_quotas(ogeld, &folder.0)?)),
        ];
        for (key, value) in extra {
            settings.retain(|(known, _)| known != key);
            settings.push((key, value.clone()));
        }
        let mut replicas = Vec::new();
        for number in 1..=count {
            replicas.push(Replica::start_under(number, ogeld, &folder.0, &settings, under)?);
        }
        let balancer = haproxy::start(&folder.0, address, &replicas)?;
        let (ghost, redis) = (Some(ghost), Some(redis));
        let cluster = Self {
            _balancer: balancer,
            address,
            replicas,
            ghost,
            ghost_address,
            redis,
            redis_address,
            postgres,
            folder,
        };
        cluster.wait_until_balanced()?;
        Ok(cluster)
    }

    /// The balancer has seen a replica answer.
    fn wait_until_balanced(&self) -> Result {
        eventually(Duration::from_secs(30), "the balancer to find a replica", || {
            let answer = Connection::open(self.address)?.call("GET", "/api/v2/health", &[], &[])?;
            Ok((answer.0 == 200).then_some(()))
        })
    }

    pub(crate) fn start_redis_again(&mut self) -> Result {
        self.redis = Some(start_redis(&self.folder.0, self.redis_address)?);
        Ok(())
    }

    /// Signs up, and makes a project and a key.
    pub(crate) fn sign_up(&self, name: &str) -> Result<Account> {
        let mut connection = Connection::open(self.address)?;
        let body = json!({ "email": format!("{name}@example.com"), "password": "correct horse battery", "name": name });
        let answer = connection.json("POST", "/api/v2/auth/signup", &[], Some(&body))?;
        let session = [bearer(text(&answer, "/session/token")?)];
        let body = json!({ "name": name });
        let key = connection.json("POST", "/api/v2/auth/api-keys", &session, Some(&body))?;
        let project = connection.json("POST", "/api/v2/projects", &session, Some(&body))?;
        Ok(Account { key: bearer(text(&key, "/secret")?), project: text(&project, "/id")?.to_owned() })
    }
}

/// The program's own plans, without limits on how much is deployed; the path of the file.
pub(crate) fn plans_without_quotas(ogeld: &Path, folder: &Path) -> Result<String> {
    let plans = shell::output(std::process::Command::new(ogeld).arg("plans"))?;
    let lifted = plans.lines().map(|line| match line.split_once('=') {
        Some((limit, _)) if ["deployments_per_day", "concurrent_builds"].contains(&limit.trim()) => {
            format!("{limit}= 0\n")
        }
        Some((metered, _)) if ["usage.deployments", "usage.buildSeconds"].contains(&metered.trim()) => {
            format!("{metered}= {{ included = 1_000_000_000 }}\n")
        }
        _ => format!("{line}\n"),
    });
    let path = folder.join("plans.toml");
    std::fs::write(&path, lifted.collect::<String>()).map_err(|error| error.to_string())?;
    Ok(path.display().to_string())
}

fn start_redis(folder: &Path, address: SocketAddr) -> Result<Service> {
    let program = program("redis-server").ok_or("redis-server is not installed")?;
    let (program, port) = (program.display().to_string(), address.port().to_string());
    let dir = folder.display().to_string();
    let command =
        [&*program, "--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no", "--dir", &dir];
    Service::start("redis-server", folder.join("redis.log"), &command)?.listening(address)
}

fn start_ghost(
    ogeld: &Path,
    folder: &Path,
    address: SocketAddr,
    preview: SocketAddr,
    balancer: SocketAddr,
) -> Result<Service> {
    let (ogeld, data) = (ogeld.display().to_string(), folder.join("ghost").display().to_string());
    let (listen, preview) = (address.to_string(), preview.to_string());
    let (key, secret) =
        (format!("OGEL_GHOST_API_KEY={PLATFORM_KEY}"), format!("OGEL_GHOST_WEBHOOK_SECRET={WEBHOOK_SECRET}"));
    let webhook = format!("http://{balancer}/api/v2/webhooks/ghost");
    let command = [
        "env",
        &*key,
        &*secret,
        &*ogeld,
        "ghost",
        "--data-dir",
        &*data,
        "--listen",
        &*listen,
        "--preview-listen",
        &*preview,
        "--webhook-url",
        &*webhook,
        "--faults",
    ];
    Service::start("ghost", folder.join("ghost.log"), &command)?.listening(address)
}

/// Asks until there is an answer. Errors count as "not yet".
pub(crate) fn eventually<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = std::time::Instant::now();
    loop {
        let last = match ask() {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => String::new(),
            Err(error) => format!(" ({error})"),
        };
        if started.elapsed() > patience {
            return Err(format!("waited {} s in vain for {what}{last}", patience.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A text as TOML writes it.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// `cargo xtask cluster`
pub(crate) fn foreground(workspace: &Workspace) -> Result {
    let ogeld = build(workspace)?;
    let cluster = Cluster::start(workspace, &ogeld, 3, &[])?;
    let account = cluster.sign_up("cluster")?;
    let key = account.key.trim_start_matches("Authorization: Bearer ");
    println!("\n  Three replicas behind HAProxy\n");
    println!("  API        http://{}/api/v2", cluster.address);
    for (number, replica) in (1..).zip(&cluster.replicas) {
        println!(
            "  replica {number}  http://{}/api/v2   metrics http://{}/metrics",
            replica.address, replica.operations
        );
    }
    println!("  Ghost      http://{}", cluster.ghost_address);
    println!("  Redis      redis://{}", cluster.redis_address);
    println!("  database   {}", cluster.postgres.url);
    println!("  logs       {}\n", cluster.folder.0.display());
    println!("  Try it, in another terminal:\n");
    println!("    export OGEL_API_URL=http://{} OGEL_TOKEN={key}", cluster.address);
    println!("    curl -H \"Authorization: Bearer $OGEL_TOKEN\" http://{}/api/v2/deployments", cluster.address);
    println!("    cargo ogel deploy PATH-OF-A-GIT-REPOSITORY\n");
    println!("  Enter or Ctrl-C stops everything.");
    std::io::stdin().read_line(&mut String::new()).map_err(|error| error.to_string())?;
    Ok(())
}

/// `ogeld` as a developer builds it.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    shell::run(&mut workspace.cargo(&["build", "--locked", "-p", "ogel-server", "--bin", "ogeld"]))?;
    Ok(workspace.target.join("debug/ogeld"))
}
