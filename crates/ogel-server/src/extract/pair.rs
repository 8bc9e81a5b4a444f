//! Paths with two parameters: a thing inside another.

use super::invalid_field;
use crate::{error::Failure, pipeline::RequestContext};
use axum::{extract::FromRequestParts, http::request::Parts};
use ogel_api::error::{Error, ErrorCode};
use std::{borrow::Cow, fmt::Display, str::FromStr};

/// Both parameters of the path, in its order.
pub(crate) struct PathPair<A, B>(pub A, pub B);

impl<A: FromStr<Err: Display>, B: FromStr<Err: Display>> FromRequestParts<RequestContext> for PathPair<A, B> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &RequestContext) -> Result<Self, Failure> {
        let mut parameters = context.parameters(parts.uri.path());
        Ok(Self(parse(parameters.next())?, parse(parameters.next())?))
    }
}

/// Reads a parameter, if the path has it.
pub(super) fn parse<T: FromStr<Err: Display>>(parameter: Option<(&str, Cow<'_, str>)>) -> Result<T, Failure> {
    let (name, text) = parameter.ok_or_else(|| Error::internal("an operation asked for more than its path has"))?;
    text.parse()
        .map_err(|error: T::Err| invalid_field(ErrorCode::InvalidId, &format!("path.{name}"), &error.to_string(), None))
}
