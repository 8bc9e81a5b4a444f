//! `ogeld limits`: limits that operators set for somebody until a certain time, in the database of the configuration. The
//! running processes know of a change within a second.

use crate::{
    config::Config,
    limits::{MAX_LIMIT, Policy, parse_holder},
    run::{Doing as _, StartError, open_store},
    world::World,
};
use ogel_store::LimitOverride;
use std::fmt::Write as _;

/// What to do.
pub enum Command {
    List,
    Set { holder: String, policy: String, max_requests: u64, hours: u64 },
    Remove { holder: String, policy: String },
}

fn wrong(text: String) -> StartError {
    StartError::new("these arguments cannot be used")(text.into())
}

fn policy(text: &str) -> Result<&'static str, StartError> {
    let names = Policy::ALL.map(Policy::as_str);
    let found = names.into_iter().find(|name| *name == text);
    found.ok_or_else(|| wrong(format!("`{text}` is no limit; there are {}", names.join(", "))))
}

fn holder(text: &str) -> Result<(&'static str, String), StartError> {
    let (kind, id) = parse_holder(text).ok_or_else(|| {
        wrong(format!("`{text}` is nobody who has limits; give a `key_…`, `usr_…`, `org_…`, `proj_…` or an address"))
    })?;
    Ok((kind.as_str(), id))
}

/// Answers with what is to be printed.
pub async fn run(config: &Config, command: Command) -> Result<String, StartError> {
    let store = open_store(config).await?;
    let now = World::system().now();
    let mut text = String::new();
    match command {
        Command::List => {
            for row in store.limit_overrides(now).await.doing("cannot read the overrides")? {
                let LimitOverride { kind, holder, policy, max_requests, expires_at } = row;
                let until = expires_at.format("%Y-%m-%d %H:%M:%S");
                let _ = writeln!(text, "{kind} {holder}: {policy} {max_requests} until {until} UTC");
            }
        }
        Command::Set { holder: whose, policy: which, max_requests, hours } => {
            let (kind, id) = holder(&whose)?;
            let policy = policy(&which)?;
            if max_requests > MAX_LIMIT {
                return Err(wrong(format!("a limit is {MAX_LIMIT} at most")));
            }
            let hours = chrono::TimeDelta::try_hours(i64::try_from(hours).unwrap_or(i64::MAX));
            let expires_at = hours.and_then(|hours| now.checked_add_signed(hours));
            let expires_at = expires_at.ok_or_else(|| wrong("`--hours` is too large".to_owned()))?;
            let row = LimitOverride {
                kind: kind.to_owned(),
                holder: id,
                policy: policy.to_owned(),
                max_requests,
                expires_at,
            };
            store.set_limit_override(&row, now).await.doing("cannot write the override")?;
            let until = expires_at.format("%Y-%m-%d %H:%M:%S");
            let _ = writeln!(text, "{whose} has {policy} {max_requests} until {until} UTC");
        }
        Command::Remove { holder: whose, policy: which } => {
            let (kind, id) = holder(&whose)?;
            let policy = policy(&which)?;
            if !store.delete_limit_override(kind, &id, policy).await.doing("cannot remove the override")? {
                return Err(wrong(format!("{whose} has no override of {policy}")));
            }
            let _ = writeln!(text, "{whose} has the usual {policy}");
        }
    }
    store.close().await;
    Ok(text)
}
