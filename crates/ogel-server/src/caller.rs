//! Who is calling: found out once per request by the pipeline, asked for by handlers as an argument.
//!
//! `Allowed<scope::DeploymentsWrite>` in a handler's arguments *is* its authorization: without a caller it answers 401,
//! without the scope 403. What the caller may see is decided by the [`Viewer`] every query takes.

use crate::{
    error::Failure, limits::Allowance, pipeline::RequestContext, state::App, studio::StudioSession, uses::Noted,
};
use axum::{extract::FromRequestParts, http::request::Parts};
use chrono::{DateTime, Utc};
use ogel_api::{
    auth::{AuthMethod, Scope, SessionKind},
    error::{Detail, Error, ErrorCode},
    id::{ApiKeyId, SessionId},
    organizations::Plan,
};
use ogel_store::{Act, Actor, User, Viewer};
use std::{marker::PhantomData, sync::Arc};

/// A caller whose credential was checked.
#[derive(Debug)]
pub struct Caller {
    pub user: User,
    pub method: AuthMethod,
    pub scopes: Vec<Scope>,
    /// The user, narrowed to the organization or project an API key is bound to.
    pub viewer: Viewer,
    pub session_id: Option<SessionId>,
    pub session_kind: Option<SessionKind>,
    pub api_key_id: Option<ApiKeyId>,
    /// Where it is a session of Studio's own login.
    pub studio: Option<StudioSession>,
    pub expires_at: Option<DateTime<Utc>>,
    /// The best plan of the organizations the credential reaches.
    pub plan: Plan,
    /// How often they called of late.
    pub allowance: Arc<Allowance>,
    /// Of the organization and the project an API key is bound to.
    pub organization_allowance: Option<Arc<Allowance>>,
    pub project_allowance: Option<Arc<Allowance>>,
    /// The key's id, or the user's: what the access log names.
    pub log_id: String,
    /// When it was last noted that the credential is in use.
    pub noted: Noted,
}

impl Caller {
    /// 403: names the scope that is missing, those that are held, and who can do something about it.
    pub(crate) fn lacks(&self, missing: Scope, why: &str) -> Failure {
        let (what, who) = match (self.api_key_id, self.session_kind) {
            (Some(id), _) => {
                let owner = &self.user.email;
                let who = format!(
                    "`{owner}`, whose key it is, can add it with `PATCH auth/api-keys/{id}`, or make a key that has it"
                );
                ("API key", who)
            }
            (None, Some(SessionKind::Cli)) => ("login", "log in again and ask for it: `ogel login`".to_owned()),
            (None, _) => ("login", "an owner of the organization can".to_owned()),
        };
        let held = match &self.scopes[..] {
            [] => "none".to_owned(),
            scopes => format!("`{}`", scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join("`, `")),
        };
        let detail = |location: &str, message: String, fix| Detail {
            location: location.to_owned(),
            code: ErrorCode::MissingScope.to_string(),
            message,
            fix,
        };
        let details = vec![
            detail("credential.requiredScopes", format!("`{missing}`"), Some(who)),
            detail("credential.heldScopes", held, None),
        ];
        let message = format!("this {what} lacks the scope `{missing}`; {why}");
        Error::new(ErrorCode::MissingScope, message).with_details(details).into()
    }
}

impl Caller {
    /// 403 for an API key that is bound to an organization or project: its person's own account is not among that.
    pub(crate) fn refuse_bound_key(&self) -> Result<(), Failure> {
        if self.viewer.organization.is_none() && self.viewer.project.is_none() {
            return Ok(());
        }
        let message = "this API key is bound to one organization or project; use one that is not, or log in";
        Err(Failure::new(ErrorCode::Forbidden, message))
    }

    pub(crate) fn actor(&self) -> Actor {
        match self.api_key_id {
            Some(key) => Actor::Key(self.user.id, key),
            None => Actor::User(self.user.id),
        }
    }
}

/// What the pipeline found: a caller, nobody, or a credential that does not hold.
#[derive(Clone)]
pub(crate) enum Identity {
    Anonymous,
    Known(Arc<Caller>),
    /// Kept until a handler asks, so that public operations work with a stale cookie.
    Refused(ErrorCode, &'static str),
}

impl Identity {
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        match self {
            Self::Known(caller) => Some(caller),
            Self::Anonymous | Self::Refused(..) => None,
        }
    }
}

/// The caller of an operation that needs `S`.
pub struct Allowed<S> {
    pub caller: Arc<Caller>,
    /// The request they call with.
    context: RequestContext,
    scope: PhantomData<S>,
}

/// One type per scope, so that an operation states what it needs in its signature.
pub mod scope {
    use ogel_api::auth::Scope;

    /// A scope an operation needs; `None` where being somebody is enough.
    pub trait Needed: Send + Sync {
        const SCOPE: Option<Scope>;
    }

    macro_rules! scopes { ($($name:ident),+) => { $(
        #[doc = concat!("Needs `Scope::", stringify!($name), "`.")]
        pub struct $name;
        impl Needed for $name { const SCOPE: Option<Scope> = Some(Scope::$name); }
    )+ } }

    scopes!(
        UsersRead,
        UsersWrite,
        OrganizationsRead,
        OrganizationsWrite,
        ProjectsRead,
        ProjectsWrite,
        DeploymentsRead,
        DeploymentsWrite,
        BuildsRead,
        SitesRead,
        SitesWrite,
        DomainsRead,
        DomainsWrite,
        KeysRead,
        KeysWrite,
        BillingRead,
        BillingWrite,
        Admin,
        WebhooksRead,
        WebhooksWrite
    );

    /// Any caller will do.
    pub struct Any;
    impl Needed for Any {
        const SCOPE: Option<Scope> = None;
    }
}

impl<S: scope::Needed> FromRequestParts<RequestContext> for Allowed<S> {
    type Rejection = Failure;

    async fn from_request_parts(_: &mut Parts, context: &RequestContext) -> Result<Self, Failure> {
        let caller = match &context.identity {
            Identity::Known(caller) => caller.clone(),
            Identity::Refused(code, message) => return Err(Failure::new(*code, *message)),
            Identity::Anonymous => {
                return Err(Failure::new(
                    ErrorCode::Unauthenticated,
                    "log in, or send `Authorization: Bearer` with a session token or an API key",
                ));
            }
        };
        if let Some(needed) = S::SCOPE
            && !caller.scopes.contains(&needed)
        {
            return Err(caller.lacks(needed, "`details` names those it has, and who can give it"));
        }
        Ok(Self { caller, context: context.clone(), scope: PhantomData })
    }
}

impl<S> Allowed<S> {
    /// What the audit log says of the caller's doing. Every change of the store's that is written down there takes one.
    pub(crate) fn act(&self, app: &App) -> Act {
        self.context.act(&app.world, self.caller.actor())
    }
}
