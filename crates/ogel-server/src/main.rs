//! `ogeld`: reads its arguments and environment, starts the control plane's runtime, and hands over to the library.

use clap::{Parser, Subcommand};
use ogel_server::{
    billing::catalog, config::Config, dev, doctor, keys, limits_cli, lone_ghost, openapi, permissions, run,
    world::World,
};
use std::{error::Error, io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The single entry point of the Ogel platform.
#[derive(Parser)]
#[command(name = "ogeld", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole platform on this machine, with nothing else installed
    Dev {
        /// Where everything is kept
        #[arg(long, default_value = ".ogel")]
        data_dir: PathBuf,
        /// Address and port; port 0 takes any free one
        #[arg(long, default_value = "127.0.0.1:8787")]
        listen: SocketAddr,
        /// Print one line of JSON once ready instead of a page for people
        #[arg(long)]
        json: bool,
    },
    /// Run the embedded Ghost alone, for several `ogeld` on one machine; its key is read from OGEL_GHOST_API_KEY
    Ghost {
        /// Where everything is kept
        #[arg(long, default_value = ".ogel/ghost")]
        data_dir: PathBuf,
        /// Address and port of its API; port 0 takes any free one
        #[arg(long, default_value = "127.0.0.1:8788")]
        listen: SocketAddr,
        /// Address and port of the previews
        #[arg(long, default_value = "127.0.0.1:0")]
        preview_listen: SocketAddr,
        /// Where events are posted, signed with OGEL_GHOST_WEBHOOK_SECRET
        #[arg(long)]
        webhook_url: Option<String>,
        /// Answer `POST /v1/faults`, which makes it misbehave on purpose
        #[arg(long)]
        faults: bool,
    },
    /// Run for production
    Serve {
        /// A TOML file; `ogeld config` prints one
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Bring the database up to date, then exit
    Migrate {
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Note that an invoice was paid, where `billing.provider` is `manual`
    InvoicePaid {
        /// The invoice's number, such as 2026-11-9c44f0a1b2c3
        number: String,
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the plans that come with the program, to start a file for `billing.plans_file` from
    Plans,
    /// Change the keys that seal what is stored
    #[command(subcommand)]
    Keys(Keys),
    /// End sessions
    #[command(subcommand)]
    Sessions(Sessions),
    /// Show and set limits that somebody has until a certain time
    Limits {
        #[arg(long)]
        config: Option<PathBuf>,
        #[command(subcommand)]
        command: LimitsCommand,
    },
    /// Say whether database, deployment backend and the work on them are well; ends with 1 if not
    Doctor {
        #[arg(long)]
        config: Option<PathBuf>,
        /// Have a dead operation (`op_…`) done after all
        #[arg(long, value_name = "OPERATION")]
        retry: Vec<ogel_api::id::OperationId>,
    },
    /// Print the annotated default configuration
    Config {
        /// As the page docs/config.md
        #[arg(long)]
        markdown: bool,
    },
    /// Print the description of the API
    Openapi,
    /// Print the page docs/errors.md
    Errors,
    /// Print the page docs/permissions.md
    Permissions,
}

#[derive(Subcommand)]
enum Keys {
    /// Print a fresh key
    New,
    /// Say which key has sealed how much; never a key itself
    List {
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Seal everything anew with the first key, while servers go on
    Rotate {
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Sessions {
    /// Log somebody out everywhere: every login, and every session of Studio's that has begun by now
    Revoke {
        /// Whose
        #[arg(long)]
        email: String,
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// `ogeld limits`
#[derive(Subcommand)]
enum LimitsCommand {
    /// Those that hold now
    List,
    /// Give somebody another limit for a while
    Set {
        /// `key_…`, `usr_…`, `org_…`, `proj_…`, or an address
        holder: String,
        /// `calls`, `deployments`, `logins`, `address`, `organization` or `project`
        policy: String,
        /// Requests in a window; 0 is no limit
        max_requests: u64,
        /// For how long
        #[arg(long)]
        hours: u64,
    },
    /// Go back to the usual limit
    Remove { holder: String, policy: String },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                text.push_str(&format!("\n  because {cause}"));
                source = cause.source();
            }
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Config { markdown: false } => print(&Config::annotated_default()),
        Command::Config { markdown: true } => print(&Config::reference_page()),
        Command::Openapi => print(&openapi::json()),
        Command::Permissions => print(&permissions::page()),
        Command::Errors => print(&openapi::errors_page()),
        Command::Ghost { data_dir, listen, preview_listen, webhook_url, faults } => {
            drop(start_log(&Config::load(None, &variable)?)?);
            let key =
                variable("OGEL_GHOST_API_KEY").ok_or("set OGEL_GHOST_API_KEY to the key that callers will send")?;
            let webhook = match webhook_url {
                Some(url) => {
                    let secret = variable("OGEL_GHOST_WEBHOOK_SECRET");
                    Some((url, secret.ok_or("set OGEL_GHOST_WEBHOOK_SECRET to what webhooks are signed with")?))
                }
                None => None,
            };
            let environment = std::env::vars_os().collect();
            let options = lone_ghost::Options { data_dir, listen, preview_listen, key, webhook, faults, environment };
            control_plane()?.block_on(lone_ghost::run(options))?;
        }
        Command::Serve { config: file } => {
            let config = Config::load(file.as_deref(), &variable)?;
            let set_filter = start_log(&config)?;
            use_small_pages();
            control_plane()?.block_on(run::serve(config, run::Origin { file, variable, set_filter }))?;
        }
        Command::Plans => print(catalog::DEFAULT),
        Command::InvoicePaid { number, config } => {
            let config = Config::load(config.as_deref(), &variable)?;
            control_plane()?.block_on(async {
                let store = run::open_store(&config).await?;
                let paid = store.mark_invoice_paid(&number, World::system().now()).await;
                store.close().await;
                if !paid? {
                    return Err(format!("there is no invoice `{number}` that is not paid yet").into());
                }
                Ok::<_, Box<dyn Error>>(())
            })?;
            print(&format!("invoice {number} is paid\n"));
        }
        Command::Keys(Keys::New) => print(&keys::new()),
        Command::Keys(Keys::List { config }) => {
            let config = Config::load(config.as_deref(), &variable)?;
            print(&control_plane()?.block_on(keys::list(&config))?);
        }
        Command::Keys(Keys::Rotate { config }) => {
            let config = Config::load(config.as_deref(), &variable)?;
            drop(start_log(&config)?);
            let (page, is_done) = control_plane()?.block_on(keys::rotate_all(&config))?;
            print(&page);
            if !is_done {
                return Err("some values are not sealed with the first key".into());
            }
        }
        Command::Sessions(Sessions::Revoke { email, config }) => {
            let config = Config::load(config.as_deref(), &variable)?;
            let revoked = control_plane()?.block_on(run::revoke_sessions(&config, &email))?;
            print(&format!("every session of {revoked} that has begun by now is over; API keys stay\n"));
        }
        Command::Migrate { config } => {
            let config = Config::load(config.as_deref(), &variable)?;
            drop(start_log(&config)?);
            control_plane()?.block_on(async {
                let store = run::open_store(&config).await?;
                store.migrate().await?;
                store.close().await;
                Ok::<_, Box<dyn Error>>(())
            })?;
        }
        Command::Limits { config, command } => {
            let config = Config::load(config.as_deref(), &variable)?;
            drop(start_log(&config)?);
            let command = match command {
                LimitsCommand::List => limits_cli::Command::List,
                LimitsCommand::Set { holder, policy, max_requests, hours } => {
                    limits_cli::Command::Set { holder, policy, max_requests, hours }
                }
                LimitsCommand::Remove { holder, policy } => limits_cli::Command::Remove { holder, policy },
            };
            print(&control_plane()?.block_on(limits_cli::run(&config, command))?);
        }
        Command::Doctor { config, retry } => {
            let mut config = Config::load(config.as_deref(), &variable)?;
            config.log.filter = variable("OGEL_LOG").unwrap_or_else(|| "error".to_owned());
            drop(start_log(&config)?);
            let report = control_plane()?.block_on(doctor::examine(config, &retry))?;
            print(&report.text);
            if !report.is_well {
                return Err("something is not well; see above".into());
            }
        }
        Command::Dev { data_dir, listen, json } => {
            let mut config = Config::default();
            config.log.filter = variable("OGEL_LOG").unwrap_or_else(|| "warn".to_owned());
            config.log.format = variable("OGEL_LOG_FORMAT").unwrap_or_else(|| "text".to_owned());
            config.log.access = variable("OGEL_LOG_ACCESS").unwrap_or_else(|| "off".to_owned());
            // Two platforms on one machine must not fight over a port nobody asked for.
            config.server.operations_listen = variable("OGEL_OPERATIONS_LISTEN").unwrap_or_default();
            config.server.drain_seconds = 5;
            drop(start_log(&config)?);
            use_small_pages();
            let environment = std::env::vars_os().collect();
            control_plane()?.block_on(dev::run(dev::Options { data_dir, listen, json, environment, config }))?;
        }
    }
    Ok(())
}

/// The one place that reads the environment.
#[expect(clippy::disallowed_methods, reason = "read once, here, into the configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Two threads are plenty: it waits for the database and Ghost. Password hashing has threads of its own.
fn control_plane() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("control").enable_all().build()
}

/// The kernel would make pages of 2 MiB of what the allocator has set aside, whether or not more than a few KiB of each
/// are used: a third of what an idle server holds. A kernel that cannot do otherwise just does so.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "transparent huge pages stay");
    }
}

fn start_log(config: &Config) -> Result<run::SetFilter, Box<dyn Error>> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&config.log.filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = tracing_subscriber::registry().with(filter);
    match config.log.format.as_str() {
        "json" => log.with(lines.json().flatten_event(true)).init(),
        "text" => log.with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).init(),
        other => return Err(format!("`log.format` is `{other}`, but takes `json` or `text`").into()),
    }
    Ok(Box::new(move |text| {
        let filter = EnvFilter::try_new(text).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

fn print(text: &str) {
    // A reader that went away (`ogeld config | head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
