//! Paths with two parameters: a thing inside another.

use super::invalid_field;
use crate::error::Failure;
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use ogel_api::error::{Error, ErrorCode};
use std::{fmt::Display, str::FromStr};

/// Both parameters of the path, in its order.
pub(crate) struct PathPair<A, B>(pub A, pub B);

impl<A: FromStr<Err: Display>, B: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for PathPair<A, B> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| Error::internal(error.to_string()))?;
        let mut params = params.iter();
        Ok(Self(parse(params.next())?, parse(params.next())?))
    }
}

fn parse<T: FromStr<Err: Display>>(param: Option<(&str, &str)>) -> Result<T, Failure> {
    let (name, text) = param.ok_or_else(|| Error::internal("a route with fewer parameters asked for two"))?;
    text.parse()
        .map_err(|error: T::Err| invalid_field(ErrorCode::InvalidId, &format!("path.{name}"), &error.to_string(), None))
}
