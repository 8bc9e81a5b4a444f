//! Requests with a cookie that change something, or open a stream, must come from our own pages.
//!
//! `Sec-Fetch-Site` says so in today's browsers; older ones send `Origin`. Bearer tokens are exempt: no browser sends
//! them by itself.

use super::RequestContext;
use crate::{
    error::{Failure, Result},
    state::App,
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Response, header},
    middleware::Next,
    response::IntoResponse as _,
};
use ogel_api::error::ErrorCode;

pub(crate) async fn refuse_cross_site(State(app): State<App>, request: Request, next: Next) -> Response<Body> {
    let by_cookie = request.extensions().get::<RequestContext>().is_some_and(|context| context.by_cookie);
    if by_cookie && let Err(failure) = refuse_foreign(&app, &request) {
        return failure.into_response();
    }
    next.run(request).await
}

/// Errors: a request with a cookie that changes something and comes from another site's page.
pub(crate) fn refuse_foreign(app: &App, request: &Request) -> Result<()> {
    let changes = !request.method().is_safe() || request.headers().contains_key(header::UPGRADE);
    if !changes || is_ours(request.headers(), &app.config().server.allowed_origins) {
        return Ok(());
    }
    let message = "a page of another site may not do this with your cookie; send `Authorization: Bearer` instead";
    Err(Failure::new(ErrorCode::CrossSiteRequest, message))
}

fn is_ours(headers: &HeaderMap, allowed: &[String]) -> bool {
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    if let Some(origin) = text(header::ORIGIN) {
        let same_host = origin.split_once("://").map(|(_, host)| host) == text(header::HOST);
        return same_host || allowed.iter().any(|known| known == origin);
    }
    // Neither header: not a browser, or one that asked for the page itself.
    matches!(text(header::HeaderName::from_static("sec-fetch-site")), None | Some("same-origin" | "none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_origins_are_refused_unless_allowed() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        let allowed = ["https://studio.example".to_owned()];
        let cases: [(&[(&str, &str)], bool); 7] = [
            (&[("host", "api.example"), ("origin", "https://api.example")], true),
            (&[("host", "api.example"), ("origin", "https://studio.example")], true),
            (&[("host", "api.example"), ("origin", "https://evil.example")], false),
            (&[("host", "api.example"), ("origin", "null")], false),
            (&[("host", "api.example"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "api.example"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "api.example")], true),
        ];
        for (pairs, expected) in cases {
            assert_eq!(is_ours(&headers(pairs), &allowed), expected, "{pairs:?}");
        }
    }
}
