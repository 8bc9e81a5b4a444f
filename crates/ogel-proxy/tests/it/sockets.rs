//! Real sockets: TLS, and connections kept on a runtime with several threads.

use crate::asking::{ask, get_of, single, until};
use bytes::Bytes;
use ogel_proxy::{Connector, Limits, Replay, Upstream, UpstreamError};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(include_bytes!("../fixtures/localhost.crt")).unwrap()
}

fn acceptor() -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../fixtures/localhost.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate()], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Answers every request (they have no bodies) until the other side is gone.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut read = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut read).await {
        if read.ends_with(b"\r\n\r\n") {
            read.clear();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").await.unwrap();
        }
    }
}

async fn start(tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => serve(stream).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream).await;
                        }
                    }
                }
            });
        }
    });
    port
}

async fn get(upstream: &Upstream) -> Result<Bytes, UpstreamError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let response = ask(upstream, &get_of("/"), until(deadline, Replay::BySafety)).await?;
    Ok(response.into_body())
}

fn upstream(url: &str, roots: RootCertStore) -> Upstream {
    single(url.parse().unwrap(), Connector::with_roots(roots).unwrap(), Limits::default()).unwrap()
}

#[tokio::test]
async fn a_trusted_certificate_is_accepted_and_an_unknown_or_foreign_one_is_not() {
    let port = start(Some(acceptor())).await;
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    let trusting = upstream(&format!("https://localhost:{port}"), roots.clone());
    for _ in 0..3 {
        assert_eq!(get(&trusting).await.unwrap(), "fine");
    }
    assert_eq!(trusting.connections_opened(), 1);
    for stranger in [
        upstream(&format!("https://localhost:{port}"), RootCertStore::empty()),
        upstream(&format!("https://127.0.0.1:{port}"), roots),
    ] {
        let error = get(&stranger).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Tls { .. }), "{error:?}");
        assert!(!error.may_have_been_processed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_few_connections() {
    let port = start(None).await;
    let upstream = upstream(&format!("http://127.0.0.1:{port}"), RootCertStore::empty());
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    assert_eq!(get(&upstream).await.unwrap(), "fine");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // A connection that is not free within the time it takes to be polled once more is replaced, hence the slack.
    assert!((1..=8).contains(&upstream.connections_opened()), "{} connections", upstream.connections_opened());
}

#[tokio::test]
async fn the_platform_s_certificates_can_be_loaded() {
    assert!(Connector::direct().is_ok());
}
