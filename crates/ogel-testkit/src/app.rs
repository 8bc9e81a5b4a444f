//! The service itself, assembled as `ogeld` does it, on a free port.

use crate::{Api, Database, Network, database::TestDatabase};
use ogel_api::{id::OrganizationId, id::UserId, organizations::Role};
use ogel_ghost_local::LocalGhost;
use ogel_server::{
    config::{Config, Secret},
    run::{self, Running},
    secrets::Sealer,
    state::App,
    world::{Clock, Entropy, World},
};
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

const PLATFORM_KEY: &str = "platform-key-for-tests";
/// What Ghost signs its webhooks with.
pub const GHOST_SECRET: &str = "webhook-secret-for-tests";

/// A running service with a Ghost of its own.
pub struct TestApp {
    pub app: App,
    pub ghost: LocalGhost,
    pub folder: TempDir,
    /// What lies between the service and its Ghost.
    pub network: Network,
    running: Running,
    database: TestDatabase,
}

impl TestApp {
    pub async fn start(database: Database) -> Self {
        Self::start_with(database, |_| {}).await
    }

    /// With settings changed before the start.
    pub async fn start_with(database: Database, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = TestDatabase::make(database, folder.path()).await;
        let ghost = start_ghost(folder.path()).await;
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        config.server.operations_listen = "127.0.0.1:0".to_owned();
        config.server.drain_seconds = 5;
        config.mail.url = Secret::new(format!("file:{}", folder.path().join("mail").display()));
        config.mail.from = "Ogel <ogel@example.com>".to_owned();
        config.log.access = folder.path().join("access.log").display().to_string();
        // Tests call as fast as they can; those about limits set their own.
        let limits = &mut config.limits;
        (limits.api_key_free, limits.session, limits.anonymous, limits.address) = (10_000, 10_000, 10_000, 100_000);
        (limits.login, limits.deploy) = (10_000, 10_000);
        config.billing.plans_file = plans(folder.path());
        config.billing.usage_flush_seconds = 1;
        (limits.organization_free, limits.project_free) = (10_000, 10_000);
        config.database.url = Secret::new(database.url.clone());
        config.database.max_connections = 10;
        config.ghost.url = ghost.api_url();
        config.ghost.api_key = Secret::new(PLATFORM_KEY);
        config.ghost.webhook_secret = Secret::new(GHOST_SECRET);
        config.secrets.encryption_key = Secret::new(Sealer::new_key(&Entropy::System));
        config.deployments.allow_file_urls = true;
        config.deployments.allow_private_hosts = true;
        // What is changed at Ghost behind our back must show at once; tests about the cache set their own.
        config.cache.fresh_seconds = 0;
        config.webhooks.allow_private_hosts = true;
        // Cheap machines must not make logins wait for each other in tests.
        config.auth.concurrent_logins = 8;
        change(&mut config);
        let network = Network::default();
        let (app, running) = start_app(config, &network).await;
        Self { app, ghost, folder, network, running, database }
    }

    /// Stops service and Ghost, and starts both again on what they left behind.
    pub async fn restart(self) -> Self {
        let Self { app, ghost, folder, network, running, database } = self;
        let mut config = Config::clone(&app.config());
        run::stop(&app, running).await;
        ghost.shutdown().await;
        let ghost = start_ghost(folder.path()).await;
        config.ghost.url = ghost.api_url();
        let (app, running) = start_app(config, &network).await;
        Self { app, ghost, folder, network, running, database }
    }

    /// Everything ends and is removed.
    pub async fn stop(self) {
        let Self { app, ghost, folder, network: _, running, database } = self;
        run::stop(&app, running).await;
        ghost.shutdown().await;
        database.drop().await;
        drop(folder);
    }

    /// Every value of the database's, as text, under `table.column`.
    pub async fn columns(&self) -> std::collections::BTreeMap<String, Vec<String>> {
        self.database.columns().await
    }

    /// Accounts that Ghost has, by the platform's count: their ids and e-mail addresses.
    pub async fn accounts_at_ghost(&self) -> Vec<(String, String)> {
        crate::database::accounts_of(&self.folder.path().join("ghost")).await
    }

    /// Nobody in particular.
    pub fn anonymous(&self) -> Api {
        Api::new(format!("http://{}/api/v2", self.running.edge.address), None)
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.running.edge.address
    }

    /// What operators see at `path`, as text.
    pub async fn operations(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.running.operations.unwrap());
        let response = crate::http_client().get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The access log's lines up to now.
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Somebody new, logged in, with an organization of their own.
    pub async fn sign_up(&self, name: &str) -> Api {
        let anonymous = self.anonymous();
        let body = json!({ "email": format!("{name}@example.com"), "password": "correct horse", "name": name });
        let answer = anonymous.post("/auth/signup", body).await.expect(201);
        anonymous.with_token(answer["session"]["token"].as_str())
    }

    /// Somebody who signed up before, with a fresh session.
    pub async fn log_in(&self, name: &str) -> Api {
        let anonymous = self.anonymous();
        let body = json!({ "email": format!("{name}@example.com"), "password": "correct horse" });
        let answer = anonymous.post("/auth/login", body).await.expect(200);
        anonymous.with_token(answer["session"]["token"].as_str())
    }

    /// Mail to this address, oldest first, once there are so many.
    pub async fn mails_to(&self, address: &str, count: usize) -> Vec<String> {
        let folder = self.folder.path().join("mail");
        crate::eventually("the mail is sent", || async {
            let mut files: Vec<_> = std::fs::read_dir(&folder).ok()?.map(|file| file.unwrap().path()).collect();
            files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
            files.sort();
            let mails = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
            let mails: Vec<_> = mails.filter(|mail| mail.contains(&format!("To: {address}"))).collect();
            (mails.len() >= count).then_some(mails)
        })
        .await
    }

    /// Lets `who` belong to the organization of `whose` project owner.
    pub async fn add_member(&self, owner: &Api, who: &Api, role: Role) {
        let organization: OrganizationId = organization_of(owner).await.parse().unwrap();
        let user = who.get("/users/me").await.expect(200);
        let user: UserId = user["id"].as_str().unwrap().parse().unwrap();
        self.database.add_member(organization, user, role).await;
    }

    /// What somebody does to the database without us.
    pub async fn at_database(&self, sql: &str) {
        self.database.raw(sql).await;
    }

    /// The page a preview URL shows: status and text. Names under `localhost` need not resolve for it.
    pub async fn preview(&self, url: &str) -> (u16, String) {
        let url = url::Url::parse(url).unwrap();
        let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let response = crate::http_client()
            .get(format!("http://{}{}", self.ghost.preview_addr(), url.path()))
            .header("host", host)
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Has Ghost report its events to the service, as `ogeld dev` does.
    pub fn listen_to_ghost(&self) {
        let mut config = Config::clone(&self.app.config());
        config.ghost.webhook_url = format!("http://{}/api/v2/webhooks/ghost", self.running.edge.address);
        let (url, secret) = (config.ghost.webhook_url.clone(), config.ghost.webhook_secret.expose().to_owned());
        self.app.reconfigure(config);
        self.ghost.set_webhook(ogel_ghost_local::Webhook { url, secret }).unwrap();
    }

    /// How many deployments Ghost has of a project, by asking it with the platform's key.
    pub async fn deployments_at_ghost(&self, project: &str) -> u64 {
        let project: ogel_api::id::ProjectId = project.parse().unwrap();
        let url = format!("{}/v1/projects/{}/deployments", self.ghost.api_url(), project.0);
        let response = crate::http_client()
            .get(url)
            .header("x-appwrite-project", "console")
            .header("x-appwrite-key", PLATFORM_KEY)
            .send()
            .await
            .unwrap();
        if response.status() == 404 {
            return 0;
        }
        let body: serde_json::Value = response.json().await.unwrap();
        body["total"].as_u64().unwrap()
    }
}

impl TestApp {
    /// How Ghost sees a deployment, asked with the platform's key.
    pub async fn status_at_ghost(&self, project: &str, deployment: &str) -> String {
        let project: ogel_api::id::ProjectId = project.parse().unwrap();
        let deployment: ogel_api::id::DeploymentId = deployment.parse().unwrap();
        let url = format!("{}/v1/projects/{}/deployments/{}", self.ghost.api_url(), project.0, deployment.0);
        let request = crate::http_client().get(url).header("x-appwrite-project", "console");
        let answer = request.header("x-appwrite-key", PLATFORM_KEY).send().await.unwrap();
        let body: serde_json::Value = answer.json().await.unwrap();
        body["status"].as_str().unwrap_or_default().to_owned()
    }

    /// What somebody does at Ghost without us, with the platform's key; `path` goes on after the project.
    pub async fn at_ghost(&self, method: http::Method, project: &str, path: &str, body: serde_json::Value) -> u16 {
        let project: ogel_api::id::ProjectId = project.parse().unwrap();
        let url = format!("{}/v1/projects/{}{path}", self.ghost.api_url(), project.0);
        let request = crate::http_client().request(method, url).header("x-appwrite-project", "console");
        request.header("x-appwrite-key", PLATFORM_KEY).json(&body).send().await.unwrap().status().as_u16()
    }
}

/// The plans as they come, but without limits on how much is deployed: tests about those set their own.
fn plans(folder: &Path) -> String {
    let limited = |line: &&str| !line.starts_with("deployments_per_day") && !line.starts_with("concurrent_builds");
    let mut text: String = ogel_server::billing::catalog::DEFAULT
        .lines()
        .filter(limited)
        .fold(String::new(), |text, line| text + line + "\n");
    for plan in ["free", "pro", "team"] {
        let head = format!("[{plan}]\n");
        text = text.replace(&head, &format!("{head}deployments_per_day = 0\nconcurrent_builds = 0\n"));
    }
    let path = folder.join("plans.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The first organization of a caller.
pub(crate) async fn organization_of(api: &Api) -> String {
    let organizations = api.get("/organizations").await.expect(200);
    organizations["organizations"][0]["id"].as_str().unwrap().to_owned()
}

async fn start_ghost(folder: &Path) -> LocalGhost {
    let mut config = ogel_ghost_local::Config::new(folder.join("ghost"), PLATFORM_KEY);
    config.allow_file_urls = true;
    config.allow_private_hosts = true;
    config.inherit_env = std::env::vars_os().collect();
    LocalGhost::start(config).await.unwrap()
}

async fn start_app(config: Config, network: &Network) -> (App, Running) {
    // Starts at the real time, because Ghost's tokens carry it; from there tests turn it by hand.
    let clock = Clock::manual(Clock::System.now());
    let world = World { clock, entropy: Entropy::System };
    let app = run::assemble(config, world, network.connector()).await.unwrap();
    let running = run::start(&app, Vec::new()).await.unwrap();
    (app, running)
}
