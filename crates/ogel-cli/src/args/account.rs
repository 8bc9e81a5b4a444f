//! `ogel account`, `ogel login`, `ogel sessions`, `ogel keys`, `ogel metrics`.

use super::Confirmation;
use crate::config::TokenStore;
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use ogel_api::{
    auth::Scope,
    id::{ApiKeyId, SessionId},
};
use std::path::PathBuf;

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
pub(crate) struct LoginArgs {
    /// Do not open a browser; the address and the code are printed either way
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Where to keep the token [default: the keyring if there is one, else the file]
    #[arg(long, env = "OGEL_TOKEN_STORE", value_name = "WHERE")]
    pub(crate) token_store: Option<TokenStore>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// List your logins, browsers and programs
    List,
    /// End a login, or all but this one
    End {
        /// Such as `ses_01h455vb4pex5vsknk084sn02q`
        #[arg(required_unless_present = "all_others")]
        id: Option<SessionId>,
        /// End every login but the one this command uses
        #[arg(long, conflicts_with = "id")]
        all_others: bool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List your API keys
    List,
    /// Create an API key; prints its secret, which is shown this once
    Create {
        name: String,
        /// What it may be used for, repeatable [default: all you may do]
        #[arg(long, short, value_name = "SCOPE", value_parser = PossibleValuesParser::new(Scope::ALL.iter().map(|scope| scope.as_str())))]
        scope: Vec<String>,
        /// Good for this project alone (id or slug)
        #[arg(long, short, conflicts_with = "organization")]
        project: Option<String>,
        /// Good for this organization alone (id or slug)
        #[arg(long, short)]
        organization: Option<String>,
        /// Days until it ends [default: never]
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: Option<u32>,
    },
    /// Give an API key another secret and print it
    Rotate {
        id: ApiKeyId,
        /// Seconds the old secret goes on working [default: a day]
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=2_592_000))]
        grace: Option<u32>,
    },
    /// End an API key at once
    Revoke {
        id: ApiKeyId,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Args, Debug)]
pub(crate) struct MetricsArgs {
    /// Nouns of the API, such as `deployments`
    #[arg(required = true)]
    pub(crate) resource: Vec<String>,
    /// A day of the last thirty, in UTC [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) date: Option<String>,
}
