//! `ogeld ghost`: the embedded Ghost in a process of its own, so that several `ogeld` on one machine can share it, and so
//! that it can be killed without them. Builds run as the user of this process: it is no more fit for production than in
//! `ogeld dev`.

use crate::run::{self, Doing as _, StartError};
use ogel_ghost_local::{Config, LocalGhost, Webhook};
use std::{ffi::OsString, io::Write as _, net::SocketAddr, path::PathBuf};

/// What `ogeld ghost` was asked for.
pub struct Options {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    pub preview_listen: SocketAddr,
    /// The platform's key.
    pub key: String,
    /// Where events are posted and what they are signed with.
    pub webhook: Option<(String, String)>,
    /// Whether `POST /v1/faults` is answered.
    pub faults: bool,
    /// The environment builds may see parts of.
    pub environment: Vec<(OsString, OsString)>,
}

/// Runs until it is asked to stop. Prints one line once it answers.
pub async fn run(options: Options) -> Result<(), StartError> {
    let mut config = Config::new(options.data_dir, options.key);
    config.api_listen = options.listen;
    config.preview_listen = options.preview_listen;
    config.webhook = options.webhook.map(|(url, secret)| Webhook { url, secret });
    config.allow_file_urls = true;
    config.allow_private_hosts = true;
    config.fault_control = options.faults;
    config.inherit_env = options.environment;
    let ghost = LocalGhost::start(config).await.doing("cannot start the embedded Ghost")?;
    // Somebody who started it in the background waits for this line; one who does not read it is no failure.
    let _ = writeln!(std::io::stdout(), "Ghost answers at {}, previews at {}", ghost.api_url(), ghost.preview_addr());
    run::asked_to_stop().await;
    ghost.shutdown().await;
    Ok(())
}
