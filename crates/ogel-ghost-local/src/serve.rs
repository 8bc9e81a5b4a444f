//! Two listeners, one accept loop: bounded connections, a limit on how long headers may take, and an end that waits for
//! open answers but not for ever. Applies the HTTP faults, because only here a connection can be dropped without an
//! answer. Next: `routes.rs` for what is behind the API, `preview.rs` for the other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::error::{ApiError, StartError};
use crate::faults::Action;
use crate::state::App;

const MAX_CONNECTIONS: usize = 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(5);
/// Answers that a fault cuts are held whole first; none is larger.
const MAX_CUT_BYTES: usize = 16 << 20;

/// What tells hyper to close the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped because a fault was asked for")]
pub(crate) struct Dropped;

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// Serves `router` until the process ends. `with_faults` is for the API only.
pub(crate) async fn listen(app: Arc<App>, listener: TcpListener, router: Router, with_faults: bool) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = app.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly: more of them come back when connections end.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let (router, owner) = (router.clone(), app.clone());
        app.spawn(async move {
            let app = owner.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let (router, app) = (router.clone(), owner.clone());
                async move { answer(&app, router, request.map(Body::new), with_faults).await }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = app.stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    match tokio::time::timeout(DRAIN, connection).await {
                        Ok(ended) => ended,
                        Err(_) => return,
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
    }
}

async fn answer(app: &App, router: Router, request: Request<Body>, with_faults: bool) -> Result<Response, Dropped> {
    let fault =
        if with_faults { app.faults.take(request.method(), request.uri().path()) } else { (Duration::ZERO, None) };
    let (latency, action) = fault;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    match action {
        None => Ok(run(router, request).await),
        Some(Action::DropConnection) => Err(Dropped),
        Some(Action::DropAnswer) => {
            run(router, request).await;
            Err(Dropped)
        }
        Some(Action::CutAnswer) => Ok(cut(run(router, request).await).await),
        Some(Action::Status(code)) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(ApiError::new(status, kind_of(status), "A fault was asked for.").into_response())
        }
    }
}

/// The first half of the answer, and then an end that the client did not expect.
async fn cut(answer: Response) -> Response {
    let (parts, body) = answer.into_parts();
    let whole = axum::body::to_bytes(body, MAX_CUT_BYTES).await.unwrap_or_default();
    let half = whole.slice(..whole.len() / 2);
    let pieces = futures_util::stream::once(async { Ok(half) }).chain(futures_util::stream::once(async {
        // An error right away would take the half with it before it is on the wire.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(Dropped)
    }));
    let mut answer = Response::from_parts(parts, Body::from_stream(pieces));
    answer.headers_mut().insert(http::header::CONTENT_LENGTH, whole.len().into());
    answer
}

fn kind_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "user_jwt_invalid",
        StatusCode::TOO_MANY_REQUESTS => "general_rate_limit_exceeded",
        status if status.is_server_error() => "general_server_error",
        _ => "general_bad_request",
    }
}

async fn run(router: Router, request: Request<Body>) -> Response {
    router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {})
}
