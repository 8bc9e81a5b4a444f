//! The commands, one file per group.

pub(crate) mod account;
pub(crate) mod api;
pub(crate) mod billing;
pub(crate) mod deploy;
pub(crate) mod deployments;
pub(crate) mod domains;
pub(crate) mod keys;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod operations;
pub(crate) mod orgs;
pub(crate) mod password;
pub(crate) mod projects;
pub(crate) mod sessions;
pub(crate) mod sites;
pub(crate) mod webhooks;
pub(crate) mod whoami;
