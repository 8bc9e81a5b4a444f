//! Webhooks: one attempt each, ten seconds, never retried, in order. Signed twice: Appwrite's
//! `X-Appwrite-Webhook-Signature` and the Standard Webhooks headers. A hint, never the only source: a full queue drops
//! (and says so in the log). Next: `state.rs`, which decides what is announced.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::RwLock;
use sha1::Sha1;
use sha2::Sha256;
use tokio::sync::mpsc;

use crate::config::Webhook;
use crate::error::StartError;
use crate::faults::Delivery;
use crate::state::App;

const QUEUED: usize = 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

struct Event {
    id: String,
    body: String,
}

/// The end events are put in, and where they go, which may be said while they come.
pub(crate) struct Webhooks {
    queue: mpsc::Sender<Event>,
    target: RwLock<Option<Arc<Target>>>,
}

/// Where events are posted, and over what.
pub(crate) struct Target {
    webhook: Webhook,
    client: reqwest::Client,
}

/// The end they are delivered from.
pub(crate) struct Outgoing(mpsc::Receiver<Event>);

pub(crate) fn queue() -> (Webhooks, Outgoing) {
    let (sender, receiver) = mpsc::channel(QUEUED);
    (Webhooks { queue: sender, target: RwLock::default() }, Outgoing(receiver))
}

impl Webhooks {
    /// Events from now on go there. Errors: the URL is none that can be posted to.
    pub(crate) fn set_target(&self, webhook: Webhook) -> Result<(), StartError> {
        let client = client(&webhook)?;
        *self.target.write() = Some(Arc::new(Target { webhook, client }));
        Ok(())
    }

    pub(crate) fn has_target(&self) -> bool {
        self.target.read().is_some()
    }

    pub(crate) fn enqueue(&self, id: String, body: String) {
        if self.queue.try_send(Event { id, body }).is_err() {
            tracing::warn!("webhook dropped: too many wait to be delivered");
        }
    }
}

/// A client for the webhook's URL. The certificate store is read only if the URL is `https`.
fn client(webhook: &Webhook) -> Result<reqwest::Client, StartError> {
    let wrong = |reason: String| StartError::Setting { name: "webhook.url", reason };
    let url = url::Url::parse(&webhook.url).map_err(|error| wrong(error.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    match url.scheme() {
        "http" => {}
        "https" => {
            let (_, _ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        scheme => return Err(wrong(format!("the scheme `{scheme}` is not http or https"))),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| wrong(error.to_string()))
}

/// Delivers until the process ends. Without a webhook it only keeps the queue empty.
pub(crate) async fn deliver(app: Arc<App>, mut outgoing: Outgoing) {
    // What a fault holds back until the next one has gone.
    let mut late: Option<Event> = None;
    loop {
        let event = tokio::select! {
            () = app.stop.cancelled() => return,
            event = outgoing.0.recv() => event,
        };
        let Some(event) = event else { return };
        let target = app.webhooks.target.read().clone();
        let Some(target) = target else { continue };
        let times = match app.faults.take_webhook() {
            Delivery::Never => 0,
            Delivery::Once => 1,
            Delivery::Twice => 2,
            Delivery::Late if late.is_none() => {
                late = Some(event);
                continue;
            }
            Delivery::Late => 1,
        };
        let held = late.take();
        for event in std::iter::repeat_n(&event, times).chain(&held) {
            tokio::select! {
                () = app.stop.cancelled() => return,
                () = post(&app, &target, event) => {}
            }
        }
    }
}

async fn post(app: &App, Target { webhook, client }: &Target, event: &Event) {
    let timestamp = app.now().timestamp().to_string();
    let request = client
        .post(&webhook.url)
        .header("content-type", "application/json")
        .header("user-agent", concat!("ogel-ghost-local/", env!("CARGO_PKG_VERSION")))
        .header("x-appwrite-webhook-signature", appwrite_signature(webhook, &event.body))
        .header("webhook-id", &event.id)
        .header("webhook-timestamp", &timestamp)
        .header("webhook-signature", standard_signature(webhook, &event.id, &timestamp, &event.body))
        .body(event.body.clone());
    match request.send().await {
        Ok(answer) if answer.status().is_success() => {}
        Ok(answer) => tracing::warn!(webhook.status = answer.status().as_u16(), "webhook was refused"),
        Err(error) => tracing::warn!(%error, "webhook could not be delivered"),
    }
}

/// base64(HMAC-SHA1(secret, url + body)), as Appwrite does.
fn appwrite_signature(webhook: &Webhook, body: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(webhook.secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(webhook.url.as_bytes());
    mac.update(body.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// `v1,` + base64(HMAC-SHA256(key, id.timestamp.body)), as <https://www.standardwebhooks.com> says.
fn standard_signature(webhook: &Webhook, id: &str, timestamp: &str, body: &str) -> String {
    let encoded = webhook.secret.strip_prefix("whsec_").and_then(|rest| STANDARD.decode(rest).ok());
    let key = encoded.unwrap_or_else(|| webhook.secret.clone().into_bytes());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_signature_matches_the_published_vector() {
        let webhook = Webhook { url: String::new(), secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned() };
        let signature =
            standard_signature(&webhook, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
