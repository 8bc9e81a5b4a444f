//! Ours: its configuration, an account with a project and a key, and the paths that are measured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::load::Target;
use crate::Result;
use crate::http::{Connection, bearer, text};
use crate::service::{Service, free_address};

/// A way through the gateway.
pub(crate) struct Route {
    pub(crate) name: &'static str,
    /// `{project}` stands for a project's id.
    path: &'static str,
    /// Whole lines that are sent besides the key.
    pub(crate) headers: &'static [&'static str],
    /// Whether the upstream answers it, so that it can be held against other proxies.
    pub(crate) proxied: bool,
}

/// Every route, the cheapest kind of work first. What this build does not answer is said and left out.
pub(crate) const ROUTES: &[Route] = &[
    Route { name: "streamed", path: "/api/v2/billing/anything", headers: &[], proxied: true },
    Route { name: "typed, kept", path: SITES, headers: &[], proxied: true },
    Route { name: "typed, asked", path: SITES, headers: &["Cache-Control: no-store"], proxied: true },
    Route { name: "own answer", path: "/api/v2/version", headers: &[], proxied: false },
];

/// Read from Ghost and written anew; kept for a moment, unless the caller wants to have it asked.
const SITES: &str = "/api/v2/sites?projectId={project}";

/// Where a streamed body is passed on.
pub(crate) const STREAMED: &str = "/api/v2/billing";

impl Route {
    pub(crate) fn path(&self, project: &str) -> String {
        self.path.replace("{project}", project)
    }

    pub(crate) fn title(&self) -> String {
        let lines: String = self.headers.iter().map(|line| format!(", `{line}`")).collect();
        format!("{} (`GET {}`{lines})", self.name, self.path.replace("{project}", "…"))
    }

    /// All that `account` sends.
    pub(crate) fn headers(&self, account: &Account) -> Vec<String> {
        std::iter::once(account.key.clone()).chain(self.headers.iter().map(|&line| line.to_owned())).collect()
    }
}

/// More than any load here makes in a window, and the most that a window can hold.
const UNREACHED: u64 = (1 << 24) - 1;
const LIMITS: &[&str] =
    &["api_key_free", "api_key_pro", "api_key_team", "session", "anonymous", "login", "deploy", "address"];

/// 32 bytes in base64. It protects nothing.
const ENCRYPTION_KEY: &str = "b2dlbC1iZW5jaG1hcmsta2V5LW5vdC1hLXNlY3JldCE=";

/// What a gateway is started with.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    /// Its database and its logs.
    pub(crate) folder: PathBuf,
    settings: Vec<(String, String)>,
}

impl Plan {
    /// Everything on that production has, and no limit that is ever met.
    pub(crate) fn new(program: &Path, folder: &Path, upstream: &str) -> Self {
        let mut plan = Self { program: program.to_owned(), folder: folder.to_owned(), settings: Vec::new() };
        plan.text("ghost.url", upstream);
        plan.text("ghost.api_key", "platform-key");
        plan.text("studio.url", upstream);
        plan.set("studio.forward", "[\"billing\"]");
        plan.text("secrets.encryption_key", ENCRYPTION_KEY);
        plan.text("database.url", &format!("sqlite:{}", folder.join("ogel.db").display()));
        plan.text("log.filter", "warn");
        plan.set("server.header_timeout_seconds", "3600");
        plan.limits(UNREACHED);
        plan
    }

    /// A value as TOML writes it.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.retain(|(known, _)| known != key);
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.set(key, &format!("\"{value}\""));
    }

    /// 0 is no limit at all.
    pub(crate) fn limits(&mut self, limit: u64) {
        for name in LIMITS {
            self.set(&format!("limits.{name}"), &limit.to_string());
        }
    }

    /// Starts it; `under` is a program, with its arguments, that runs it.
    pub(crate) fn start(&self, name: &str, under: &[&str]) -> Result<Gateway> {
        std::fs::create_dir_all(&self.folder).map_err(|error| error.to_string())?;
        let address = free_address()?;
        let mut plan = self.clone();
        plan.text("server.listen", &address.to_string());
        let operations = free_address()?;
        plan.text("server.operations_listen", &operations.to_string());
        let at = |ending: &str| self.folder.join(format!("{}.{ending}", name.replace(['/', ' '], "-")));
        if !plan.settings.iter().any(|(key, _)| key == "log.access") {
            plan.text("log.access", &at("access.log").display().to_string());
        }
        let lines: Vec<String> = plan.settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        std::fs::write(at("toml"), lines.concat()).map_err(|error| error.to_string())?;
        let (program, config) = (self.program.to_string_lossy(), at("toml").display().to_string());
        let command = [under, &[&*program, "serve", "--config", &config]].concat();
        let service = Service::start(name, at("log"), &command)?.listening(address)?;
        Ok(Gateway { service, address, operations })
    }
}

/// A gateway that runs.
pub(crate) struct Gateway {
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
    operations: SocketAddr,
}

/// Somebody who may call it.
#[derive(Clone)]
pub(crate) struct Account {
    /// `Authorization` of a login, for making things.
    session: String,
    pub(crate) project: String,
    /// `Authorization` with an API key, for calling.
    pub(crate) key: String,
}

impl Gateway {
    pub(crate) fn connect(&self) -> Result<Connection> {
        Connection::open(self.address)
    }

    /// A figure of `/metrics` that has no labels.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let (_, page) = Connection::open(self.operations)?.call("GET", "/metrics", &[], &[])?;
        let page = String::from_utf8_lossy(&page);
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.ok_or_else(|| format!("`/metrics` has no `{name}`"))
    }

    /// Signs up and makes a project and an API key.
    pub(crate) fn sign_up(&self) -> Result<Account> {
        let body = json!({ "email": "bench@example.com", "password": "correct horse", "name": "Bench" });
        let answer = self.connect()?.json("POST", "/api/v2/auth/signup", &[], Some(&body))?;
        let session = bearer(text(&answer, "/session/token")?);
        let account = Account { session, project: String::new(), key: String::new() };
        self.another(&account, 0)
    }

    /// The same person's next project and key.
    pub(crate) fn another(&self, account: &Account, number: usize) -> Result<Account> {
        let (mut connection, headers) = (self.connect()?, [account.session.clone()]);
        let body = json!({ "name": format!("bench-{number}") });
        let project = connection.json("POST", "/api/v2/projects", &headers, Some(&body))?;
        let key = connection.json("POST", "/api/v2/auth/api-keys", &headers, Some(&body))?;
        // Makes the project known to the upstream, without which nothing would be asked of it.
        let site = json!({ "projectId": text(&project, "/id")?, "name": "bench" });
        connection.json("POST", "/api/v2/sites", &headers, Some(&site))?;
        Ok(Account {
            session: account.session.clone(),
            project: text(&project, "/id")?.to_owned(),
            key: bearer(text(&key, "/secret")?),
        })
    }

    pub(crate) fn target(&self, name: &str, path: &str, account: &Account, note: &'static str) -> Target {
        Target {
            name: name.to_owned(),
            url: format!("http://{}{path}", self.address),
            process: self.service.process,
            headers: vec![account.key.clone()],
            note,
        }
    }

    /// One of [`ROUTES`], with all that `account` sends there.
    pub(crate) fn at(&self, route: &Route, name: &str, account: &Account, note: &'static str) -> Target {
        let target = self.target(name, &route.path(&account.project), account, note);
        Target { headers: route.headers(account), ..target }
    }

    /// Whether this build answers the route at all.
    pub(crate) fn answers(&self, route: &Route, account: &Account) -> Result<bool> {
        let (path, headers) = (route.path(&account.project), route.headers(account));
        let (status, _) = self.connect()?.call("GET", &path, &headers, &[])?;
        Ok((200..300).contains(&status))
    }
}
