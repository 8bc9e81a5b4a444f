//! JWE in compact form, as next-auth v4 (`A256GCM`) and Auth.js v5 (`A256CBC-HS512`, and `A256GCM` still accepted) make it:
//! `dir` only, so the encryption key is derived from a secret and stands nowhere in the token.
//!
//! Everything else that JOSE allows is refused before a key is touched: `zip` (a small token that becomes a large one),
//! `crit` (rules we do not know), a wrapped key. Which key it was is decided by the authentication tag alone.

use aes::Aes256;
use aes_gcm::{
    Aes256Gcm,
    aead::{Aead as _, Payload},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512};

type Problem = &'static str;

const FOREIGN: Problem = "no configured secret opens it";
const MALFORMED: Problem = "it is no JWE in compact form";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    Gcm,
    CbcHmac,
}

/// A key, and which tokens it can be for.
struct Key {
    encryption: Encryption,
    /// Auth.js makes a key per cookie name, next-auth one for all.
    name: Option<usize>,
    bytes: Vec<u8>,
    /// Its JWK thumbprint (RFC 7638); next-auth writes none.
    kid: Option<String>,
}

/// Every key that the secrets and cookie names make.
pub(super) struct Keys(Vec<Key>);

#[derive(Deserialize)]
struct Header {
    alg: String,
    enc: String,
    kid: Option<String>,
    zip: Option<serde_json::Value>,
    crit: Option<serde_json::Value>,
}

/// Five parts, and the first begins like a JSON object: cheap, before anything is decoded.
pub(super) fn looks_like_one(token: &str) -> bool {
    token.starts_with("ey") && token.bytes().filter(|byte| *byte == b'.').count() == 4
}

impl Keys {
    /// Microseconds for each secret and name: once per configuration.
    pub(super) fn derive<'a>(secrets: impl Iterator<Item = &'a str>, names: &[String]) -> Self {
        let mut keys = Vec::new();
        for secret in secrets {
            let bytes = hkdf::<32>(secret, b"", "NextAuth.js Generated Encryption Key");
            keys.push(Key { encryption: Encryption::Gcm, name: None, bytes: bytes.to_vec(), kid: None });
            for (place, name) in names.iter().enumerate() {
                let info = format!("Auth.js Generated Encryption Key ({name})");
                let long = hkdf::<64>(secret, name.as_bytes(), &info);
                let short = hkdf::<32>(secret, name.as_bytes(), &info);
                for (encryption, bytes) in [(Encryption::CbcHmac, long.to_vec()), (Encryption::Gcm, short.to_vec())] {
                    let kid = Some(thumbprint(&bytes));
                    keys.push(Key { encryption, name: Some(place), bytes, kid });
                }
            }
        }
        Self(keys)
    }

    /// The token's content. `name` is the place of the cookie it came in; without one, every name's key is tried.
    pub(super) fn open(&self, token: &str, name: Option<usize>) -> Result<Vec<u8>, Problem> {
        let mut parts = token.split('.');
        let (Some(header), Some(wrapped), Some(iv), Some(ciphertext), Some(tag), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MALFORMED);
        };
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED);
        let read: Header = serde_json::from_slice(&decode(header)?).map_err(|_| MALFORMED)?;
        if read.alg != "dir" || !wrapped.is_empty() {
            return Err("its `alg` is not `dir`");
        }
        if read.zip.is_some() || read.crit.is_some() {
            return Err("it has `zip` or `crit`");
        }
        let (encryption, iv_bytes, tag_bytes) = match read.enc.as_str() {
            "A256GCM" => (Encryption::Gcm, 12, 16),
            "A256CBC-HS512" => (Encryption::CbcHmac, 16, 32),
            _ => return Err("its `enc` is neither `A256GCM` nor `A256CBC-HS512`"),
        };
        let (iv, ciphertext, tag) = (decode(iv)?, decode(ciphertext)?, decode(tag)?);
        if iv.len() != iv_bytes || tag.len() != tag_bytes {
            return Err(MALFORMED);
        }
        let may_be = |key: &&Key| {
            key.encryption == encryption
                && (key.name.is_none() || name.is_none() || key.name == name)
                && read.kid.as_ref().is_none_or(|kid| key.kid.as_ref() == Some(kid))
        };
        let sealed = Sealed { header: header.as_bytes(), iv: &iv, ciphertext: &ciphertext, tag: &tag };
        self.0.iter().filter(may_be).find_map(|key| key.open(&sealed)).ok_or(FOREIGN)
    }
}

struct Sealed<'a> {
    /// As it was sent: it is authenticated with the rest.
    header: &'a [u8],
    iv: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8],
}

impl Key {
    fn open(&self, sealed: &Sealed<'_>) -> Option<Vec<u8>> {
        match self.encryption {
            Encryption::Gcm => {
                let joined = [sealed.ciphertext, sealed.tag].concat();
                let payload = Payload { msg: &joined, aad: sealed.header };
                Aes256Gcm::new_from_slice(&self.bytes).ok()?.decrypt(sealed.iv.try_into().ok()?, payload).ok()
            }
            // RFC 7518, 5.2.2.2: the MAC first, in constant time, and only then the padding.
            Encryption::CbcHmac => {
                let (mac_key, cipher_key) = self.bytes.split_at(32);
                let header_bits = u64::try_from(sealed.header.len()).ok()?.checked_mul(8)?;
                Hmac::<Sha512>::new_from_slice(mac_key)
                    .ok()?
                    .chain_update(sealed.header)
                    .chain_update(sealed.iv)
                    .chain_update(sealed.ciphertext)
                    .chain_update(header_bits.to_be_bytes())
                    .verify_truncated_left(sealed.tag)
                    .ok()?;
                let cipher = cbc::Decryptor::<Aes256>::new_from_slices(cipher_key, sealed.iv).ok()?;
                cipher.decrypt_padded_vec::<Pkcs7>(sealed.ciphertext).ok()
            }
        }
    }
}

fn hkdf<const N: usize>(secret: &str, salt: &[u8], info: &str) -> [u8; N] {
    let mut key = [0; N];
    Hkdf::<Sha256>::new(Some(salt), secret.as_bytes())
        .expand(info.as_bytes(), &mut key)
        .expect("HKDF-SHA256 gives up to 8160 bytes");
    key
}

/// As `jose` computes it for Auth.js: SHA-512 for the 64-byte key, SHA-256 for the other.
fn thumbprint(key: &[u8]) -> String {
    let jwk = format!(r#"{{"k":"{}","kty":"oct"}}"#, BASE64_URL_SAFE_NO_PAD.encode(key));
    if key.len() == 64 {
        return BASE64_URL_SAFE_NO_PAD.encode(Sha512::digest(jwk));
    }
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(jwk))
}

#[cfg(test)]
pub(super) mod tests;
