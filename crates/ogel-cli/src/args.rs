//! What can be typed after `ogel`: the commands here, what each takes in a file per noun.

mod account;
mod api;
mod billing;
mod deployments;
mod organizations;
mod projects;
mod webhooks;

pub(crate) use account::{AccountCommand, KeysCommand, LoginArgs, MetricsArgs, SessionsCommand};
pub(crate) use api::ApiArgs;
pub(crate) use billing::{BillingArgs, BillingCommand, BudgetCommand};
pub(crate) use deployments::{DeployArgs, DeploymentsCommand, ListArgs, LogsArgs};
pub(crate) use organizations::{AuditLogArgs, InviteArgs, InviteCommand, MembersArgs, MembersCommand, OrgsCommand};
pub(crate) use projects::{DomainsCommand, OperationsCommand, ProjectsCommand, SitesCommand};
pub(crate) use webhooks::WebhooksCommand;

use crate::failure::Exit;
use clap::{Args, Parser, Subcommand};
use std::{io::Write as _, process::ExitCode};

const EXIT_CODES: &str = "\
Exit codes:
  0 success, 1 the operation failed (a failed or canceled build too), 2 wrong usage, 3 not found,
  4 not logged in, 5 not allowed, 6 rate limited, 7 server unavailable, 124 timed out, 130 interrupted";

/// Deploy git repositories and follow what happens to them.
#[derive(Debug, Parser)]
#[command(name = "ogel", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The server [default: the one logged in to, or http://127.0.0.1:8787]
    #[arg(long, global = true, env = "OGEL_API_URL", value_name = "URL")]
    pub(crate) api_url: Option<String>,
    /// Session token or API key; `-` reads it from stdin
    #[arg(long, global = true, env = "OGEL_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Print JSON on stdout and nothing else there, for failures too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress on stderr, only warnings and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// No colours (also with NO_COLOR set)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deploy a repository and wait for the result; prints the preview URL
    Deploy(Box<DeployArgs>),
    /// Print a build's log
    Logs(LogsArgs),
    /// List, show, cancel, repeat and promote deployments
    #[command(subcommand)]
    Deployments(DeploymentsCommand),
    /// List and create projects
    #[command(subcommand)]
    Projects(ProjectsCommand),
    /// Add, verify and remove domains
    #[command(subcommand)]
    Domains(DomainsCommand),
    /// Ask how something that takes its time stands
    #[command(subcommand)]
    Operations(OperationsCommand),
    /// List sites
    #[command(subcommand)]
    Sites(SitesCommand),
    /// Show what an organization pays for, used and was billed
    Billing(BillingArgs),
    /// Make, test and remove webhooks, and see what they were told
    #[command(subcommand)]
    Webhooks(WebhooksCommand),
    /// List, create, delete and restore organizations
    #[command(subcommand)]
    Orgs(OrgsCommand),
    /// List, change and remove the members of an organization
    Members(MembersArgs),
    /// Invite people to an organization, and join one
    Invite(InviteArgs),
    /// Show who changed what in an organization, newest first
    AuditLog(AuditLogArgs),
    /// Take along what is kept about you, or delete your account
    #[command(subcommand)]
    Account(AccountCommand),
    /// Log in on a page of the server, or check a token (`--token -`), and remember it
    Login(LoginArgs),
    /// End the session and forget the token
    Logout,
    /// Show who the token belongs to and what it allows
    Whoami,
    /// List and end the logins of your account
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Change your password; every other login of your account ends
    Password,
    /// List, create, rotate and revoke API keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Show what was asked of the service on a day; for its operators
    Metrics(MetricsArgs),
    /// Send any request to the API
    Api(ApiArgs),
}

/// For what cannot be taken back.
#[derive(Args, Debug)]
pub(crate) struct Confirmation {
    /// Do it without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as `NAME=VALUE`".to_owned()),
    }
}

/// Prints what clap has to say: help on stdout, mistakes on stderr, and as JSON too if that was asked for.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell if this cannot be written.
    let _ = error.print();
    if !error.use_stderr() {
        return Exit::Done.into();
    }
    let wants_json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if wants_json {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let body = serde_json::json!({"error": {"code": "USAGE", "message": message, "retryable": false}});
        // As above.
        let _ = writeln!(std::io::stdout(), "{body}");
    }
    Exit::Usage.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    /// A value of the one would become a value of the other.
    #[test]
    fn no_commands_argument_has_the_name_of_a_global_one() {
        fn look(command: &clap::Command, globals: &[&clap::Id]) {
            for below in command.get_subcommands() {
                for argument in below.get_arguments() {
                    assert!(!globals.contains(&argument.get_id()), "{}: {}", below.get_name(), argument.get_id());
                }
                look(below, globals);
            }
        }
        let command = Cli::command();
        let globals: Vec<_> = command.get_arguments().map(clap::Arg::get_id).collect();
        assert!(globals.len() >= 5, "{globals:?}");
        look(&command, &globals);
    }

    #[test]
    fn pairs_are_cut_at_the_first_sign() {
        assert_eq!(pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("A="), Ok(("A".to_owned(), String::new())));
        assert!(pair("A").is_err() && pair("=b").is_err());
    }
}
