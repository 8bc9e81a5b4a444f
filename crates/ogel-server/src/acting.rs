//! Calls to Ghost on a caller's behalf, with a token that acts as them: Ghost then decides by its own rules what they may
//! do, and writes down who did it.
//!
//! What such a call needs is in memory as a rule. Where Ghost turns out to have forgotten the token or the membership,
//! both are made again, once, and so is the call ([`acting!`]).

use crate::{
    access::Access,
    bridge::GhostProject,
    caller::Caller,
    error::{Failure, Result},
    state::App,
};
use ogel_ghost::{Credential, GhostError};
use std::sync::Arc;

/// A caller at work in one project at Ghost.
pub(crate) struct Acting {
    caller: Arc<Caller>,
    access: Arc<Access>,
    project: Arc<GhostProject>,
    token: Arc<str>,
    has_new_token: bool,
    has_joined: bool,
}

impl Acting {
    /// For a project that Ghost knows; `None` where it does not. Asks the control plane only for what is not in memory.
    pub(crate) async fn known(app: &App, caller: &Arc<Caller>, access: &Arc<Access>) -> Result<Option<Self>> {
        let Some(project) = access.ghost.clone() else { return Ok(None) };
        let token = match app.bridge.known_token(caller.user.id).await {
            Some(token) => token,
            None => {
                let (state, who) = (app.clone(), caller.clone());
                app.on_control(async move { state.bridge.token(&who.user).await }).await??
            }
        };
        Ok(Some(Self::new(caller, access, project, token)))
    }

    /// Makes the project at Ghost if need be. On the control plane.
    pub(crate) async fn made(app: &App, caller: &Arc<Caller>, access: &Arc<Access>) -> Result<Self> {
        let project = match access.ghost.clone() {
            Some(known) => known,
            None => Arc::new(app.bridge.project(&access.project).await?),
        };
        app.bridge.member(&access.project, &caller.user).await?;
        let token = app.bridge.token(&caller.user).await?;
        Ok(Self::new(caller, access, project, token))
    }

    fn new(caller: &Arc<Caller>, access: &Arc<Access>, project: Arc<GhostProject>, token: Arc<str>) -> Self {
        let (caller, access) = (caller.clone(), access.clone());
        Self { caller, access, project, token, has_new_token: false, has_joined: false }
    }

    pub(crate) fn credential(&self) -> Credential<'_> {
        Credential::Jwt(&self.token)
    }

    /// The project's id at Ghost.
    pub(crate) fn project(&self) -> &str {
        &self.project.id
    }

    /// Whether the call that failed like this is worth making once more, because something was mended.
    pub(crate) async fn mend(&mut self, app: &App, error: &GhostError) -> Result<bool> {
        let (state, caller, access) = (app.clone(), self.caller.clone(), self.access.clone());
        if error.refuses_token() && !self.has_new_token {
            self.has_new_token = true;
            let refused = self.token.clone();
            let work = async move { state.bridge.another_token(&caller.user, &refused).await };
            self.token = app.on_control(work).await??;
            return Ok(true);
        }
        if error.hides_project() && !self.has_joined {
            self.has_joined = true;
            let work = async move { state.bridge.join_again(&access.project, &caller.user).await };
            app.on_control(work).await??;
            return Ok(true);
        }
        Ok(false)
    }
}

/// Makes the call, and once more where that helps: `acting!(app, acting, |credential, project| ghost.get_site(…))`.
macro_rules! acting {
    ($app:expr, $acting:expr, |$credential:ident, $project:ident| $call:expr) => {
        loop {
            let result = {
                let ($credential, $project) = ($acting.credential(), $acting.project());
                $call.await
            };
            match result {
                Ok(answer) => break Ok(answer),
                Err(error) => {
                    if !$acting.mend($app, &error).await? {
                        break Err(error);
                    }
                }
            }
        }
    };
}
pub(crate) use acting;

/// What the caller is told when Ghost refuses: that their `noun` is not there in the same words as everywhere else.
pub(crate) fn refused(error: GhostError, noun: &str, id: impl std::fmt::Display) -> Failure {
    if error.code == ogel_api::error::ErrorCode::NotFound {
        return ogel_api::error::Error::not_found(noun, id).caused_by(error).into();
    }
    error.into()
}
