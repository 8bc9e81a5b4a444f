//! Which certificates are trusted: those of the operating system, or of `SSL_CERT_FILE`. The cryptography is ring's.

use crate::{ClientError, Result};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use std::sync::Arc;

/// The TLS settings for `https`, or ones that trust nobody: plain `http` needs none, and must not fail or wait for
/// certificates it does not use.
pub(crate) fn config(https: bool) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    if https {
        // A certificate that cannot be read is not trusted; what counts is whether any remain.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(ClientError::Setup {
                reason: "this system has no trusted certificates; install `ca-certificates`, or name a file in \
                         `SSL_CERT_FILE`"
                    .to_owned(),
            });
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Setup { reason: error.to_string() })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
