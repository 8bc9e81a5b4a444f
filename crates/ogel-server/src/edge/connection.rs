//! One connection from its first byte to its last: TLS where there is a certificate, then HTTP/1.1 or HTTP/2 by what the
//! client speaks (ALPN, or the preface of prior knowledge in clear text).

use super::{
    Core, Counted, Peer, Tls,
    http1::{self, Answer, Rules, Socket},
    http2,
};
use crate::{pipeline, router::Router, settings::Settings};
use axum::body::Body;
use http::Request;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// How this thread speaks.
pub(super) struct Protocols {
    http2: h2::server::Builder,
    routes: Arc<Router>,
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
    pub(super) fn new(settings: &Settings, routes: Arc<Router>, tls: Option<Tls>) -> Self {
        let head = Duration::from_secs(settings.server.header_timeout_seconds.max(1));
        let stall = Duration::from_secs(settings.server.stall_timeout_seconds.max(1));
        Self { http2: http2::builder(), routes, tls, head, stall }
    }
}

/// Serves until the client leaves, or until shutdown has let it finish what it began. What a connection holds for a part
/// of its life only is boxed, because what is not it holds while it is idle.
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
        return speak(&core, protocols, &peer, stream, version).await;
    };
    Box::pin(serve_tls(&core, protocols, &peer, tls, stream)).await;
}

async fn serve_tls(core: &Arc<Core>, protocols: &Protocols, peer: &Arc<Peer>, tls: &Tls, stream: TcpStream) {
    match Box::pin(tokio::time::timeout(protocols.head, tls.acceptor().accept(stream))).await {
        Ok(Ok(stream)) => {
            let version = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Version::Http2,
                _ => Version::Http1,
            };
            // Moved a few times, and a future has room for each.
            speak(core, protocols, peer, Box::new(stream), version).await;
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

async fn speak<S>(core: &Arc<Core>, protocols: &Protocols, peer: &Arc<Peer>, stream: S, version: Version)
where
    S: Socket,
{
    match version {
        Version::Http1 => speak_http1(core, protocols, peer, stream).await,
        Version::Http2 => Box::pin(speak_http2(core, protocols, peer, stream)).await,
    }
}

async fn speak_http1<S: Socket>(core: &Arc<Core>, protocols: &Protocols, peer: &Arc<Peer>, stream: S) {
    let answer = |request| answer(core, protocols, peer, request);
    let rules = Rules { answer, head: protocols.head, stall: protocols.stall };
    http1::serve(core, peer, &rules, stream).await;
}

async fn speak_http2<S: Socket>(core: &Arc<Core>, protocols: &Protocols, peer: &Arc<Peer>, stream: S) {
    let answer = |request| answer(core, protocols, peer, request);
    let rules = Rules { answer, head: protocols.head, stall: protocols.stall };
    // A client that breaks off or sends no HTTP is its own business.
    if let Err(error) = http2::serve(core, &rules, &protocols.http2, stream).await {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Boxed per request, so that a connection does not hold room for one while it has none.
fn answer(core: &Arc<Core>, protocols: &Protocols, peer: &Arc<Peer>, mut request: Request<Body>) -> Answer {
    let (core, peer, routes) = (core.clone(), peer.clone(), protocols.routes.clone());
    Box::pin(async move { pipeline::live(&core, &peer, &routes, &mut request).await })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, F>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// All of it is moved to where it stays; what a step takes by value is in it twice.
    #[test]
    fn a_request_in_work_has_room_for_itself_once() {
        let size = size_of_future(pipeline::live);
        assert!(size <= 2688, "{size} bytes");
    }

    #[test]
    fn an_idle_connection_has_no_room_for_a_busy_one() {
        let size = size_of_future(serve);
        assert!(size <= 1536, "{size} bytes");
    }
}
