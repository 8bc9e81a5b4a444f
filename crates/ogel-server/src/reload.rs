//! Changes while serving: SIGHUP, or a configuration file or certificate that changed, is read and swapped in as a whole.
//! No connection notices. What cannot be used is logged, and what was there stays.

use crate::{
    access_log::Destination,
    config::Config,
    edge::Tls,
    run::{Origin, Running},
    state::App,
};
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};

/// How soon a changed file is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Never ends.
pub(crate) async fn watch(app: &App, running: &Running, origin: &Origin) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "SIGHUP cannot be listened for; the configuration is not read again");
            return std::future::pending().await;
        }
    };
    let mut known = modified(origin);
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let now = modified(origin);
        if asked || now != known {
            known = now;
            reload(app, origin);
        }
        match running.tls.as_ref().map(Tls::refresh) {
            Some(Ok(true)) => tracing::info!("a new certificate is served from now on"),
            Some(Err(error)) => {
                tracing::error!(%error, "the certificate cannot be read again; the old one is served on")
            }
            Some(Ok(false)) | None => {}
        }
    }
}

fn modified(origin: &Origin) -> Option<SystemTime> {
    std::fs::metadata(origin.file.as_ref()?).and_then(|data| data.modified()).ok()
}

fn reload(app: &App, origin: &Origin) {
    let read = Config::load(origin.file.as_deref(), &origin.variable).and_then(|config| {
        config.check()?;
        Ok(config)
    });
    let config = match read {
        Ok(config) => config,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "the configuration cannot be used; the one before stays");
            return;
        }
    };
    if let Err(error) = (origin.set_filter)(&config.log.filter) {
        tracing::error!(error, "`log.filter` cannot be used; what was logged before still is");
    }
    // Also when nothing changed: after a rotation the file of this name is another one.
    app.access_log.reopen(Destination::parse(&config.log.access));
    let pending = app.reconfigure(config);
    if pending.is_empty() {
        tracing::info!("configuration read again");
    } else {
        tracing::warn!(pending = pending.join(", "), "configuration read again; some of it shows after a restart only");
    }
}
