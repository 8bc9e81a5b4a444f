//! The data plane: one thread per core, each with its own listener on the same port and its own runtime.
//!
//! The kernel spreads connections over the listeners (`SO_REUSEPORT`); from there on a connection never leaves its
//! thread, so that what is hot stays in one core's cache and no queue is shared.
//!
//! Next: [`connection`], one connection from its first byte to its last; [`http1`] and [`http2`], how they speak; [`core`], what a thread has to itself.

mod connection;
mod core;
mod gather;
mod http1;
mod http2;
mod peer;
mod stall;
mod tls;

pub(crate) use self::core::{Core, Counted};
pub(crate) use http1::{Switch, Switched};
pub(crate) use peer::Peer;
pub use tls::Tls;

use crate::{router, state::App};
use connection::Protocols;
use socket2::{Domain, Protocol, Socket, Type};
use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::task::TaskTracker;

/// What a data-plane thread's stack may grow to.
const STACK: usize = 8 << 20;

/// The running threads.
pub struct Edge {
    /// Where they listen; the real port where 0 was asked for.
    pub address: SocketAddr,
    threads: Vec<thread::JoinHandle<()>>,
    /// The threads' sockets once more, for a successor.
    sockets: Vec<std::net::TcpListener>,
}

impl Edge {
    /// Binds every listener, then starts the threads: once this returns, connections are answered. `inherited` are the
    /// sockets of a predecessor; what waits in their queues is answered here.
    pub fn start(
        app: &App,
        listen: SocketAddr,
        inherited: Vec<std::net::TcpListener>,
        tls: Option<&Tls>,
    ) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = match usize::try_from(app.config().server.threads).unwrap_or(0) {
            0 => cores,
            asked => asked.min(1024),
        };
        let mut listeners = inherited;
        if listeners.is_empty() {
            listeners.push(bind(listen)?);
        }
        let address = listeners[0].local_addr()?;
        while listeners.len() < count {
            listeners.push(bind(address)?);
        }
        let sockets = listeners.iter().map(std::net::TcpListener::try_clone).collect::<io::Result<_>>()?;
        // A predecessor with more threads leaves more sockets: none of them may be closed, connections wait in each.
        let mut shares: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
        for (index, listener) in listeners.into_iter().enumerate() {
            listener.set_nonblocking(true)?;
            shares[index % count].push(listener);
        }
        let threads = shares
            .into_iter()
            .enumerate()
            .map(|(index, share)| {
                let (app, tls) = (app.clone(), tls.cloned());
                let core = Core::new(&app).map_err(io::Error::other)?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                thread::Builder::new()
                    .name(format!("edge-{index}"))
                    // A request's whole way is one future, which unoptimised code moves about on the stack. Only what is
                    // used of it becomes memory.
                    .stack_size(STACK)
                    .spawn(move || runtime.block_on(serve(&app, core, share, tls)))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { address, threads, sockets })
    }

    /// The sockets, for a successor that goes on with them.
    pub fn sockets(&self) -> io::Result<Vec<std::net::TcpListener>> {
        self.sockets.iter().map(std::net::TcpListener::try_clone).collect()
    }

    /// Waits for every thread to end, which they do after [`crate::state::AppState::shutdown`]. Blocks.
    pub fn join(self) {
        // A socket nobody has any more refuses connections; kept open here it would let them wait for nothing.
        drop(self.sockets);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a data-plane thread panicked");
            }
        }
    }
}

/// A listener that others may listen beside.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// One thread's life.
async fn serve(app: &App, core: Arc<Core>, listeners: Vec<std::net::TcpListener>, tls: Option<Tls>) {
    let drain = Duration::from_secs(app.config().server.drain_seconds);
    let most = usize::try_from(app.config().server.max_connections_per_thread).unwrap_or(16_384);
    let places = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
    let protocols = Arc::new(Protocols::new(&app.config(), Arc::new(router::router(app)), tls));
    let connections = TaskTracker::new();
    let accepting = TaskTracker::new();
    for listener in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let (core, places, protocols) = (core.clone(), places.clone(), protocols.clone());
                accepting.spawn(accept(core, listener, places, protocols, connections.clone()));
            }
            Err(error) => tracing::error!(%error, "a listener could not be used"),
        }
    }
    accepting.close();
    let ended = async {
        accepting.wait().await;
        connections.close();
        if tokio::time::timeout(drain, connections.wait()).await.is_err() {
            tracing::warn!("requests were still running when the time to drain was over");
        }
    };
    let ticks = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            core.log.tick();
            core.usage.tick();
        }
    };
    tokio::select! {
        () = ended => {
            core.log.tick();
            core.usage.hand_over();
        }
        () = ticks => {}
    }
}

/// Takes connections until shutdown, each once there is a place for it.
async fn accept(
    core: Arc<Core>,
    listener: TcpListener,
    places: Arc<Semaphore>,
    protocols: Arc<Protocols>,
    connections: TaskTracker,
) {
    let closing = core.app.closing.clone();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &places) => accepted,
            () = closing.cancelled() => return,
        };
        match accepted {
            Ok((stream, address, place)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                let (core, protocols) = (core.clone(), protocols.clone());
                connections.spawn(async move {
                    connection::serve(core, &protocols, stream, address).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: waiting lets some come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The next connection, once there is a place for it.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, place))
}
