//! `ogel deploy`, `ogel logs`, `ogel deployments`.

use super::pair;
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use ogel_api::deployments::DeploymentStatus;

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
