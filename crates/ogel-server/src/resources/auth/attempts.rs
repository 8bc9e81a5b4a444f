//! How often a password may be tried on one account, from wherever. Besides the limit of each address, which the
//! pipeline keeps.
//!
//! An e-mail address nobody has is counted like any other, so that a refusal tells nothing. Somebody who keeps guessing
//! must not lock the owner out: an address the account is logged in from has tries of its own.

use crate::{
    error::Result,
    limits::{Allowance, Tried, Verdict},
    state::App,
};
use ogel_api::{
    error::{Error, ErrorCode},
    id::UserId,
};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// A try that counts until it turns out to have been right.
pub(crate) struct Attempt {
    app: App,
    allowance: Arc<Allowance>,
    tried: Tried,
}

impl Attempt {
    /// Errors: 429 when there were too many.
    pub(crate) async fn begin(app: &App, email: &str, client: IpAddr) -> Result<Self> {
        let refused = match Self::count(app, app.limiter.of_account(email)).await {
            Ok(attempt) => return Ok(attempt),
            Err(verdict) => verdict,
        };
        if app.store.is_logged_in_from(email, client, app.world.now()).await? {
            let there = Self::count(app, app.limiter.of_account_at(email, client)).await;
            return there.map_err(|verdict| too_many(&verdict));
        }
        Err(too_many(&refused))
    }

    /// The same for the codes that devices show, by a person who is logged in.
    pub(crate) async fn at_codes(app: &App, user: UserId) -> Result<Self> {
        // No e-mail address has a blank, so the two never meet.
        Self::count(app, app.limiter.of_account(&format!("codes of {user}"))).await.map_err(|verdict| {
            let seconds = verdict.reset_seconds();
            let message = format!("too many wrong codes; try again in {seconds} s with the one that your device shows");
            Error::new(ErrorCode::RateLimited, message).retry_after(Duration::from_secs(seconds)).into()
        })
    }

    async fn count(app: &App, allowance: Arc<Allowance>) -> Result<Self, Verdict> {
        let now_ms = app.world.now().timestamp_millis().max(0).unsigned_abs();
        let tried = app.config().limits.account(app, &allowance, now_ms).await?;
        Ok(Self { app: app.clone(), allowance, tried })
    }

    /// The password was right: this try is forgotten.
    pub(crate) fn was_right(self) {
        self.app.config().limits.forgive(&self.app, &self.allowance, self.tried);
    }
}

fn too_many(verdict: &Verdict) -> crate::error::Failure {
    let seconds = verdict.reset_seconds();
    let message = format!(
        "too many wrong passwords for this account; try again in {seconds} s, or from where it is logged in already"
    );
    Error::new(ErrorCode::RateLimited, message).retry_after(Duration::from_secs(seconds)).into()
}
