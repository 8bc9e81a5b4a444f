//! `POST /v1/faults`: what [`Faults`](crate::Faults) does for a test in the same process, for one in another. Mounted only
//! where the configuration says so, and only the platform's key may use it.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::auth::Caller;
use crate::error::{ApiError, ApiResult};
use crate::state::App;

/// What is asked for; what is left out stays as it is.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Asked {
    /// Ends every fault first.
    clear: bool,
    latency_ms: Option<u64>,
    calls: Vec<Calls>,
    drop_webhooks: u32,
    duplicate_webhooks: u32,
    swap_webhooks: u32,
    drop_realtime_sockets: bool,
}

/// The next calls that something happens to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Calls {
    count: u32,
    /// Any when left out.
    method: Option<String>,
    path_prefix: String,
    action: Action,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    Status(u16),
    DropConnection,
    DropAnswer,
    CutAnswer,
}

pub(crate) async fn set_faults(State(app): State<Arc<App>>, caller: Caller, body: Bytes) -> ApiResult<StatusCode> {
    caller.must_be_platform("faults.write")?;
    let Json(asked) = Json::<Asked>::from_bytes(&body)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, "general_argument_invalid", error.body_text()))?;
    let faults = &app.faults;
    if asked.clear {
        faults.clear();
    }
    if let Some(milliseconds) = asked.latency_ms {
        faults.set_latency(Duration::from_millis(milliseconds));
    }
    for Calls { count, method, path_prefix, action } in asked.calls {
        let method = method.as_deref().map(str::parse::<Method>).transpose();
        let method = method.map_err(|_| ApiError::argument("method", "Value must be an HTTP method"))?;
        match action {
            Action::Status(status) => faults.fail_next(count, method, &path_prefix, status),
            Action::DropConnection => faults.drop_next_connections(count, method, &path_prefix),
            Action::DropAnswer => faults.drop_next_answers(count, method, &path_prefix),
            Action::CutAnswer => faults.cut_next_answers(count, method, &path_prefix),
        }
    }
    if asked.drop_webhooks > 0 {
        faults.drop_next_webhooks(asked.drop_webhooks);
    }
    if asked.duplicate_webhooks > 0 {
        faults.duplicate_next_webhooks(asked.duplicate_webhooks);
    }
    if asked.swap_webhooks > 0 {
        faults.swap_next_webhooks(asked.swap_webhooks);
    }
    if asked.drop_realtime_sockets {
        faults.drop_realtime_sockets();
    }
    Ok(StatusCode::NO_CONTENT)
}
