//! Reading requests: `Json`, `Query`, `Path` whose rejections say what is wrong with which field, and what to do.
//!
//! Parsing is tried directly first. Only when it fails is the body read again against the type's OpenAPI schema, to
//! name every missing, unknown and mistyped field at once instead of the first one serde meets.

mod maybe;
mod pair;

pub(crate) use maybe::MaybeJson;
pub(crate) use maybe::is_json;
use maybe::json_bytes;
pub(crate) use pair::PathPair;

use crate::{
    config::nearest,
    error::Failure,
    pipeline::{RequestContext, Stalled, Version},
};
use axum::{
    Extension,
    body::Body,
    extract::{FromRequest, FromRequestParts},
    http::{HeaderMap, HeaderValue, Request, header, request::Parts},
    response::IntoResponse,
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use ogel_api::error::{Detail, Error, ErrorCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{error::Error as _, str::FromStr};
use utoipa::{
    PartialSchema,
    openapi::{
        RefOr,
        schema::{Schema, SchemaType, Type},
    },
};

/// For most answers enough; more only costs an allocation.
const ROOM: usize = 2 << 10;
/// Of an answer, when it leaves.
const HEADERS: usize = 20;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON body on the way in; a JSON answer on the way out.
pub(crate) struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> axum::response::Response {
        let mut text = Vec::with_capacity(ROOM);
        match serde_json::to_writer(&mut text, &self.0) {
            Ok(()) => json_answer(text.into()),
            Err(error) => Failure::from(Error::internal(error)).into_response(),
        }
    }
}

/// An answer that is JSON, with room for the headers that it gets on its way: growing would hash all of them again.
pub(crate) fn json_answer(text: Bytes) -> axum::response::Response {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(header::CONTENT_TYPE, JSON);
    let mut response = axum::response::Response::new(Body::from(text));
    *response.headers_mut() = headers;
    response
}

impl<T: DeserializeOwned + PartialSchema> FromRequest<RequestContext> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request<Body>, context: &RequestContext) -> Result<Self, Failure> {
        let bytes = json_bytes(request, context.body_limit).await?;
        parse(&bytes).map(Self)
    }
}

/// One row as JSON, with its version in the `ETag`.
pub(crate) struct Versioned<T>(pub i64, pub T);

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> axum::response::Response {
        (Extension(Version(self.0)), Json(self.1)).into_response()
    }
}

/// The whole body, or 413. What is over the limit is still read for a while, so that the answer reaches a client that
/// only listens once it has sent everything.
pub(crate) async fn read_body(mut body: Body, limit: usize) -> Result<Bytes, Failure> {
    let mut read = bytes::BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let (code, message) = match error.source() {
                Some(cause) if cause.is::<Stalled>() => {
                    (ErrorCode::RequestTimeout, "the rest of the body did not come; send it again")
                }
                _ => (ErrorCode::MalformedJson, "the body ended before it was complete; send it again"),
            };
            Error::new(code, message).caused_by(error)
        })?;
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > limit {
                return Err(too_large(body, limit).await);
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}

async fn too_large(mut rest: Body, limit: usize) -> Failure {
    const PATIENCE: usize = 32 << 20;
    let mut seen = limit;
    let drain = async {
        while let Some(Ok(frame)) = rest.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            if seen > PATIENCE {
                break;
            }
        }
    };
    // Leaving early only costs the client a readable answer.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), drain).await;
    Failure::body_too_large(limit as u64)
}

/// Parses, or says everything that is wrong.
fn parse<T: DeserializeOwned + PartialSchema>(bytes: &[u8]) -> Result<T, Failure> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(value) => match deserializer.end() {
            // A struct may also be read from a list of its fields, which nobody means.
            Ok(()) if bytes.trim_ascii_start().starts_with(b"[") => return Err(no_object()),
            Ok(()) => return Ok(value),
            Err(error) => return Err(malformed(&error)),
        },
        Err(error) => error,
    };
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return Err(malformed(&error)),
    };
    let mut details = Vec::new();
    if let RefOr::T(Schema::Object(schema)) = T::schema() {
        let Value::Object(fields) = &value else {
            return Err(no_object());
        };
        for name in schema.required.iter().filter(|name| !fields.contains_key(*name)) {
            details.push(detail(
                ErrorCode::MissingField,
                name,
                &format!("`{name}` is missing"),
                Some(format!("add `{name}`")),
            ));
        }
        for (name, value) in fields {
            match schema.properties.get(name) {
                None => {
                    let fix = nearest(name, schema.properties.keys().map(String::as_str))
                        .map_or_else(|| "remove it".to_owned(), |known| format!("did you mean `{known}`?"));
                    details.push(detail(
                        ErrorCode::UnknownField,
                        name,
                        &format!("`{name}` is not a field of this"),
                        Some(fix),
                    ));
                }
                Some(RefOr::T(Schema::Object(property))) if !fits(&property.schema_type, value) => {
                    let wanted = type_words(&property.schema_type);
                    let message = format!("`{name}` must be {wanted}, not {}", kind(value));
                    details.push(detail(ErrorCode::WrongType, name, &message, None));
                }
                Some(RefOr::T(Schema::Array(_))) if !(value.is_array() || value.is_null()) => {
                    details.push(detail(
                        ErrorCode::WrongType,
                        name,
                        &format!("`{name}` must be a list, not {}", kind(value)),
                        None,
                    ));
                }
                Some(_) => {}
            }
        }
    }
    if details.is_empty() {
        // Deeper than the schema's first level, or a value of the right type that is not acceptable.
        let path = error.path().to_string();
        let text = error.inner().to_string();
        let text = text.split(" at line ").next().unwrap_or_default().to_owned();
        let code = if text.starts_with("invalid type") { ErrorCode::WrongType } else { ErrorCode::InvalidValue };
        details.push(Detail { location: format!("body.{path}"), code: code.to_string(), message: text, fix: None });
    }
    Err(invalid(details))
}

fn no_object() -> Failure {
    Failure::new(ErrorCode::WrongType, "the body must be one JSON object")
}

fn malformed(error: &serde_json::Error) -> Failure {
    Error::new(
        ErrorCode::MalformedJson,
        format!(
            "the body is not JSON (line {}, column {}); send one JSON object in UTF-8",
            error.line(),
            error.column()
        ),
    )
    .into()
}

fn detail(code: ErrorCode, field: &str, message: &str, fix: Option<String>) -> Detail {
    Detail { location: format!("body.{}", clip(field)), code: code.to_string(), message: clip(message), fix }
}

/// What a caller sent is quoted back to them, but not without end.
fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}

/// One failure for everything that is wrong: under its own code when all of it is of one kind.
pub(crate) fn invalid(details: Vec<Detail>) -> Failure {
    let first = details.first().map_or("", |detail| detail.code.as_str());
    let code = ErrorCode::ALL
        .iter()
        .copied()
        .find(|code| code.as_str() == first && details.iter().all(|detail| detail.code == first))
        .unwrap_or(ErrorCode::ValidationFailed);
    let message = match &details[..] {
        [Detail { message, fix: Some(fix), .. }] => format!("{message}; {fix}"),
        [Detail { message, fix: None, .. }] => message.clone(),
        several => {
            let phrase = |detail: &Detail| match &detail.fix {
                Some(fix) => format!("{} ({fix})", detail.message),
                None => detail.message.clone(),
            };
            several.iter().take(8).map(phrase).collect::<Vec<_>>().join(", ")
        }
    };
    Error::new(code, message).with_details(details).into()
}

/// One field that is wrong, under its own code.
pub(crate) fn invalid_field(code: ErrorCode, location: &str, message: &str, fix: Option<&str>) -> Failure {
    let fix = fix.map(str::to_owned);
    invalid(vec![Detail { location: location.to_owned(), code: code.to_string(), message: clip(message), fix }])
}

fn types(schema_type: &SchemaType) -> &[Type] {
    match schema_type {
        SchemaType::Type(one) => std::slice::from_ref(one),
        SchemaType::Array(many) => many,
        SchemaType::AnyValue => &[],
    }
}

fn fits(schema_type: &SchemaType, value: &Value) -> bool {
    let types = types(schema_type);
    types.is_empty()
        || types.iter().any(|one| match one {
            Type::String => value.is_string(),
            Type::Boolean => value.is_boolean(),
            Type::Integer => value.is_i64() || value.is_u64(),
            Type::Number => value.is_number(),
            Type::Object => value.is_object(),
            Type::Array => value.is_array(),
            Type::Null => value.is_null(),
        })
}

fn type_words(schema_type: &SchemaType) -> String {
    let words: Vec<_> = types(schema_type)
        .iter()
        .map(|one| match one {
            Type::String => "text",
            Type::Boolean => "true or false",
            Type::Integer => "a whole number",
            Type::Number => "a number",
            Type::Object => "an object",
            Type::Array => "a list",
            Type::Null => "null",
        })
        .collect();
    words.join(" or ")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The one `{id}` of the path.
pub(crate) struct Path<T>(pub T);

impl<T: FromStr<Err: std::fmt::Display>> FromRequestParts<RequestContext> for Path<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, context: &RequestContext) -> Result<Self, Failure> {
        pair::parse(context.parameters(parts.uri.path()).next()).map(Self)
    }
}

/// The query, each parameter checked against the list of known ones.
pub(crate) struct Query<T>(pub T);

/// A query's parameters: which exist, and how each is read.
pub(crate) trait Parameters: Default {
    const KNOWN: &'static [&'static str];
    /// Takes one in; the error is a sentence about it.
    fn set(&mut self, name: &str, value: &str) -> Result<(), String>;
}

impl<T: Parameters, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let mut parameters = T::default();
        let mut details = Vec::new();
        for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            let location = format!("query.{}", clip(&name));
            if !T::KNOWN.contains(&&*name) {
                let fix = nearest(&name, T::KNOWN.iter().copied()).map_or_else(
                    || match T::KNOWN {
                        [] => "this operation takes none".to_owned(),
                        known => format!("the known ones are `{}`", known.join("`, `")),
                    },
                    |known| format!("did you mean `{known}`?"),
                );
                let message = format!("`{}` is not a parameter of this", clip(&name));
                details.push(Detail {
                    location,
                    code: ErrorCode::UnknownParameter.to_string(),
                    message,
                    fix: Some(fix),
                });
            } else if let Err(message) = parameters.set(&name, &value) {
                details.push(Detail {
                    location,
                    code: ErrorCode::InvalidValue.to_string(),
                    message: clip(&message),
                    fix: None,
                });
            }
        }
        if details.is_empty() { Ok(Self(parameters)) } else { Err(invalid(details)) }
    }
}

/// Reads one value of a query, with the sentence it fails with.
pub(crate) fn parameter<T: FromStr<Err: std::fmt::Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|error: T::Err| error.to_string())
}

/// For operations without any parameter.
#[derive(Default)]
pub(crate) struct NoParameters;

impl Parameters for NoParameters {
    const KNOWN: &'static [&'static str] = &[];
    fn set(&mut self, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ogel_api::deployments::NewDeployment;

    fn failure(body: &str) -> Error {
        *parse::<NewDeployment>(body.as_bytes()).expect_err("the body must be refused").0
    }

    #[test]
    fn all_missing_fields_are_named_at_once() {
        let error = failure("{}");
        assert_eq!(error.code, ErrorCode::MissingField);
        let places: Vec<_> = error.details.iter().map(|detail| detail.location.as_str()).collect();
        assert_eq!(places, ["body.projectId", "body.repoUrl"]);
    }

    #[test]
    fn several_kinds_of_mistakes_come_together() {
        let error = failure(r#"{"repoURL": "x", "branch": 7, "projectId": "proj_01h455vb4pex5vsknk084sn02q"}"#);
        assert_eq!(error.code, ErrorCode::ValidationFailed);
        let codes: Vec<_> =
            error.details.iter().map(|detail| (detail.location.as_str(), detail.code.as_str())).collect();
        assert_eq!(
            codes,
            [("body.repoUrl", "MISSING_FIELD"), ("body.branch", "WRONG_TYPE"), ("body.repoURL", "UNKNOWN_FIELD")]
        );
        assert_eq!(error.details[2].fix.as_deref(), Some("did you mean `repoUrl`?"));
    }

    #[test]
    fn broken_json_says_where() {
        let error = failure("{\"a\": ");
        assert_eq!(error.code, ErrorCode::MalformedJson);
        assert!(error.message.contains("line 1"));
        assert_eq!(failure("[]").code, ErrorCode::WrongType);
        assert_eq!(
            failure(r#"{"projectId":"bld_01h455vb4pex5vsknk084sn02q","repoUrl":""}"#).details[0].location,
            "body.projectId"
        );
        assert_eq!(
            failure(r#"{"projectId":"proj_01h455vb4pex5vsknk084sn02q","repoUrl":"","env":{"A":1}}"#).code,
            ErrorCode::WrongType
        );
    }
}
