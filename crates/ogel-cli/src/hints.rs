//! What to do about a failed call.

use crate::settings::{DEFAULT_API_URL, Settings, TokenSource};
use http::StatusCode;
use ogel_client::ClientError;

pub(crate) fn for_call(error: &ClientError, settings: &Settings) -> Option<String> {
    match error {
        ClientError::Connect { .. } | ClientError::Timeout { .. } => Some(unreachable(settings)),
        ClientError::Decode { .. } => {
            Some(format!("is `{}` an Ogel server? Another one is named by `--api-url`", settings.api_url))
        }
        ClientError::InvalidToken => Some(replace_token(&settings.token_source)),
        ClientError::Api { body, .. } => by_code(&body.code, error, settings),
        _ => None,
    }
}

fn by_code(code: &str, error: &ClientError, settings: &Settings) -> Option<String> {
    let wait = error.retry_after().map(|wait| wait.as_secs().max(1));
    match (code, error.status()) {
        ("UNAUTHENTICATED", _) => Some(log_in(settings)),
        ("INVALID_CREDENTIAL" | "CREDENTIAL_EXPIRED", _) => Some(replace_token(&settings.token_source)),
        ("MISSING_SCOPE", _) => {
            Some("`ogel whoami` shows what the token allows; use one that has this scope".to_owned())
        }
        ("AMBIGUOUS_SLUG", _) => Some("`ogel projects list` shows the ids".to_owned()),
        ("ROUTE_NOT_FOUND", _) => {
            Some("the server may be older than this `ogel`; compare `ogel api GET version`".to_owned())
        }
        (_, Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)) => match wait {
            Some(seconds) => Some(format!("try again in {seconds} s")),
            None => Some("try again in a moment".to_owned()),
        },
        _ => None,
    }
}

fn unreachable(settings: &Settings) -> String {
    if settings.api_url == DEFAULT_API_URL {
        "start a server with `ogeld dev`, or name another one with `--api-url` or `OGEL_API_URL`".to_owned()
    } else {
        "is the address right and the server running? It is set by `--api-url`, `OGEL_API_URL` or `ogel login`"
            .to_owned()
    }
}

fn log_in(settings: &Settings) -> String {
    match &settings.token_source {
        TokenSource::OtherServer(other) => {
            let here = &settings.api_url;
            format!("you are logged in to `{other}`; log in here with `ogel login --api-url {here}`")
        }
        TokenSource::Locked(why) => {
            format!(
                "the keyring did not hand out the token ({why}); log in again with `ogel login`, or set `OGEL_TOKEN`"
            )
        }
        _ => "log in with `ogel login`, or set `OGEL_TOKEN`".to_owned(),
    }
}

fn replace_token(source: &TokenSource) -> String {
    match source {
        TokenSource::Environment => "replace the token in `OGEL_TOKEN`".to_owned(),
        TokenSource::Flag => "check the token given with `--token`".to_owned(),
        _ => "log in again with `ogel login`".to_owned(),
    }
}
