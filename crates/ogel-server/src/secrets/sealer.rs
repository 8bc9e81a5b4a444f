//! What is stored and must be read again, sealed with XChaCha20-Poly1305. The key's id stands in front of each value, so
//! that keys can be changed while serving: the first one seals, all of them open.

use crate::world::Entropy;
use arc_swap::ArcSwap;
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Why a sealed value cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("each encryption key must be 32 bytes in base64, such as `ogeld keys new` prints")]
    BadKey,
    #[error("there is no encryption key")]
    NoKey,
    #[error("the value was sealed with another key")]
    UnknownKey,
    #[error("the sealed value was changed or is cut short")]
    Damaged,
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// Seals and opens. Clones share their keys.
#[derive(Clone)]
pub struct Sealer {
    /// The one that seals first; never empty.
    keys: Arc<ArcSwap<Vec<Key>>>,
    entropy: Entropy,
}

impl Sealer {
    /// Each key is 32 bytes in base64, with or without padding; the first one seals.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>, entropy: Entropy) -> Result<Self, SealError> {
        Ok(Self { keys: Arc::new(ArcSwap::from_pointee(read(keys)?)), entropy })
    }

    /// Swaps the keys; on an error those there were stay.
    pub fn replace<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Result<(), SealError> {
        self.keys.store(Arc::new(read(keys)?));
        Ok(())
    }

    /// A fresh key in the form [`Sealer::new`] takes.
    pub fn new_key(entropy: &Entropy) -> String {
        BASE64_STANDARD_NO_PAD.encode(entropy.bytes::<32>())
    }

    /// What every value begins with that the first key has sealed.
    pub fn prefix(&self) -> String {
        prefix(&self.keys.load()[0].id)
    }

    /// The keys' ids, the one that seals first.
    pub fn key_ids(&self) -> Vec<String> {
        self.keys.load().iter().map(|key| key.id.clone()).collect()
    }

    /// `v1.<key id>.<nonce + ciphertext>`, bound to `context` (what it is and whose), so that a value copied to
    /// another row does not open there.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<String, SealError> {
        let nonce: [u8; 24] = self.entropy.bytes();
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let keys = self.keys.load();
        let sealed = keys[0].cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Damaged)?;
        Ok(prefix(&keys[0].id) + &BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// The inverse of [`Sealer::seal`], with whichever of the keys it was.
    pub fn open(&self, context: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let mut parts = sealed.splitn(3, '.');
        let (Some("v1"), Some(key_id), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SealError::Damaged);
        };
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.id == key_id).ok_or(SealError::UnknownKey)?;
        let body = BASE64_URL_SAFE_NO_PAD.decode(body).map_err(|_| SealError::Damaged)?;
        let (nonce, ciphertext) = body.split_at_checked(24).ok_or(SealError::Damaged)?;
        let nonce: [u8; 24] = nonce.try_into().map_err(|_| SealError::Damaged)?;
        let payload = Payload { msg: ciphertext, aad: context.as_bytes() };
        key.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Damaged)
    }
}

fn read<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<Vec<Key>, SealError> {
    let mut read: Vec<Key> = Vec::new();
    for text in keys {
        let bytes = BASE64_STANDARD_NO_PAD.decode(text.trim().trim_end_matches('=')).map_err(|_| SealError::BadKey)?;
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| SealError::BadKey)?;
        let id = hex::encode(&Sha256::digest(&bytes)[..4]);
        if read.iter().all(|key| key.id != id) {
            read.push(Key { id, cipher });
        }
    }
    if read.is_empty() { Err(SealError::NoKey) } else { Ok(read) }
}

/// Ids have eight letters, so that this has twelve: the database looks at no more.
fn prefix(id: &str) -> String {
    format!("v1.{id}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_values_open_only_in_their_own_place_and_whole() {
        let entropy = Entropy::seeded(2);
        let sealer = Sealer::new([&*Sealer::new_key(&entropy)], entropy.clone()).unwrap();
        let sealed = sealer.seal("project a", b"secret").unwrap();
        assert!(sealed.starts_with(&sealer.prefix()) && sealer.prefix().len() == 12 && !sealed.contains("secret"));
        assert_eq!(sealer.open("project a", &sealed).unwrap(), b"secret");
        assert!(matches!(sealer.open("project b", &sealed), Err(SealError::Damaged)));
        assert!(matches!(sealer.open("project a", &sealed[..sealed.len() - 2]), Err(SealError::Damaged)));
        let other = Sealer::new([&*Sealer::new_key(&entropy)], entropy).unwrap();
        assert!(matches!(other.open("project a", &sealed), Err(SealError::UnknownKey)));
    }

    #[test]
    fn the_first_key_seals_and_all_of_them_open() {
        let entropy = Entropy::seeded(3);
        let (old, new) = (Sealer::new_key(&entropy), Sealer::new_key(&entropy));
        let sealer = Sealer::new([&*old], entropy.clone()).unwrap();
        let shared = sealer.clone();
        let before = sealer.seal("a", b"x").unwrap();
        sealer.replace([&*new, &*old, &*new]).unwrap();
        assert_eq!(shared.key_ids().len(), 2);
        let after = shared.seal("a", b"x").unwrap();
        assert!(after.starts_with(&shared.prefix()) && !before.starts_with(&shared.prefix()));
        assert_eq!(
            (shared.open("a", &before).unwrap(), shared.open("a", &after).unwrap()),
            (b"x".to_vec(), b"x".to_vec())
        );
        // What cannot be used changes nothing.
        assert!(matches!(sealer.replace([&*new, "short"]), Err(SealError::BadKey)));
        assert!(matches!(sealer.replace([]), Err(SealError::NoKey)));
        assert!(shared.open("a", &before).is_ok());
        sealer.replace([&*new]).unwrap();
        assert!(matches!(shared.open("a", &before), Err(SealError::UnknownKey)));
    }
}
