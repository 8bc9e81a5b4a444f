//! One connection from its first byte to its last: TLS where there is a certificate, then HTTP/1.1 or HTTP/2 by what the
//! client speaks (ALPN, or the preface of prior knowledge in clear text).

use super::{Core, Counted, Peer, Tls, stall::Watched};
use crate::{pipeline, settings::Settings};
use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// Bytes of a request head. hyper answers 431 once it has read so many, which it may do up to one read later, and to more
/// than 100 header fields: its own default, which unlike any number said here costs no allocation.
const MAX_HEAD: usize = 32 << 10;
/// Requests one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 128;

/// How this thread speaks.
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    routes: Router,
    tls: Option<Tls>,
    /// For a request head, and for what comes before the first one.
    head: Duration,
    stall: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

impl Protocols {
    pub(super) fn new(settings: &Settings, routes: Router, tls: Option<Tls>) -> Self {
        let head = Duration::from_secs(settings.server.header_timeout_seconds.max(1));
        let mut http1 = http1::Builder::new();
        // Without a timer hyper waits for a request head for ever.
        http1.timer(TokioTimer::new()).header_read_timeout(head).max_buf_size(MAX_HEAD);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        let stall = Duration::from_secs(settings.server.stall_timeout_seconds.max(1));
        Self { http1, http2, routes, tls, head, stall }
    }
}

/// Serves until the client leaves, or until shutdown has let it finish what it began.
pub(super) async fn serve(core: Arc<Core>, protocols: &Protocols, stream: TcpStream, address: SocketAddr) {
    core.counters.connections_opened.add(1);
    let _open = Counted::new(&core.counters.connections);
    let peer = Arc::new(Peer::new(&core.app, address.ip(), protocols.tls.is_some()));
    let Some(tls) = &protocols.tls else {
        let version = tokio::select! {
            version = tokio::time::timeout(protocols.head, version_of(&stream)) => version,
            () = core.app.shutdown.cancelled() => return,
        };
        // Too slow, or gone already: nothing was asked.
        let Ok(Ok(version)) = version else { return };
        return speak(&core, protocols, peer, stream, version).await;
    };
    match tokio::time::timeout(protocols.head, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => {
            let version = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Version::Http2,
                _ => Version::Http1,
            };
            speak(&core, protocols, peer, stream, version).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// Which version a client in clear text speaks, from its first bytes, which stay where they are.
async fn version_of(stream: &TcpStream) -> io::Result<Version> {
    const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if seen[..count] != PREFACE[..count] {
            return Ok(Version::Http1);
        }
        if count == PREFACE.len() {
            return Ok(Version::Http2);
        }
        // A piece of the preface: rare enough to look again in a moment.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn speak<S>(core: &Arc<Core>, protocols: &Protocols, peer: Arc<Peer>, stream: S, version: Version)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (core, peer, routes) = (core.clone(), peer.clone(), protocols.routes.clone());
        // Boxed per request, so that an idle connection does not hold room for one.
        Box::pin(async move { Ok::<_, Infallible>(pipeline::live(&core, &peer, &routes, request).await) })
    });
    let stream = TokioIo::new(Watched::new(stream, protocols.stall));
    let shutdown = core.app.shutdown.cancelled();
    let ended = match version {
        Version::Http1 => {
            let mut connection = pin!(protocols.http1.serve_connection(stream, service).with_upgrades());
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Version::Http2 => {
            let mut connection = pin!(protocols.http2.serve_connection(stream, service));
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    // A client that breaks off or sends no HTTP is its own business.
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}
