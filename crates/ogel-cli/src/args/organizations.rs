//! `ogel orgs`, `ogel members`, `ogel invite`, `ogel audit-log`.

use super::Confirmation;
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use ogel_api::organizations::Role;

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
    Delete {
        organization: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
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
        #[arg(value_parser = PossibleValuesParser::new(Role::ALL.iter().map(|role| role.as_str())))]
        role: String,
    },
    /// End somebody's membership
    Remove {
        /// E-mail address or user id
        member: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// End your own membership
    Leave {
        #[command(flatten)]
        confirmation: Confirmation,
    },
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
        #[arg(long, default_value = "developer", value_parser = PossibleValuesParser::new(Role::ALL.iter().map(|role| role.as_str())))]
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
    Accept {
        // Not `token`: that is the name of a global option, which would get the value too.
        #[arg(value_name = "TOKEN")]
        invitation: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct AuditLogArgs {
    /// Id or slug; not needed when there is only one organization
    #[arg(long, short)]
    pub(crate) organization: Option<String>,
    /// How many
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}
