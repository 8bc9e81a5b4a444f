//! Our session's cookie: `__Host-` ties it to one https host; only a server on its user's own machine goes without.

use crate::config::Config;
use axum::http::{HeaderMap, HeaderValue, header};

const SECURE: &str = "__Host-ogel_session";
/// Browsers keep no `__Host-` cookie of an http page.
const PLAIN: &str = "ogel_session";

/// The one name under which this server sets and reads its cookie. Were both read, a cookie that another program on the
/// way or on a neighbouring host had planted under the weaker name would count as a login.
pub(crate) fn name(config: &Config, headers: &HeaderMap, is_tls: bool) -> &'static str {
    if is_https(config, headers, is_tls) { SECURE } else { PLAIN }
}

/// Everything but a loopback server is expected to be behind https.
pub(crate) fn is_https(config: &Config, headers: &HeaderMap, is_tls: bool) -> bool {
    let public = &config.server.public_url;
    if !public.is_empty() {
        return public.starts_with("https://");
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    is_tls || !(host == "localhost" || host.ends_with(".localhost") || host == "[::1]" || host.starts_with("127."))
}

/// The session's token among the cookies of a request. Two that differ are none: one of them was planted.
pub(crate) enum Found<'a> {
    Nothing,
    One(&'a str),
    Several,
}

pub(crate) fn find<'a>(config: &Config, headers: &'a HeaderMap, is_tls: bool) -> Found<'a> {
    let mut found = Found::Nothing;
    let mut wanted = None;
    for cookies in headers.get_all(header::COOKIE) {
        // A value is looked for as bytes: the line may hold other people's letters.
        for cookie in cookies.as_bytes().split(|byte| *byte == b';') {
            let Some((name, value)) = std::str::from_utf8(cookie).ok().and_then(|text| text.trim().split_once('='))
            else {
                continue;
            };
            if name != SECURE && name != PLAIN {
                continue;
            }
            if name != *wanted.get_or_insert_with(|| self::name(config, headers, is_tls)) {
                continue;
            }
            found = match found {
                Found::Nothing => Found::One(value),
                Found::One(other) if other == value => Found::One(value),
                Found::One(_) | Found::Several => Found::Several,
            };
        }
    }
    found
}

/// The header that sets it; no seconds, no cookie.
pub(crate) fn set(name: &str, token: &str, max_age_seconds: i64) -> HeaderValue {
    let secure = if name == SECURE { "; Secure" } else { "" };
    let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_seconds}{secure}");
    HeaderValue::from_str(&text).expect("names and tokens are plain ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &'static str, cookies: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
        }
        headers
    }

    #[test]
    fn only_the_cookie_that_this_server_sets_is_read() {
        let config = Config::default();
        let both = "a=b; ogel_session=plain; __Host-ogel_session=secure";
        let one = |host, is_tls| match find(&config, &headers(host, &[both]), is_tls) {
            Found::One(value) => value.to_owned(),
            _ => panic!("one is there"),
        };
        assert_eq!(one("api.example", false), "secure");
        assert_eq!(one("127.0.0.1:8787", false), "plain");
        assert_eq!(one("localhost:8787", true), "secure");
        let planted = headers("api.example", &["ogel_session=planted"]);
        assert!(matches!(find(&config, &planted, false), Found::Nothing));
    }

    #[test]
    fn two_that_differ_are_none() {
        let config = Config::default();
        let several = headers("localhost", &["ogel_session=a", "x=y; ogel_session=b"]);
        assert!(matches!(find(&config, &several, false), Found::Several));
        let same = headers("localhost", &["ogel_session=a; ogel_session=a"]);
        assert!(matches!(find(&config, &same, false), Found::One("a")));
    }
}
