//! Who operates the platform: the people `auth.operators` names. [`Operator`] in a handler's arguments is its authorization.

use crate::{
    caller::{Allowed, Caller, scope},
    error::Failure,
    pipeline::RequestContext,
};
use axum::{extract::FromRequestParts, http::request::Parts};
use ogel_api::error::ErrorCode;
use std::sync::Arc;

/// A caller who is an operator: logged in, or with an API key that has the scope `admin` and is bound to nothing.
pub struct Operator {
    pub caller: Arc<Caller>,
}

impl FromRequestParts<RequestContext> for Operator {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &RequestContext) -> Result<Self, Failure> {
        let Allowed { caller, .. } = Allowed::<scope::Admin>::from_request_parts(parts, context).await?;
        let bound = caller.viewer.organization.is_some() || caller.viewer.project.is_some();
        if bound || !context.core.app.config().auth.operators.iter().any(|name| names(name, &caller)) {
            let message = "this is for the platform's operators; whoever runs `ogeld` names them in `auth.operators`";
            return Err(Failure::new(ErrorCode::Forbidden, message));
        }
        Ok(Self { caller })
    }
}

/// Whether `name` is the caller's id or e-mail address.
fn names(name: &str, caller: &Caller) -> bool {
    let name = name.trim();
    match name.parse::<ogel_api::id::UserId>() {
        Ok(id) => id == caller.user.id,
        Err(_) => name.eq_ignore_ascii_case(&caller.user.email),
    }
}
