//! The operators' own listener: `/metrics`, `/health`, `/ready`. Not on the API's port, so that it needs no credential
//! there and floods here do not keep a health check out.

use crate::{metrics, resources::meta, state::App};
use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use std::{io, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;

/// How long a scrape waits for the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// Listens at `address` until shutdown, on the control plane.
pub(crate) async fn start(app: &App, address: SocketAddr) -> io::Result<SocketAddr> {
    // As the data plane does: a successor must be able to listen while its predecessor still does.
    let listener = TcpListener::from_std(crate::edge::bind(address)?)?;
    let address = listener.local_addr()?;
    let routes = Router::new()
        .route("/metrics", get(get_metrics))
        .route("/health", get(meta::get_health))
        .route("/ready", get(meta::get_ready))
        .with_state(app.clone());
    let shutdown = app.shutdown.clone();
    app.in_background(async move {
        // Open to the end: what drains is still watched.
        let served = axum::serve(listener, routes).with_graceful_shutdown(async move { shutdown.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the operations listener ended");
        }
    });
    Ok(address)
}

async fn get_metrics(State(app): State<App>) -> impl IntoResponse {
    let mut page = metrics::render(&app.all_counters()) + &app.hooks.render() + &app.bridge.render();
    if let Some(redis) = app.shared.as_redis() {
        metrics::render_redis(&mut page, redis);
    }
    if let Some(traces) = &app.traces {
        page += &traces.render();
    }
    // Without the database the rest is all the more wanted.
    if let Ok(Ok(queues)) = tokio::time::timeout(PATIENCE, app.store.queue_figures(app.world.now())).await {
        metrics::render_queues(&mut page, &queues, app.world.now());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}
