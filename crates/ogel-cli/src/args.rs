//! What can be typed after `ogel`.

use crate::failure::Exit;
use clap::{ArgAction, Args, Parser, Subcommand, builder::PossibleValuesParser};
use ogel_api::{billing::UsageGroup, deployments::DeploymentStatus, organizations::Plan, webhooks::WebhookEventType};
use std::{io::Write as _, path::PathBuf, process::ExitCode};

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
    Login,
    /// End the session and forget the token
    Logout,
    /// Show who the token belongs to and what it allows
    Whoami,
    /// Send any request to the API
    Api(ApiArgs),
}

#[derive(Args, Debug)]
pub(crate) struct DeployArgs {
    /// A folder of a git repository, or the URL of one
    #[arg(value_name = "PATH|URL", default_value = ".")]
    pub(crate) source: String,
    /// Id or slug; not needed when there is only one project
    #[arg(long, short)]
    pub(crate) project: Option<String>,
    /// Branch [default: the one checked out, or the repository's default]
    #[arg(long, short)]
    pub(crate) branch: Option<String>,
    /// Framework [default: detected]
    #[arg(long)]
    pub(crate) framework: Option<String>,
    /// The folder that holds the site, seen from PATH or the repository
    #[arg(long, value_name = "DIR")]
    pub(crate) root_directory: Option<String>,
    /// Command that builds the site [default: detected]
    #[arg(long, value_name = "COMMAND")]
    pub(crate) build_command: Option<String>,
    /// Command that installs dependencies [default: detected]
    #[arg(long, value_name = "COMMAND")]
    pub(crate) install_command: Option<String>,
    /// The folder the build writes [default: detected]
    #[arg(long, value_name = "DIR")]
    pub(crate) output_directory: Option<String>,
    /// Environment variable of the build, repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// Tag, repeatable
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Stop waiting after so many seconds (exit code 124); the deployment goes on
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
    /// Print the deployment's id and return at once
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Id of a build (`bld_…`) or of its deployment (`dpl_…`)
    pub(crate) build: String,
    /// Wait for further lines until the build is over
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Skip the lines up to this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) after: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentsCommand {
    /// List deployments, newest first
    List(ListArgs),
    /// Show one deployment
    Get { id: String },
    /// Cancel a deployment that is not over yet
    Cancel { id: String },
    /// Deploy again with the same settings and commit; prints the new deployment's id
    Redeploy {
        id: String,
        /// Take the branch's newest commit
        #[arg(long)]
        latest: bool,
    },
    /// Put a deployment into production: the project's domains show it
    Promote {
        id: String,
        /// Kept with the event
        #[arg(long)]
        reason: Option<String>,
    },
    /// Take production back to a deployment that was there before
    Rollback {
        id: String,
        /// Kept with the event
        #[arg(long)]
        reason: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DomainsCommand {
    /// List domains
    List {
        /// Id or slug; not needed when there is only one project
        #[arg(long, short)]
        project: Option<String>,
    },
    /// Add a domain; prints its id
    Add {
        /// A host name such as www.example.com
        domain: String,
        /// Id or slug; not needed when there is only one project
        #[arg(long, short)]
        project: Option<String>,
    },
    /// Ask DNS whether a domain points here; exit code 1 while it does not
    Verify { id: String },
    /// Remove a domain
    Rm { id: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperationsCommand {
    /// Show how an operation stands
    Show {
        /// Such as `op_01h455vb4pex5vsknk084sn02q`
        id: ogel_api::id::OperationId,
    },
    /// Wait until an operation has ended; fails if it did
    Wait {
        /// Such as `op_01h455vb4pex5vsknk084sn02q`
        id: ogel_api::id::OperationId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SitesCommand {
    /// List sites
    List {
        /// Id or slug; not needed when there is only one project
        #[arg(long, short)]
        project: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// List webhooks
    List,
    /// Have events posted to a URL; prints the webhook's id and its secret
    Create {
        /// Where to: https://…
        url: String,
        /// Only what happens in this project (id or slug) [default: all of the organization's]
        #[arg(long, short)]
        project: Option<String>,
        /// Only events of this type, repeatable [default: all]
        #[arg(long, short, value_name = "TYPE", value_parser = PossibleValuesParser::new(WebhookEventType::ALL.iter().map(|kind| kind.as_str())))]
        event: Vec<String>,
        /// For people
        #[arg(long)]
        description: Option<String>,
    },
    /// Post a test event and wait for the answer; exit code 1 if it fails
    Test { id: String },
    /// Show what a webhook was told, newest first
    Deliveries {
        id: String,
        /// How many
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Post an event once more and wait for the answer; exit code 1 if it fails
    Redeliver {
        id: String,
        /// Id of the delivery (`whd_…`)
        delivery: String,
    },
    /// Remove a webhook
    Rm { id: String },
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Only those of this project (id or slug)
    #[arg(long, short)]
    pub(crate) project: Option<String>,
    /// Only those with this status
    #[arg(long, value_parser = PossibleValuesParser::new(DeploymentStatus::ALL.iter().map(|status| status.as_str())))]
    pub(crate) status: Option<String>,
    /// Only those of this branch
    #[arg(long, short)]
    pub(crate) branch: Option<String>,
    /// How many
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectsCommand {
    /// List projects
    List,
    /// Create a project; prints its id
    Create {
        name: String,
        /// Id or slug; not needed when there is only one organization
        #[arg(long, short)]
        organization: Option<String>,
        /// Name in addresses [default: made from NAME]
        #[arg(long)]
        slug: Option<String>,
    },
    /// Move a project to another organization
    Transfer {
        project: String,
        /// Id or slug of where it goes
        organization: String,
    },
    /// Bring a deleted project back
    Restore {
        id: String,
        /// Another slug, when the one it had is taken
        #[arg(long)]
        slug: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrgsCommand {
    /// List your organizations
    List,
    /// Create an organization; prints its id
    Create {
        name: String,
        /// Name in addresses [default: made from NAME]
        #[arg(long)]
        slug: Option<String>,
    },
    /// Delete an organization that has no projects
    Delete { organization: String },
    /// Bring a deleted organization back
    Restore { id: String },
}

#[derive(Args, Debug)]
pub(crate) struct MembersArgs {
    /// Id or slug; not needed when there is only one organization
    #[arg(long, short, global = true)]
    pub(crate) organization: Option<String>,
    #[command(subcommand)]
    pub(crate) command: MembersCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MembersCommand {
    /// List the members
    List,
    /// Give a member another role
    Role {
        /// E-mail address or user id
        member: String,
        role: String,
    },
    /// End somebody's membership
    Remove {
        /// E-mail address or user id
        member: String,
    },
    /// End your own membership
    Leave,
}

#[derive(Args, Debug)]
pub(crate) struct InviteArgs {
    /// Id or slug; not needed when there is only one organization
    #[arg(long, short, global = true)]
    pub(crate) organization: Option<String>,
    #[command(subcommand)]
    pub(crate) command: InviteCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// Invite somebody by e-mail; prints the invitation's id
    Send {
        email: String,
        /// What they become
        #[arg(long, default_value = "developer")]
        role: String,
        /// Days the invitation is good
        #[arg(long)]
        days: Option<u32>,
    },
    /// List the invitations that are open or have lapsed
    List,
    /// Send an invitation again, with another token
    Resend { id: String },
    /// Take an invitation back
    Revoke { id: String },
    /// Join, with the token from the mail
    Accept { token: String },
}

#[derive(Args, Debug)]
pub(crate) struct AuditLogArgs {
    /// Id or slug; not needed when there is only one organization
    #[arg(long, short)]
    pub(crate) organization: Option<String>,
    /// How many
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Write everything that is kept about you, as one JSON document
    Export {
        /// A file that does not exist yet [default: stdout]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Delete your account for good, and organizations that only you belong to
    Delete {
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Read the account's password from stdin; not needed right after `ogel login`
        #[arg(long)]
        password_stdin: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct BillingArgs {
    /// Id or slug; not needed when there is only one organization
    #[arg(long, short, global = true)]
    pub(crate) organization: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<BillingCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BillingCommand {
    /// Show the plan and how this month stands [default]
    Plan,
    /// List the plans there are
    Plans,
    /// Show what another plan would cost, and with --yes change to it
    Change {
        #[arg(value_parser = PossibleValuesParser::new(Plan::ALL.iter().map(|plan| plan.as_str())))]
        plan: String,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Show what was used, this month or from --from to --to
    Usage {
        /// A day or a time in UTC, like 2026-11-01
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Add up by this
        #[arg(long, value_parser = PossibleValuesParser::new(UsageGroup::ALL.iter().map(|group| group.as_str())))]
        by: Option<String>,
    },
    /// List invoices, newest first
    Invoices,
    /// Show one invoice
    Invoice {
        id: String,
        /// Print it as a page of HTML instead
        #[arg(long)]
        html: bool,
    },
    /// Show the budget
    Budget {
        #[command(subcommand)]
        command: Option<BudgetCommand>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BudgetCommand {
    /// Set or replace the budget of a month
    Set {
        /// Like 50 or 49.90
        amount: String,
        /// Refuse new deployments when it is used up
        #[arg(long)]
        pause: bool,
        /// Tell the owners at this percentage; repeatable [default: 50, 80, 100]
        #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
        alert: Vec<u8>,
    },
    /// Remove the budget
    Rm,
}

#[derive(Args, Debug)]
pub(crate) struct ApiArgs {
    /// GET, POST, PATCH, DELETE, …
    pub(crate) method: String,
    /// Path below /api/v2, like `deployments?limit=5`
    pub(crate) path: String,
    /// Text field of the JSON body, or of the query for GET, HEAD and DELETE; repeatable
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair, action = ArgAction::Append)]
    pub(crate) field: Vec<(String, String)>,
    /// Send this file as the JSON body; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "field")]
    pub(crate) input: Option<PathBuf>,
    /// Print the status and the headers too
    #[arg(long, short)]
    pub(crate) include: bool,
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

    #[test]
    fn pairs_are_cut_at_the_first_sign() {
        assert_eq!(pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("A="), Ok(("A".to_owned(), String::new())));
        assert!(pair("A").is_err() && pair("=b").is_err());
    }
}
