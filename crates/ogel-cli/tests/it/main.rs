//! The real `ogel` against a scripted server (and, in `end_to_end`, the real one): exit codes, what is on stdout and what on stderr.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(unreachable_pub, dead_code, reason = "the scripted server is shared with the client's tests")]

mod account;
mod api;
mod billing;
mod deploy;
mod deploy_trouble;
mod end_to_end;
mod errors;
mod keyring;
mod lists;
mod login;
mod logins;
mod logs;
mod ogel;
mod operations;
mod organizations;
mod production;
mod repository;
#[path = "../../../ogel-client/tests/it/server.rs"]
mod server;
#[cfg(unix)]
mod terminal;
