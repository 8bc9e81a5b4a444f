//! Which host and path a request means: one that a router and a backend could read differently is refused, never
//! repaired.

use crate::error::{Failure, Result};
use http::{Request, Version, header, uri::Authority};
use ogel_api::error::ErrorCode;

/// Errors: `INVALID_REQUEST` for the host, `INVALID_PATH` for the path.
pub(crate) fn refuse_ambiguous<B>(request: &Request<B>) -> Result<()> {
    check_host(request).map_err(|problem| Failure::new(ErrorCode::InvalidRequest, problem))?;
    match ogel_proxy::canonical_path(request.uri().path()) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Failure::new(ErrorCode::InvalidPath, format!("the path is refused: {error}; send it plainly")))
        }
    }
}

/// RFC 9112 3.2: exactly one `Host`, and a target that names a host names the same one.
fn check_host<B>(request: &Request<B>) -> std::result::Result<(), &'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("the request has two `Host` headers; send one");
    }
    let host = match host {
        None if request.version() == Version::HTTP_11 => return Err("the request has no `Host` header; send it"),
        None => None,
        Some(host) => {
            let plain = std::str::from_utf8(host.as_bytes()).ok().filter(|host| is_host(host));
            Some(plain.ok_or("the `Host` header is not a host; send `name` or `name:port`")?)
        }
    };
    match (request.uri().authority().map(Authority::as_str), host) {
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => {
            Err("the request's target names another host than its `Host` header; send one of them")
        }
        (Some(named), None) if !is_host(named) => Err("the request's target does not name a plain host"),
        _ => Ok(()),
    }
}

/// A name or an address, with a port perhaps; nothing that could hold a user, a path or a second header.
fn is_host(text: &str) -> bool {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_is_fine = port.strip_prefix(':').map_or(port.is_empty(), |port| port.parse::<u16>().is_ok());
    !name.is_empty() && name.len() <= 253 && name.bytes().all(name_byte) && port_is_fine
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, hosts: &[&str], version: Version) -> Option<ErrorCode> {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        refuse_ambiguous(&request.body(()).unwrap()).err().map(|failure| failure.code())
    }

    #[test]
    fn one_plain_host_is_needed() {
        let one = |host| check("/a", &[host], Version::HTTP_11);
        for fine in ["api.example", "127.0.0.1:8787", "[::1]:80", "[::1]", "a-b_c.d:1"] {
            assert_eq!(one(fine), None, "{fine}");
        }
        for bad in ["", "u@api.example", "a/b", "a b", "a:b", "a:99999", "[::1", "[x]:1", ":80", "a,b", "[::1]x"] {
            assert_eq!(one(bad), Some(ErrorCode::InvalidRequest), "{bad}");
        }
        assert_eq!(check("/a", &[], Version::HTTP_11), Some(ErrorCode::InvalidRequest));
        assert_eq!(check("/a", &["a", "a"], Version::HTTP_11), Some(ErrorCode::InvalidRequest));
        assert_eq!(check("/a", &[], Version::HTTP_10), None);
    }

    #[test]
    fn a_target_with_a_host_names_the_same_one() {
        assert_eq!(check("http://A.example/x", &["a.example"], Version::HTTP_11), None);
        assert_eq!(check("http://b.example/x", &["a.example"], Version::HTTP_11), Some(ErrorCode::InvalidRequest));
        assert_eq!(check("http://a.example/x", &[], Version::HTTP_2), None);
        assert_eq!(check("a.example:443", &["a.example:443"], Version::HTTP_11), Some(ErrorCode::InvalidPath));
        assert_eq!(check("*", &["a.example"], Version::HTTP_11), Some(ErrorCode::InvalidPath));
    }
}
