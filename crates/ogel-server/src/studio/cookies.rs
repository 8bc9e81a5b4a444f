//! Which of a request's cookies is Studio's session. Long ones come in pieces, `name.0`, `name.1`, …
//!
//! The libraries join everything that begins with the name, so that a piece left over from a longer session makes garbage
//! of it. Here the pieces from 0 on without a gap are one candidate and the whole cookie is the other; whichever the
//! tag of its encryption vouches for is the session.

use super::decoded;
use http::{HeaderMap, header};
use std::borrow::Cow;

/// Pieces one session may have; the libraries make one per 4 kB.
const MOST_PIECES: usize = 16;

/// Something that may be a session.
pub(crate) struct Candidate<'a> {
    pub(crate) token: Cow<'a, str>,
    /// The place of its cookie's name in the configuration; none for a Bearer token.
    pub(crate) name: Option<usize>,
}

/// In the order of the configured names, pieces before the whole. What is larger than `largest` is passed over.
pub(super) fn candidates<'a>(headers: &'a HeaderMap, names: &[String], largest: usize) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let mut whole = None;
        let mut pieces: [Option<&str>; MOST_PIECES] = [None; MOST_PIECES];
        for (other, value) in cookies(headers) {
            let Some(rest) = other.strip_prefix(name.as_str()) else { continue };
            if rest.is_empty() {
                // A browser sends the most specific one first.
                whole.get_or_insert(value);
            } else if let Some(piece) = rest.strip_prefix('.').and_then(number).and_then(|n| pieces.get_mut(n)) {
                piece.get_or_insert(value);
            }
        }
        let mut add = |token: Cow<'a, str>| {
            if !token.is_empty() && token.len() <= largest {
                found.push(Candidate { token, name: Some(place) });
            }
        };
        match pieces {
            [None, ..] => {}
            [Some(only), None, ..] => add(decoded(only)),
            _ => add(Cow::Owned(decoded(&pieces.iter().map_while(|piece| *piece).collect::<String>()).into_owned())),
        }
        if let Some(whole) = whole {
            add(decoded(whole));
        }
    }
    found
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(';')).filter_map(|cookie| cookie.trim().split_once('='))
}

/// As the libraries write it: no sign, no leading zero.
fn number(text: &str) -> Option<usize> {
    let plain = text == "0" || !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cookies: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, cookie.parse().unwrap());
        }
        let names = ["__Secure-s".to_owned(), "s".to_owned()];
        candidates(&headers, &names, 20)
            .into_iter()
            .map(|found| format!("{}:{}", found.name.unwrap(), found.token))
            .collect()
    }

    #[test]
    fn pieces_are_joined_up_to_the_first_gap_and_the_whole_comes_second() {
        assert_eq!(found(&["a=1; s=whole; s2=x"]), ["1:whole"]);
        assert_eq!(found(&["s.1=b; s.0=a", "s.2=c"]), ["1:abc"]);
        assert_eq!(found(&["s.0=a; s.1=b; s.3=stale; s=stale"]), ["1:ab", "1:stale"]);
        assert_eq!(found(&["s.10=k; s.0=a"]), ["1:a"]);
        assert_eq!(found(&["s.1=b"]), [""; 0]);
        assert_eq!(found(&["s.0=a; s.00=x; s.+1=x; s.01=x; s.x=x; s.99999999999999999999=x"]), ["1:a"]);
        assert_eq!(found(&["s=b; __Secure-s=a"]), ["0:a", "1:b"]);
        assert_eq!(found(&["s=first; s=second"]), ["1:first"]);
    }

    #[test]
    fn what_is_too_large_is_passed_over_even_in_pieces() {
        assert_eq!(found(&["s.0=aaaaaaaaaaa; s.1=bbbbbbbbbb; s=c"]), ["1:c"]);
        assert_eq!(found(&["s=aaaaaaaaaaaaaaaaaaaaa"]), [""; 0]);
    }

    #[test]
    fn values_may_be_url_encoded() {
        assert_eq!(found(&["s=a%2Eb"]), ["1:a.b"]);
        assert_eq!(found(&["s=%FF"]), [""; 0]);
    }
}
