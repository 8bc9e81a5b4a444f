//! Posting to addresses that users chose. They may name anything, so every address is looked at after it was resolved, and
//! the connection goes to exactly the one that was looked at: a name that resolves to the public internet now and to our
//! own network a moment later gets nowhere. Redirects are not followed, answers are read to a small bound.

use crate::repository::is_private;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use url::{Host, Url};

/// How much of an answer is kept.
const SNIPPET: usize = 1024;
/// How much of it is read at most, so that a receiver that answers at length is not cut off for nothing.
const READ: usize = 64 << 10;
/// A longer URL is nobody's.
const LONGEST_URL: usize = 2000;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Seconds after which it wants to be asked again.
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: String,
}

/// What is posted.
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) timestamp: i64,
    pub(crate) signature: String,
    pub(crate) body: String,
}

/// Posts, over one client for all receivers. No connection is kept, so each attempt resolves and looks anew.
#[derive(Default)]
pub(crate) struct Receivers {
    allow_private: Arc<AtomicBool>,
    client: OnceLock<Result<reqwest::Client, String>>,
}

impl Receivers {
    /// The error is a sentence for the delivery's log.
    pub(crate) async fn post(
        &self,
        url: &str,
        message: Message,
        allow_private: bool,
        timeout: Duration,
    ) -> Result<Answer, String> {
        let url = check(url, allow_private)?;
        self.allow_private.store(allow_private, Ordering::Relaxed);
        let client = self.client.get_or_init(|| client(self.allow_private.clone())).as_ref().map_err(Clone::clone)?;
        let request = client
            .post(url)
            .timeout(timeout)
            .header("content-type", "application/json")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", message.signature)
            .body(message.body);
        let mut answer = request.send().await.map_err(|error| sentence(&error, timeout))?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let (mut body, mut read) = (Vec::new(), 0);
        // The status is the answer. A body that breaks off is kept as far as it came.
        while read < READ
            && let Ok(Some(piece)) = answer.chunk().await
        {
            read += piece.len();
            body.extend_from_slice(&piece[..piece.len().min(SNIPPET - body.len())]);
        }
        Ok(Answer { status, retry_after, body: String::from_utf8_lossy(&body).replace('\0', "\u{fffd}") })
    }
}

/// Whether events may be posted there, as far as that shows before its name is resolved; the error says why not.
pub(crate) fn check(text: &str, allow_private: bool) -> Result<Url, String> {
    if text.len() > LONGEST_URL {
        return Err(format!("it is longer than {LONGEST_URL} characters"));
    }
    let url = Url::parse(text).map_err(|_| "it is not a URL such as `https://example.com/hook`".to_owned())?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        "http" => return Err("it must be `https`, so that nobody on the way reads or changes what is told".to_owned()),
        scheme => return Err(format!("its scheme is `{scheme}`; it must be `https`")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it carries a user name or password; what we send is signed instead".to_owned());
    }
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => ip.into(),
        Some(Host::Ipv6(ip)) => ip.into(),
        Some(Host::Domain(_)) => return Ok(url),
        None => return Err("it has no host".to_owned()),
    };
    if !allow_private && is_private(ip) {
        return Err(PrivateAddress(ip.to_string()).to_string());
    }
    Ok(url)
}

/// A receiver that is not on the public internet.
#[derive(Debug, thiserror::Error)]
#[error("its host is at {0}, which is not on the public internet")]
struct PrivateAddress(String);

/// Resolves names to the addresses that may be connected to.
struct Guard(Arc<AtomicBool>);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.0.load(Ordering::Relaxed);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let found = admitted(found, allow_private)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// All of them or none: a name that stands for an address inside and one outside is up to something.
fn admitted(found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, PrivateAddress> {
    match found.iter().find(|address| !allow_private && is_private(address.ip())) {
        Some(address) => Err(PrivateAddress(address.ip().to_string())),
        None => Ok(found),
    }
}

fn client(allow_private: Arc<AtomicBool>) -> Result<reqwest::Client, String> {
    let tls = crate::outgoing::tls().map_err(|error| error.to_string())?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Guard(allow_private))
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .no_proxy()
        .user_agent(concat!("Ogel-Webhooks/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())
}

/// Why there was no answer, without the URL, which may hold a secret.
fn sentence(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", timeout.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
        if let Some(private) = cause.downcast_ref::<PrivateAddress>() {
            return private.to_string();
        }
    }
    let what = if error.is_connect() { "no connection" } else { "no answer" };
    format!("{what}: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_posted_to() {
        for url in [
            "https://127.0.0.1/x",
            "https://127.1/x",
            "https://0x7f000001/x",
            "https://0177.0.0.1/x",
            "https://2130706433/x",
            "https://0/x",
            "https://10.0.0.1/x",
            "https://192.168.1.1:8443/x",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/x",
            "https://[::1]/x",
            "https://[::ffff:10.0.0.1]/x",
            "https://[::ffff:a9fe:a9fe]/x",
            "https://[fd00:ec2::254]/x",
            "https://[64:ff9b::7f00:1]/x",
            "https://[2002:7f00:1::]/x",
            "https://[fe80::1]/x",
            "http://example.com/x",
            "ftp://example.com/x",
            "file:///etc/passwd",
            "https://ada:secret@example.com/x",
            "example.com",
            "",
        ] {
            assert!(check(url, false).is_err(), "{url}");
        }
        for url in ["https://example.com/hook?x=1", "https://8.8.8.8/x", "https://[2606:4700::1111]/x"] {
            assert!(check(url, false).is_ok(), "{url}");
        }
        assert!(check("http://127.0.0.1:3000/x", true).is_ok());
        assert!(check(&format!("https://example.com/{}", "x".repeat(LONGEST_URL)), false).is_err());
    }

    #[test]
    fn one_private_address_among_many_is_enough_to_refuse() {
        let found = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = found(&["93.184.216.34:0", "[::ffff:127.0.0.1]:0"]);
        assert!(admitted(mixed.clone(), false).is_err());
        assert_eq!(admitted(mixed.clone(), true).unwrap(), mixed);
        let public = found(&["93.184.216.34:0", "[2606:4700::1111]:0"]);
        assert_eq!(admitted(public.clone(), false).unwrap(), public);
    }
}
