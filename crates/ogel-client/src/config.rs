//! What a client is told at its start: the server, the credential, and how patient to be.

use crate::{ClientError, Result};
use std::{pin::Pin, sync::Arc, time::Duration};
use url::Url;

/// Finds a fresh token in place of a refused one; `None` if there is none to be had.
pub type Renew = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Option<String>> + Send>> + Send + Sync>;

/// How to reach the API. Start from [`ClientConfig::new`] and change what differs.
#[derive(Clone)]
pub struct ClientConfig {
    /// `http://` or `https://`, with or without `/api/v2`.
    pub base_url: String,
    /// A session token or an API key, sent as `Authorization: Bearer`. Sent over plain `http` as well: the caller
    /// decides whether that is acceptable.
    pub token: Option<String>,
    /// Asked for another token when the server refuses the one that was sent, which it is given.
    pub renew: Option<Renew>,
    /// Sent as `User-Agent`.
    pub user_agent: String,
    /// How long one attempt may take, answer included. A call with all its repetitions takes at most twice as long.
    pub timeout: Duration,
    /// How often a failed request may be repeated, where that is safe; 0 means never.
    pub max_retries: u32,
    /// How long a log stream tries to get back to a server that gives it nothing new.
    pub stream_patience: Duration,
}

impl ClientConfig {
    /// No credential, 30 s for an attempt, two repetitions, 30 s of patience with streams.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            token: None,
            renew: None,
            user_agent: concat!("ogel-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Duration::from_secs(30),
            max_retries: 2,
            stream_patience: Duration::from_secs(30),
        }
    }
}

// By hand, because the credential must not end up in a log.
impl std::fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientConfig")
            .field("base_url", &self.base_url)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("user_agent", &self.user_agent)
            .field("timeout", &self.timeout)
            .field("max_retries", &self.max_retries)
            .field("stream_patience", &self.stream_patience)
            .finish()
    }
}

/// Which page of a list.
#[derive(Clone, Debug, Default)]
pub struct PageQuery {
    /// `pagination.nextCursor` of the page before; the first page when `None`.
    pub cursor: Option<String>,
    /// 1 to 100 rows; 20 when `None`.
    pub limit: Option<u32>,
}

impl PageQuery {
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = Vec::new();
        pairs.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        pairs.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        pairs
    }
}

/// The URL that every operation's path is appended to: ends with `/api/v2/`.
pub(crate) fn api_base(given: &str) -> Result<Url> {
    let refuse = |reason: &str| ClientError::InvalidUrl { url: given.to_owned(), reason: reason.to_owned() };
    let mut url = Url::parse(given.trim()).map_err(|_| refuse("write it as `https://api.example.com`"))?;
    // `localhost:8787` parses as a URL with the scheme `localhost`.
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(refuse("it must start with `http://` or `https://`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ClientError::InvalidUrl {
            url: url.host_str().unwrap_or_default().to_owned(),
            reason: "it must not carry a user name or password".to_owned(),
        });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it must not have a query or a fragment"));
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix(ogel_api::BASE_PATH).unwrap_or(path);
    url.set_path(&format!("{path}{}/", ogel_api::BASE_PATH));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_may_come_with_or_without_the_api_path() {
        for given in ["http://h:1", "http://h:1/", "http://h:1/api/v2", " http://h:1/api/v2/ "] {
            assert_eq!(api_base(given).unwrap().as_str(), "http://h:1/api/v2/", "{given}");
        }
        assert_eq!(api_base("https://h/studio").unwrap().as_str(), "https://h/studio/api/v2/");
    }

    #[test]
    fn what_is_not_a_web_address_is_refused_with_the_form_it_should_have() {
        for given in ["", "localhost:8787", "h", "ftp://h", "http://h?x=1", "http://h#x"] {
            assert!(matches!(api_base(given), Err(ClientError::InvalidUrl { .. })), "{given}");
        }
        let error = api_base("http://me:hunter2@h").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_credential_is_not_printed() {
        let config = ClientConfig { token: Some("ogel_secret".to_owned()), ..ClientConfig::new("http://h") };
        assert!(!format!("{config:?}").contains("ogel_secret"));
    }
}
