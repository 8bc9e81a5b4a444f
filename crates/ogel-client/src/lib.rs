//! Rust client for the Ogel Unified API: one method per operation, over the wire types of `ogel-api`.
//!
//! What it adds to HTTP: requests that are safe to repeat are repeated (every POST carries an `Idempotency-Key`, so
//! creating something twice by accident is not possible), failures are typed, and a build's log is one [`LogStream`]
//! that survives lost connections. It refuses to read the environment, files or a terminal: that is `ogel-cli`.
//!
//! # Layout
//! - [`ClientConfig`], [`Client`]: where to, as whom, how long
//! - `auth`, `users`, `organizations`, `projects`, `deployments`, `operations`, `builds`, `sites`, `domains`, `billing`, `webhooks`, `meta`: the operations, one noun each
//! - `raw`: any other operation, undecoded
//! - `transport`, `retry`, `tls`: one request, its repetitions, its trusted certificates
//! - `log_stream`, `socket`: following a log over WebSocket
//!
//! ```no_run
//! # async fn example() -> Result<(), ogel_client::ClientError> {
//! use ogel_client::{Client, ClientConfig};
//! let config = ClientConfig { token: Some("ogel_…".to_owned()), ..ClientConfig::new("http://127.0.0.1:8787") };
//! let client = Client::new(config)?;
//! println!("{}", client.session().await?.user.email);
//! # Ok(())
//! # }
//! ```

mod auth;
mod billing;
mod builds;
mod config;
mod deployments;
mod domains;
mod error;
mod log_stream;
mod meta;
mod operations;
mod organizations;
mod projects;
mod raw;
mod retry;
mod sites;
mod socket;
mod tls;
mod transport;
mod users;
mod webhooks;

pub use billing::UsageQuery;
pub use builds::BuildQuery;
pub use config::{ClientConfig, PageQuery, Renew};
pub use deployments::DeploymentQuery;
pub use error::ClientError;
pub use log_stream::LogStream;
pub use ogel_api as api;
pub use raw::RawResponse;
pub use transport::{Client, Download};

/// What every method returns.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;
