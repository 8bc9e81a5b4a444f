//! Opening a connection: TCP, and TLS where the scheme asks for it. Behind a trait, so that a test can put a slow,
//! broken or absent network in its place. Refuses to pick a TLS provider from process-wide state: ring is named here.
//! Next: `pool.rs`, which keeps what was opened.

use crate::error::{ConnectReason, UpstreamError};
use http::Uri;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// A future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection. Plain TCP, which most traffic goes over, is known to the compiler; the rest is behind a pointer.
pub enum Stream {
    Plain(TcpStream),
    Boxed(Box<dyn Io>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Boxed(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Boxed(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Boxed(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Boxed(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Boxed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Boxed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Opens byte streams. Dropping the future must abandon the attempt.
pub trait Connect: Send + Sync {
    fn connect<'a>(&'a self, host: &'a str, port: u16, tls: bool) -> BoxFuture<'a, io::Result<Box<dyn Io>>>;
}

/// Opens connections; a clone is a reference count.
#[derive(Clone)]
pub struct Connector(Way);

#[derive(Clone)]
enum Way {
    Direct(Arc<Direct>),
    Custom(Arc<dyn Connect>),
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// TCP and TLS, trusting what the platform trusts. Reading the platform's certificates touches the disk: build one
    /// at the start and clone it. Errors: TLS cannot be set up at all.
    pub fn direct() -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a platform certificate could not be read");
        }
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, "platform certificates loaded");
        Self::with_roots(roots)
    }

    /// TCP and TLS, trusting only these roots.
    pub fn with_roots(roots: RootCertStore) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = versions.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Way::Direct(Arc::new(Direct { tls: TlsConnector::from(Arc::new(config)) }))))
    }

    /// Whatever `connect` opens.
    pub fn custom(connect: Arc<dyn Connect>) -> Self {
        Self(Way::Custom(connect))
    }

    /// Opens a connection to the host of `uri`, within `limit`. `https` and `wss` mean TLS.
    pub async fn open(&self, uri: &Uri, limit: Duration) -> Result<Stream, UpstreamError> {
        let missing =
            || UpstreamError::protocol(io::Error::new(io::ErrorKind::InvalidInput, "the upstream has no host"));
        let tls = matches!(uri.scheme_str(), Some("https" | "wss"));
        // A literal IPv6 address stands in brackets in a URI and without them everywhere else.
        let host = uri.host().ok_or_else(missing)?.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let connect = async {
            match &self.0 {
                Way::Direct(direct) => direct.connect(host, port, tls).await,
                Way::Custom(custom) => custom.connect(host, port, tls).await.map(Stream::Boxed),
            }
        };
        match timeout(limit, connect).await {
            Err(_) => Err(UpstreamError::ConnectTimeout),
            Ok(Ok(io)) => Ok(io),
            Ok(Err(error)) => Err(classify(error)),
        }
    }
}

fn classify(error: io::Error) -> UpstreamError {
    if let Some(Stage::Tls(_)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return UpstreamError::Tls { source: error };
    }
    let reason = match (error.get_ref().and_then(|inner| inner.downcast_ref()), error.kind()) {
        (Some(Stage::Dns(_)), _) => ConnectReason::Dns,
        (_, io::ErrorKind::ConnectionRefused) => ConnectReason::Refused,
        (_, io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => ConnectReason::Unreachable,
        (_, io::ErrorKind::TimedOut) => return UpstreamError::ConnectTimeout,
        _ => ConnectReason::Other,
    };
    UpstreamError::Connect { reason, source: error }
}

/// Where it failed, carried inside the `io::Error` that [`Connect`] returns.
#[derive(Debug, thiserror::Error)]
enum Stage {
    #[error("the name could not be resolved")]
    Dns(#[source] io::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
}

struct Direct {
    tls: TlsConnector,
}

impl Direct {
    async fn connect(&self, host: &str, port: u16, tls: bool) -> io::Result<Stream> {
        let resolved = tokio::net::lookup_host((host, port)).await.map_err(|e| io::Error::other(Stage::Dns(e)))?;
        // Resolved in order: a name with a dead IPv6 address still reaches its IPv4 one if refusal is quick, and the
        // connect timeout covers the case where it is not.
        let addresses: Vec<_> = resolved.collect();
        let stream = TcpStream::connect(addresses.as_slice()).await?;
        stream.set_nodelay(true)?;
        if !tls {
            return Ok(Stream::Plain(stream));
        }
        let failed = |error| io::Error::other(Stage::Tls(error));
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(io::Error::other(error)))?;
        let stream = self.tls.connect(name, stream).await.map_err(failed)?;
        Ok(Stream::Boxed(Box::new(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    fn connector() -> Connector {
        Connector::with_roots(RootCertStore::empty()).unwrap()
    }

    async fn open(uri: &str) -> Result<Stream, UpstreamError> {
        connector().open(&uri.parse().unwrap(), Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_and_certainly_unprocessed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = open(&format!("http://127.0.0.1:{port}")).await.err().unwrap();
        assert!(matches!(error, UpstreamError::Connect { reason: ConnectReason::Refused, .. }), "{error:?}");
        assert!(!error.may_have_been_processed());
    }

    #[tokio::test]
    async fn an_unknown_name_is_a_dns_failure() {
        let error = open("http://no-such-host.invalid").await.err().unwrap();
        assert!(matches!(error, UpstreamError::Connect { reason: ConnectReason::Dns, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_tls_is_a_tls_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        };
        let url = format!("https://127.0.0.1:{port}");
        let (error, _stream) = tokio::join!(open(&url), server);
        let error = error.err().unwrap();
        assert!(matches!(error, UpstreamError::Tls { .. }), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_never_opens_times_out() {
        struct Never;
        impl Connect for Never {
            fn connect<'a>(&'a self, _: &'a str, _: u16, _: bool) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
                Box::pin(std::future::pending())
            }
        }
        let connector = Connector::custom(Arc::new(Never));
        let error = connector.open(&"http://h".parse().unwrap(), Duration::from_secs(3)).await.err().unwrap();
        assert!(matches!(error, UpstreamError::ConnectTimeout));
    }
}
