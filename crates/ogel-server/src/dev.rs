//! `ogeld dev`: the whole platform on one machine with nothing installed but git.
//!
//! SQLite, the memory cache and a Ghost inside the process, all under one data directory. The first run makes an
//! account, a project and a key, and deploys an example, so that there is something to look at; later runs find it all
//! again.

mod sample;
mod welcome;

use crate::{
    caller::Caller,
    config::{Config, Secret},
    resources::{auth, projects},
    run::{self, Doing as _, Running, StartError},
    secrets::Sealer,
    state::App,
    uses::Noted,
    world::World,
};
use ogel_api::{
    auth::{AuthMethod, NewApiKey, Scope, Signup},
    id::{OrganizationId, ProjectId, UserId},
    organizations::Plan,
    projects::NewProject,
};
use ogel_ghost_local::LocalGhost;
use ogel_proxy::Connector;
use ogel_store::{Act, User, Viewer};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// What `ogeld dev` was asked for.
pub struct Options {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// One line for machines instead of a page for people.
    pub json: bool,
    /// The environment builds may see parts of.
    pub environment: Vec<(OsString, OsString)>,
    pub config: Config,
}

/// What a data directory remembers; readable by its owner only.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remembered {
    encryption_key: String,
    platform_key: String,
    /// Preview addresses are links people keep, so they keep their port.
    preview_port: u16,
    #[serde(default)]
    account: Option<Account>,
}

/// The first run's account.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    email: String,
    password: String,
    api_key: String,
    user_id: UserId,
    organization_id: OrganizationId,
    project_id: ProjectId,
}

/// A running development platform.
pub struct Dev {
    pub app: App,
    running: Running,
    ghost: LocalGhost,
    data_dir: PathBuf,
}

/// Runs until it is asked to stop.
pub async fn run(options: Options) -> Result<(), StartError> {
    let started = Instant::now();
    let json = options.json;
    let (dev, account) = start(options).await?;
    let base_url = format!("http://{}", dev.running.edge.address);
    if json {
        welcome::machine(&base_url, &account, &dev.ghost.api_url());
    } else {
        welcome::person(&base_url, &account, &dev.data_dir.join("mail"), started.elapsed());
    }
    let (app, project, user, data_dir) = (dev.app.clone(), account.project_id, account.user_id, dev.data_dir.clone());
    let (state, shutdown) = (app.clone(), app.shutdown.clone());
    app.in_background(async move {
        tokio::select! {
            () = sample::deploy_once(&state, &data_dir, user, project, json) => {}
            () = shutdown.cancelled() => {}
        }
    });
    run::asked_to_stop().await;
    if !json {
        welcome::goodbye();
    }
    dev.stop().await;
    Ok(())
}

async fn start(options: Options) -> Result<(Dev, Account), StartError> {
    let Options { data_dir, listen, json: _, environment, mut config } = options;
    make_private_directory(&data_dir).doing(format!("cannot make the data directory `{}`", data_dir.display()))?;
    let data_dir = data_dir.canonicalize().doing("cannot find the data directory again")?;
    refuse_taken_port(listen)?;
    let world = World::system();
    let file = data_dir.join("dev.json");
    let mut remembered = match read(&file)? {
        Some(remembered) => remembered,
        None => Remembered {
            encryption_key: Sealer::new_key(&world.entropy),
            platform_key: hex::encode(world.entropy.bytes::<32>()),
            preview_port: 0,
            account: None,
        },
    };

    let mut ghost = ogel_ghost_local::Config::new(data_dir.join("ghost"), remembered.platform_key.clone());
    ghost.allow_file_urls = true;
    ghost.allow_private_hosts = true;
    ghost.preview_listen = SocketAddr::from(([127, 0, 0, 1], remembered.preview_port));
    ghost.inherit_env = environment;
    let ghost = LocalGhost::start(ghost).await.doing(format!(
        "cannot start the embedded Ghost (previews on port {}; is another `ogeld dev` using `{}`?)",
        remembered.preview_port,
        data_dir.display()
    ))?;

    config.server.listen = listen.to_string();
    config.database.url = Secret::new(format!("sqlite:{}", data_dir.join("ogel.db").display()));
    config.mail.url = Secret::new(format!("file:{}", data_dir.join("mail").display()));
    config.mail.from = "Ogel <dev@ogel.localhost>".to_owned();
    config.ghost.url = ghost.api_url();
    config.ghost.api_key = Secret::new(remembered.platform_key.clone());
    // Both ends are in this process, so a secret of this run will do.
    config.ghost.webhook_secret = Secret::new(hex::encode(world.entropy.bytes::<32>()));
    config.secrets.encryption_key = Secret::new(remembered.encryption_key.clone());
    config.deployments.allow_file_urls = true;
    config.deployments.allow_private_hosts = true;
    config.webhooks.allow_private_hosts = true;
    let connector = Connector::direct().doing("cannot read this machine's root certificates")?;
    let app = run::assemble(config, world, connector).await?;

    let account = match remembered.account.clone() {
        Some(account) => account,
        None => {
            // Remembered before anything is made with it: a first run that is cut short must not lock the next one out.
            remembered.preview_port = ghost.preview_addr().port();
            write(&file, &remembered)?;
            first_run(&app)
                .await
                .map_err(|failure| failure.0.message.to_string())
                .doing("cannot make the first account")?
        }
    };
    if remembered.account.is_none() {
        remembered.account = Some(account.clone());
        write(&file, &remembered)?;
    }
    // Whoever owns the machine operates the platform on it.
    let mut config = Config::clone(&app.config());
    config.auth.operators = vec![account.user_id.to_string()];
    app.reconfigure(config);
    let running = run::start(&app, Vec::new()).await?;
    tell_ghost(&app, &running, &ghost)?;
    Ok((Dev { app, running, ghost, data_dir }, account))
}

/// Has the embedded Ghost report to this server, whose address is known only now.
fn tell_ghost(app: &App, running: &Running, ghost: &LocalGhost) -> Result<(), StartError> {
    let mut address = running.edge.address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let mut config = Config::clone(&app.config());
    config.ghost.webhook_url = format!("http://{address}{}/webhooks/ghost", ogel_api::BASE_PATH);
    let webhook = ogel_ghost_local::Webhook {
        url: config.ghost.webhook_url.clone(),
        secret: config.ghost.webhook_secret.expose().to_owned(),
    };
    app.reconfigure(config);
    ghost.set_webhook(webhook).doing("cannot have the embedded Ghost report to this server")
}

impl Dev {
    /// Builds are killed, requests finished, files closed.
    async fn stop(self) {
        run::stop(&self.app, self.running).await;
        self.ghost.shutdown().await;
    }
}

/// Listeners share their port on purpose, so a second server would not fail to bind: it would get half the requests.
fn refuse_taken_port(listen: SocketAddr) -> Result<(), StartError> {
    if listen.port() == 0 {
        return Ok(());
    }
    std::net::TcpListener::bind(listen)
        .map(drop)
        .doing(format!("cannot listen on {listen}; if something else uses that port, choose another with `--listen`"))
}

fn make_private_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn read(file: &Path) -> Result<Option<Remembered>, StartError> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes)
                .doing(format!("`{}` is damaged; remove its folder to start afresh", file.display()))?,
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(format!("cannot read `{}`", file.display())),
    }
}

/// Whole or not at all, and for its owner's eyes only.
fn write(file: &Path, remembered: &Remembered) -> Result<(), StartError> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let write = || {
        let fresh = file.with_extension("json.new");
        let bytes = serde_json::to_vec_pretty(remembered)?;
        let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        out.write_all(&bytes)?;
        out.sync_all()?;
        std::fs::rename(&fresh, file)
    };
    write().doing(format!("cannot write `{}`", file.display()))
}

/// Makes the account, its project and its key, through the same functions the API uses. A first run that was cut short
/// left an account whose password nobody knows; this makes another one beside it.
async fn first_run(app: &App) -> crate::error::Result<Account> {
    let suffix = hex::encode(app.world.entropy.bytes::<3>());
    let mut signup = Signup {
        email: "dev@ogel.localhost".to_owned(),
        password: hex::encode(app.world.entropy.bytes::<8>()),
        name: "Developer".to_owned(),
    };
    if app.store.user_by_email(&signup.email).await?.is_some() {
        signup.email = format!("dev-{suffix}@ogel.localhost");
    }
    // The plan with the highest limits: trying things out must not meet a 429.
    let (user, organization) = auth::create_account(app, |_| due(app), &signup, Plan::Team).await?;
    let caller = caller(app, user);
    let project = NewProject { name: "hello".to_owned(), organization_id: Some(organization.id), slug: None };
    let project = projects::new_project(app, |_| Ok(due(app)), &caller.viewer, &project).await?;
    let key = NewApiKey {
        name: "development".to_owned(),
        scopes: Some(Scope::ALL.to_vec()),
        project_id: None,
        organization_id: None,
        expires_at: None,
    };
    let key = auth::new_api_key(app, |_| Ok(due(app)), &caller, &key).await?;
    Ok(Account {
        email: signup.email,
        password: signup.password,
        api_key: key.secret,
        user_id: caller.user.id,
        organization_id: organization.id,
        project_id: project.id,
    })
}

/// What the first run does, nobody asked for.
fn due(app: &App) -> Act {
    Act::by_the_system(app.world.uuid(), app.world.now())
}

/// The developer, as if they had logged in.
fn caller(app: &App, user: User) -> Arc<Caller> {
    Arc::new(Caller {
        viewer: Viewer { user: user.id, organization: None, project: None },
        plan: Plan::Team,
        allowance: app.limiter.of_user(user.id.0),
        organization_allowance: None,
        project_allowance: None,
        log_id: user.id.to_string(),
        user,
        method: AuthMethod::Session,
        scopes: Scope::ALL.to_vec(),
        session_id: None,
        session_kind: None,
        api_key_id: None,
        studio: None,
        expires_at: None,
        noted: Noted::default(),
    })
}

/// How long the example may take before its outcome is no longer waited for.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(120);
