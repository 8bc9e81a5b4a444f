//! `ogel`: deploys repositories and looks after them, over the Unified API.
//!
//! Data goes to stdout, everything for people to stderr; with `--json`, stdout is JSON whatever happens. The exit code
//! says how it went ([`failure::Exit`]). The environment is read in `environment`, the configuration file in
//! `config`, where tokens are kept in `tokens`, what follows from all that and the flags in `settings`; each command
//! group has a file under `commands`, and its arguments under `args`.

mod age;
mod args;
mod browser;
mod commands;
mod config;
mod confirm;
mod environment;
mod failure;
mod git;
mod hints;
mod keyring;
mod lookup;
mod output;
mod plain;
mod renewal;
mod settings;
mod table;
mod tokens;

use args::{Cli, Command, LogsArgs};
use clap::Parser as _;
use environment::Environment;
use failure::{Exit, Failure};
use ogel_client::{Client, ClientConfig};
use output::Output;
use settings::Settings;
use std::process::ExitCode;

/// What every command works with.
struct Context {
    output: Output,
    settings: Settings,
    environment: Environment,
}

type Result<T = (), E = Failure> = std::result::Result<T, E>;

impl Context {
    /// A client for the chosen server. Warns when the token would travel readable by everyone on the way.
    fn client(&self) -> Result<Client> {
        let settings = &self.settings;
        if settings.token.is_some() && settings.is_exposed() {
            let url = &settings.api_url;
            self.output.warn(&format!("the token goes to `{url}` unencrypted; use `https://` if the server has it"));
        }
        let mut config = ClientConfig::new(&settings.api_url);
        config.token.clone_from(&settings.token);
        config.renew = renewal::of(settings);
        config.user_agent = concat!("ogel-cli/", env!("CARGO_PKG_VERSION")).to_owned();
        Client::new(config).map_err(|error| self.explain(error))
    }

    /// A failed call, with the next step.
    fn explain(&self, error: ogel_client::ClientError) -> Failure {
        let hint = hints::for_call(&error, &self.settings);
        Failure::from_call(error, hint)
    }
}

fn main() -> ExitCode {
    let environment = Environment::read();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return args::report(&error),
    };
    let output = Output::new(cli.global.json, cli.global.quiet, cli.global.no_color);
    let outcome = start(cli, environment, &output);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

fn start(cli: Cli, environment: Environment, output: &Output) -> Result {
    let settings = Settings::resolve(&cli.global, &environment, output)?;
    let context = Context { output: output.clone(), settings, environment };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, "SYSTEM", format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(dispatch(&context, cli.command));
    // A thread that still reads stdin must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(context: &Context, command: Command) -> Result {
    match command {
        // It has more to say when it is interrupted.
        Command::Deploy(args) => commands::deploy::run(context, args).await,
        // An interrupt must end it as a signal does, or the terminal would not show again what is typed.
        Command::Password => commands::password::run(context).await,
        command => tokio::select! {
            outcome = run(context, command) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "INTERRUPTED", "interrupted")),
        },
    }
}

async fn run(context: &Context, command: Command) -> Result {
    match command {
        Command::Deploy(args) => commands::deploy::run(context, args).await,
        Command::Logs(LogsArgs { build, follow, after }) => commands::logs::run(context, &build, follow, after).await,
        Command::Deployments(command) => commands::deployments::run(context, command).await,
        Command::Projects(command) => commands::projects::run(context, command).await,
        Command::Domains(command) => commands::domains::run(context, command).await,
        Command::Orgs(command) => commands::orgs::orgs(context, command).await,
        Command::Members(args) => commands::orgs::members(context, args).await,
        Command::Invite(args) => commands::orgs::invite(context, args.organization.as_deref(), args.command).await,
        Command::AuditLog(args) => commands::orgs::audit_log(context, args).await,
        Command::Billing(args) => commands::billing::run(context, args).await,
        Command::Operations(command) => commands::operations::run(context, command).await,
        Command::Sites(command) => commands::sites::run(context, command).await,
        Command::Webhooks(command) => commands::webhooks::run(context, command).await,
        Command::Account(command) => commands::account::run(context, command).await,
        Command::Login(args) => commands::login::login(context, &args).await,
        Command::Logout => commands::login::logout(context).await,
        Command::Whoami => commands::whoami::run(context).await,
        Command::Sessions(command) => commands::sessions::run(context, command).await,
        Command::Password => commands::password::run(context).await,
        Command::Keys(command) => commands::keys::run(context, command).await,
        Command::Metrics(args) => commands::metrics::run(context, args).await,
        Command::Api(args) => commands::api::run(context, args).await,
    }
}
