//! The data plane: one thread per core, each with its own listener on the same port and its own runtime.
//!
//! The kernel spreads connections over the listeners (`SO_REUSEPORT`); from there on a connection never leaves its
//! thread, so that what is hot stays in one core's cache and no queue is shared.

use crate::{router, state::App};
use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use ogel_ghost::Ghost;
use socket2::{Domain, Protocol, Socket, Type};
use std::{io, net::SocketAddr, pin::pin, sync::Arc, thread, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::task::TaskTracker;

/// The thread's own connections to Ghost, in the extensions of its requests: what is only passed on from Ghost never
/// leaves the thread.
#[derive(Clone)]
pub(crate) struct ThreadGhost(pub(crate) Ghost);

/// The running threads.
pub struct Edge {
    /// Where they listen; the real port where 0 was asked for.
    pub address: SocketAddr,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Edge {
    /// Binds every listener, then starts the threads: once this returns, connections are answered.
    pub fn start(app: &App, listen: SocketAddr) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = match usize::try_from(app.config.server.threads).unwrap_or(0) {
            0 => cores,
            asked => asked.min(1024),
        };
        let first = bind(listen)?;
        let address = first.local_addr()?;
        let mut listeners = vec![first];
        for _ in 1..count {
            listeners.push(bind(address)?);
        }
        let threads = listeners
            .into_iter()
            .enumerate()
            .map(|(index, listener)| {
                let app = app.clone();
                let ghost = ThreadGhost(app.ghost_of_a_thread().map_err(io::Error::other)?);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                thread::Builder::new()
                    .name(format!("edge-{index}"))
                    .spawn(move || runtime.block_on(serve(&app, listener, ghost)))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { address, threads })
    }

    /// Waits for every thread to end, which they do after [`crate::state::AppState::shutdown`]. Blocks.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a data-plane thread panicked");
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

async fn serve(app: &App, listener: std::net::TcpListener, ghost: ThreadGhost) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listener could not be used");
            return;
        }
    };
    let server = &app.config.server;
    let places = Arc::new(Semaphore::new(usize::try_from(server.max_connections_per_thread).unwrap_or(16_384)));
    let mut http = http1::Builder::new();
    // Without a timer hyper waits for a request head for ever.
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(server.header_timeout_seconds.max(1)));
    http.max_buf_size(64 << 10).max_headers(100);
    let service = TowerToHyperService::new(router::router(app).layer(Extension(ghost)));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = app.shutdown.cancelled() => break,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: waiting lets some come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let connection = http.serve_connection(TokioIo::new(stream), service.clone()).with_upgrades();
        let shutdown = app.shutdown.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            // A client that breaks off or sends no HTTP is its own business.
            if let Err(error) = ended {
                tracing::debug!(%error, "connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    app.streams.close();
    let drained = async { tokio::join!(connections.wait(), app.streams.wait()) };
    if tokio::time::timeout(Duration::from_secs(server.drain_seconds), drained).await.is_err() {
        tracing::warn!("requests were still running when the time to drain was over");
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}
