//! `ogel projects`, `ogel sites`, `ogel domains`, `ogel operations`.

use super::Confirmation;
use clap::Subcommand;

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
pub(crate) enum SitesCommand {
    /// List sites
    List {
        /// Id or slug; not needed when there is only one project
        #[arg(long, short)]
        project: Option<String>,
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
    Rm {
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
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
