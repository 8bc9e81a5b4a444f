//! TLS for the listener: certificate and key from PEM files that are read again when they change, so that a renewed
//! certificate is served to the next connection without a restart.

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tokio_rustls::TlsAcceptor;

/// The current certificate; clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Files>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<Loaded>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    changed: [Option<SystemTime>; 2],
}

impl Tls {
    /// Errors: a file that cannot be read, holds no certificate or key, or a key that is another certificate's.
    pub fn load(certificate: &Path, key: &Path) -> io::Result<Self> {
        let loaded = read(certificate, key)?;
        let files =
            Files { certificate: certificate.to_owned(), key: key.to_owned(), current: ArcSwap::from_pointee(loaded) };
        Ok(Self(Arc::new(files)))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current.load().config.clone())
    }

    /// Reads the files again if one has changed. Says whether there is a new certificate; an error leaves the old one.
    pub fn refresh(&self) -> io::Result<bool> {
        let changed = [modified(&self.0.certificate), modified(&self.0.key)];
        if changed == self.0.current.load().changed {
            return Ok(false);
        }
        self.0.current.store(Arc::new(read(&self.0.certificate, &self.0.key)?));
        Ok(true)
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn read(certificate: &Path, key: &Path) -> io::Result<Loaded> {
    // Before reading: a change in between is then noticed at the next look.
    let changed = [modified(certificate), modified(key)];
    let broken = |path: &Path, error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {error}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| broken(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| broken(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| broken(certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { config: Arc::new(config), changed })
}
