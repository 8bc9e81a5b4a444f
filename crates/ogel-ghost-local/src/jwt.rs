//! The tokens users act with: HS256, `userId`, `exp`. Refuses every other algorithm and every other claim.
//! Next: `auth.rs`, which turns a token into a caller.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// How long a token lives, in seconds.
pub(crate) const LIFETIME_SECONDS: i64 = 15 * 60;

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    user_id: String,
    exp: i64,
}

/// A token for `user_id`, valid 15 minutes from `now` (seconds since 1970).
pub(crate) fn mint(secret: &[u8], user_id: &str, now: i64) -> String {
    let header = encode(&Header { alg: "HS256".to_owned(), typ: "JWT".to_owned() });
    let claims = encode(&Claims { user_id: user_id.to_owned(), exp: now + LIFETIME_SECONDS });
    let signed = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(mac(secret, &signed).finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// The user of a token and the second it expires, if it is ours and still valid at `now`.
pub(crate) fn verify(secret: &[u8], token: &str, now: i64) -> Option<(String, i64)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    mac(secret, signed).verify_slice(&signature).ok()?;
    let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    (header.alg == "HS256" && claims.exp > now).then_some((claims.user_id, claims.exp))
}

fn encode(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("a struct of strings and numbers is always JSON"))
}

fn mac(secret: &[u8], signed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(signed.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_until_it_expires() {
        let token = mint(b"secret", "ada", 1_000);
        assert_eq!(verify(b"secret", &token, 1_899), Some(("ada".to_owned(), 1_900)));
        assert_eq!(verify(b"secret", &token, 1_900), None);
        assert_eq!(verify(b"other", &token, 1_000), None);
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let claims = URL_SAFE_NO_PAD.encode(r#"{"userId":"ada","exp":9999999999}"#);
        assert_eq!(verify(b"secret", &format!("{header}.{claims}."), 1_000), None);
    }
}
