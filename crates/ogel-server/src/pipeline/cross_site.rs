//! Requests with a cookie that change something, or open a stream, must come from our own pages or from pages of an
//! origin in `server.allowed_origins`.
//!
//! `Sec-Fetch-Site` says so in today's browsers; older ones send `Origin`. A request with neither proves nothing, and is
//! refused. Bearer tokens are exempt: no browser sends them by itself.

use super::RequestContext;
use crate::{
    config::Config,
    error::{Failure, Result},
    state::App,
};
use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, header, uri::Authority},
};
use ogel_api::error::ErrorCode;

/// Errors: a request with a cookie that changes something and may come from another site's page.
pub(super) fn refuse_cross_site(context: &RequestContext, request: &Request) -> Result<()> {
    if context.by_cookie { refuse_foreign(&context.core.app, request) } else { Ok(()) }
}

/// The same whether or not there is a cookie: a page of another site must not log somebody in here either.
pub(crate) fn refuse_foreign(app: &App, request: &Request) -> Result<()> {
    let changes = !request.method().is_safe() || request.headers().contains_key(header::UPGRADE);
    if !changes || is_ours(request, &app.config()) {
        return Ok(());
    }
    let message = "a page of another site may not do this with your cookie; a program sends `Authorization: Bearer` \
                   instead, or says with `Origin` that it is one of `server.allowed_origins`";
    Err(Failure::new(ErrorCode::CrossSiteRequest, message))
}

fn is_ours(request: &Request, config: &Config) -> bool {
    let text = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let origin = text(header::ORIGIN);
    if origin.is_some_and(|origin| config.server.allowed_origins.iter().any(|known| known == origin)) {
        return true;
    }
    // The browser's own word, which no page can change.
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let Some(origin) = origin else { return false };
    let public = config.server.public_url.trim_end_matches('/');
    if !public.is_empty() {
        return origin == public;
    }
    // HTTP/2 has the host in the target.
    let host = text(header::HOST).or_else(|| request.uri().authority().map(Authority::as_str));
    origin.split_once("://").is_some_and(|(_, named)| Some(named) == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_and_allowed_origins_pass() {
        let mut config = Config::default();
        config.server.allowed_origins = vec!["https://studio.example".to_owned()];
        let cases: [(&[(&str, &str)], bool); 12] = [
            (&[("origin", "https://api.example")], true),
            (&[("origin", "https://studio.example")], true),
            (&[("origin", "https://studio.example"), ("sec-fetch-site", "same-site")], true),
            (&[("origin", "https://evil.example")], false),
            (&[("origin", "https://api.example.evil.example")], false),
            (&[("origin", "null")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            // The same host over http is another origin, and the browser knows.
            (&[("origin", "http://api.example"), ("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[], false),
        ];
        for (pairs, expected) in cases {
            let mut request = Request::new(axum::body::Body::empty());
            request.headers_mut().insert("host", HeaderValue::from_static("api.example"));
            for (name, value) in pairs {
                request.headers_mut().insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_ours(&request, &config), expected, "{pairs:?}");
        }
    }

    #[test]
    fn behind_a_proxy_the_public_url_is_ours() {
        let mut config = Config::default();
        config.server.public_url = "https://api.example/".to_owned();
        let mut request = Request::new(axum::body::Body::empty());
        request.headers_mut().insert("host", HeaderValue::from_static("internal:8787"));
        for (origin, expected) in
            [("https://api.example", true), ("http://api.example", false), ("https://internal:8787", false)]
        {
            request.headers_mut().insert("origin", HeaderValue::from_static(origin));
            assert_eq!(is_ours(&request, &config), expected, "{origin}");
        }
    }
}
