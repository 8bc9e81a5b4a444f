//! Limits that operators set for somebody, until a certain time: kept in the database, known everywhere within a second
//! (`ogeld limits`).

use super::{Allowance, Holder, Limiter, Policy};
use crate::{error::Result, state::App};
use ogel_api::id::{ApiKeyId, Id as _, OrganizationId, ProjectId, UserId};
use ogel_store::LimitOverride;
use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

/// How soon a change is known everywhere.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whose limits can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderKind {
    Key,
    User,
    Organization,
    Project,
    Address,
}

impl HolderKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
            Self::Organization => "organization",
            Self::Project => "project",
            Self::Address => "address",
        }
    }
}

/// Whom a person means by `key_…`, `usr_…`, `org_…`, `proj_…` or an address; kind and id as they are stored.
pub fn parse_holder(text: &str) -> Option<(HolderKind, String)> {
    let id = |kind, id: uuid::Uuid| Some((kind, id.to_string()));
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((HolderKind::Address, super::network_of(address).to_string()));
    }
    match text.split_once('_')?.0 {
        "key" => id(HolderKind::Key, text.parse::<ApiKeyId>().ok()?.uuid()),
        "usr" => id(HolderKind::User, text.parse::<UserId>().ok()?.uuid()),
        "org" => id(HolderKind::Organization, text.parse::<OrganizationId>().ok()?.uuid()),
        "proj" => id(HolderKind::Project, text.parse::<ProjectId>().ok()?.uuid()),
        _ => None,
    }
}

fn holder(row: &LimitOverride) -> Option<Holder> {
    let uuid = || row.holder.parse().ok();
    match &*row.kind {
        "key" => uuid().map(Holder::Key),
        "user" => uuid().map(Holder::User),
        "organization" => uuid().map(Holder::Organization),
        "project" => uuid().map(Holder::Project),
        "address" => row.holder.parse().ok().map(Holder::Address),
        _ => None,
    }
}

/// What was set, to be taken back when it is gone. The allowances are kept alive: an override holds for who is idle, too.
type Set = HashMap<(Holder, usize), (Policy, Arc<Allowance>)>;

/// Looks at the overrides until shutdown. On the control plane.
pub(crate) async fn follow(app: &App) {
    let mut set = Set::new();
    let mut has_failed = false;
    loop {
        match look(app, &mut set).await {
            Ok(()) => has_failed = false,
            // The same trouble once: what was set stays set.
            Err(failure) if !std::mem::replace(&mut has_failed, true) => {
                tracing::warn!(error = ?failure.0, "overrides of limits cannot be read; those known stay");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = app.limiter.news.notified() => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}

async fn look(app: &App, set: &mut Set) -> Result<()> {
    let rows = app.store.limit_overrides(app.world.now()).await?;
    let mut gone = std::mem::take(set);
    for row in &rows {
        let policy = Policy::ALL.into_iter().find(|policy| policy.as_str() == row.policy);
        // A word of a later build is passed over.
        let (Some(holder), Some(policy)) = (holder(row), policy) else { continue };
        gone.remove(&(holder, policy as usize));
        let allowance = Limiter::of(&app.limiter, holder);
        allowance.set_limit(policy, row.max_requests, row.expires_at.timestamp_millis().max(0).unsigned_abs());
        set.insert((holder, policy as usize), (policy, allowance));
    }
    for (policy, allowance) in gone.into_values() {
        allowance.set_limit(policy, 0, 0);
    }
    Ok(())
}
