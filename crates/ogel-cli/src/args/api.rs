//! `ogel api`.

use super::pair;
use clap::{ArgAction, Args};
use std::path::PathBuf;

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
