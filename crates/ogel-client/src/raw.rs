//! Any operation by method and path, its answer as it came: for what has no method here yet.

use crate::{
    Client, ClientError, Result,
    transport::{Answer, Call},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

/// An answer as it came, whatever its status.
#[derive(Clone, Debug)]
pub struct RawResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl RawResponse {
    /// The failure that its status stands for, `None` for a success.
    pub fn failure(&self, client: &Client) -> Option<ClientError> {
        let Self { status, headers, body } = self.clone();
        Answer { status, headers, body }.failure(&client.inner.server)
    }
}

impl Client {
    /// Sends `body` (JSON) to `path`, which may have a query and may start with `/` or `/api/v2`. Repeats and keys
    /// requests like every other method. Errors: not for error statuses, only when there is no answer, and
    /// `InvalidUrl` for a path outside the API, which must not see the credential.
    pub async fn raw(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<RawResponse> {
        let answer = self.send(&Call { method, url: self.raw_url(path)?, body }).await?;
        Ok(RawResponse { status: answer.status, headers: answer.headers, body: answer.body })
    }

    fn raw_url(&self, path: &str) -> Result<Url> {
        let refuse = || ClientError::InvalidUrl {
            url: path.to_owned(),
            reason: "write the path of an operation, like `deployments?limit=5`".to_owned(),
        };
        if path.split('?').next().is_some_and(|path| path.contains("://")) {
            return Err(refuse());
        }
        let base = self.base_url();
        let relative = path.trim_start_matches('/');
        let relative = match relative.strip_prefix("api/v2") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            _ => relative,
        };
        let url = Url::parse(&format!("{base}{relative}")).map_err(|_| refuse())?;
        if url.origin() != base.origin() || !url.path().starts_with(base.path()) {
            return Err(refuse());
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClientConfig;

    #[test]
    fn paths_stay_inside_the_api() {
        let client = Client::new(ClientConfig::new("http://h")).unwrap();
        for path in ["users/me", "/users/me", "/api/v2/users/me"] {
            assert_eq!(client.raw_url(path).unwrap().as_str(), "http://h/api/v2/users/me", "{path}");
        }
        assert_eq!(client.raw_url("x?url=https://a/b").unwrap().query(), Some("url=https://a/b"));
        for path in ["../../metrics", "/api/v2/../v1", "http://evil.example/x", "%2e%2e/x"] {
            assert!(client.raw_url(path).is_err(), "{path}");
        }
    }
}
