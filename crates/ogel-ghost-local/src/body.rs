//! Arguments of a call: a JSON object read field by field, so that a wrong type is answered with the argument's name,
//! and the checks on ids. Refuses bodies over 1 MiB and bodies that are not an object. Next: `deployments.rs`.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::error::{ApiError, ApiResult};

/// The most a request body may weigh.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;

/// The arguments of one call. An empty body is an empty object.
#[derive(Debug, Clone)]
pub(crate) struct Args(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Args {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Args, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            let message = if status == StatusCode::PAYLOAD_TOO_LARGE {
                format!("The request body is larger than {MAX_BODY_BYTES} bytes.")
            } else {
                "The request body could not be read.".to_owned()
            };
            ApiError::new(status, "general_bad_request", message)
        })?;
        if bytes.is_empty() {
            return Ok(Args(Map::new()));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(map)) => Ok(Args(map)),
            Ok(_) => Err(bad_json("The request body must be a JSON object.".to_owned())),
            Err(error) => Err(bad_json(format!("The request body is not valid JSON: {error}"))),
        }
    }
}

fn bad_json(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "general_bad_request", message)
}

impl Args {
    /// A text of at most `max` characters; absent and `null` are the same.
    pub(crate) fn text(&self, name: &str, max: usize) -> ApiResult<Option<String>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err(ApiError::argument(name, "it contains a NUL")),
            Some(Value::String(text)) if text.chars().count() <= max => Ok(Some(text.clone())),
            Some(Value::String(_)) => {
                Err(ApiError::argument(name, format!("Value must be a valid string and no longer than {max} chars")))
            }
            Some(_) => Err(ApiError::argument(name, "Value must be a valid string")),
        }
    }

    /// Like `text`, but it must be there and not be empty.
    pub(crate) fn required(&self, name: &str, max: usize) -> ApiResult<String> {
        match self.text(name, max)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            Some(_) => Err(ApiError::argument(name, "Value must not be empty")),
            None => Err(ApiError::missing_argument(name)),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> ApiResult<Option<bool>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(ApiError::argument(name, "Value must be a valid boolean")),
        }
    }

    /// An id chosen by the caller; `unique()` or absence makes a random one, as Appwrite does.
    pub(crate) fn id(&self, name: &str) -> ApiResult<String> {
        match self.text(name, 36)? {
            None => Ok(crate::db::random_id()?),
            Some(id) if id == "unique()" => Ok(crate::db::random_id()?),
            Some(id) => checked_id(name, id),
        }
    }
}

/// Ids of Appwrite: letters, digits, `.`, `-`, `_`, at most 36, not starting with a special character.
pub(crate) fn checked_id(name: &str, id: String) -> ApiResult<String> {
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    if !id.is_empty() && id.len() <= 36 && id.bytes().all(fits) && id.as_bytes()[0].is_ascii_alphanumeric() {
        return Ok(id);
    }
    Err(ApiError::argument(
        name,
        "it must contain at most 36 chars. Valid chars are a-z, A-Z, 0-9, period, hyphen, and underscore. \
         Can't start with a special char",
    ))
}

/// Ids that become part of a host name: lower case, digits, `-` (and `_` where `underscore` says so), at most 36.
pub(crate) fn checked_host_id(name: &str, id: String, underscore: bool) -> ApiResult<String> {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || (underscore && c == b'_');
    let first = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    if id.len() <= 36 && id.bytes().next().is_some_and(first) && id.bytes().all(fits) {
        return Ok(id);
    }
    let chars = if underscore { "a-z, 0-9, hyphen and underscore" } else { "a-z, 0-9 and hyphen" };
    Err(ApiError::argument(
        name,
        format!("it must have 1 to 36 chars. Valid chars are {chars}; it starts with a letter or digit"),
    ))
}
