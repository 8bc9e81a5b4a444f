//! Secrets: how tokens are made, how they are remembered, and how what must be read again is sealed (`sealer.rs`).
//!
//! Session tokens and API keys are kept as SHA-256 only; passwords as argon2id; Ghost's project keys and build
//! environments are sealed with XChaCha20-Poly1305, the key's id in front so that keys can be changed.

mod sealer;

pub use sealer::{SealError, Sealer};

use crate::world::Entropy;
use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _},
};
use sha2::{Digest as _, Sha256};

/// How a token is found again without being stored.
pub type TokenHash = [u8; 32];

pub fn token_hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// What API keys start with; scanners of leaked secrets look for it.
pub const API_KEY_PREFIX: &str = "ogel_";
/// What session tokens start with.
pub const SESSION_PREFIX: &str = "ogels_";

/// What device codes start with.
const DEVICE_PREFIX: &str = "ogeld_";
/// What refresh tokens start with.
const REFRESH_PREFIX: &str = "ogelr_";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `length` base62 digits of `value`, most significant first.
fn base62(mut value: u128, length: usize) -> String {
    let mut digits = vec![b'0'; length];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(value % 62) as usize];
        value /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

/// `prefix` + 256 random bits in base62 + the CRC-32 of it all, so that a mistyped or invented token is refused
/// without asking the database, and a scanner can tell a real one.
fn new_token(prefix: &str, entropy: &Entropy) -> String {
    let body = format!(
        "{prefix}{}{}",
        base62(u128::from_le_bytes(entropy.bytes()), 22),
        base62(u128::from_le_bytes(entropy.bytes()), 22)
    );
    let checksum = base62(crc32fast::hash(body.as_bytes()).into(), 6);
    body + &checksum
}

pub fn new_api_key(entropy: &Entropy) -> String {
    new_token(API_KEY_PREFIX, entropy)
}

/// What of an API key may be shown: enough to recognise it by.
pub fn shown_prefix(secret: &str) -> String {
    secret.chars().take(API_KEY_PREFIX.len() + 6).collect()
}

pub fn new_session_token(entropy: &Entropy) -> String {
    new_token(SESSION_PREFIX, entropy)
}

/// What the program that waits for a login on another device asks with.
pub fn new_device_code(entropy: &Entropy) -> String {
    new_token(DEVICE_PREFIX, entropy)
}

pub fn new_refresh_token(entropy: &Entropy) -> String {
    new_token(REFRESH_PREFIX, entropy)
}

pub fn is_device_code(token: &str) -> bool {
    has_checksum(DEVICE_PREFIX, token)
}

pub fn is_refresh_token(token: &str) -> bool {
    has_checksum(REFRESH_PREFIX, token)
}

/// Letters of a user code: no vowels, so that they make no words, and none that look alike (RFC 8628, 6.1).
const USER_CODE_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const USER_CODE_LENGTH: usize = 8;

/// What a person compares or types: 8 of 20 letters, which is enough while wrong ones are counted.
pub fn new_user_code(entropy: &Entropy) -> String {
    let mut value = u128::from_le_bytes(entropy.bytes());
    let letter = |_| {
        let letter = USER_CODE_LETTERS[(value % 20) as usize];
        value /= 20;
        char::from(letter)
    };
    (0..USER_CODE_LENGTH).map(letter).collect()
}

/// A user code as somebody typed it: letter case, blanks and dashes do not matter. None if it cannot be one.
pub fn typed_user_code(text: &str) -> Option<String> {
    let code: String =
        text.chars().filter(|c| !matches!(c, '-' | ' ')).take(64).collect::<String>().to_ascii_uppercase();
    let possible = code.len() == USER_CODE_LENGTH && code.bytes().all(|byte| USER_CODE_LETTERS.contains(&byte));
    possible.then_some(code)
}

/// What a mail carries to whoever is invited.
pub fn new_invitation_token(entropy: &Entropy) -> String {
    new_token("ogeli_", entropy)
}

/// Whether `token` has a form of ours and its checksum holds. Says nothing about whether it is known.
pub fn is_well_formed(token: &str) -> bool {
    has_checksum(SESSION_PREFIX, token) || has_checksum(API_KEY_PREFIX, token)
}

fn has_checksum(prefix: &str, token: &str) -> bool {
    let Some(rest) = token.strip_prefix(prefix) else { return false };
    if rest.len() != 50 || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let (body, checksum) = token.split_at(token.len() - 6);
    base62(crc32fast::hash(body.as_bytes()).into(), 6) == checksum
}

/// argon2id with the library's recommended cost (19 MiB, two passes). Tens of milliseconds of CPU: never on a
/// data-plane thread.
pub fn hash_password(password: &str, entropy: &Entropy) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password_with_salt(password.as_bytes(), &entropy.bytes::<16>())?.to_string())
}

/// Costs the same whether or not there is a hash to compare with, so that timing does not tell which accounts exist.
pub fn verify_password(password: &str, hash: Option<&str>) -> bool {
    // Of no password anybody knows; only its cost matters.
    const NOBODY: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let Ok(parsed) = argon2::password_hash::phc::PasswordHash::new(hash.unwrap_or(NOBODY)) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn tokens_carry_a_checksum_that_one_wrong_letter_breaks() {
        let entropy = Entropy::seeded(1);
        for token in [new_api_key(&entropy), new_session_token(&entropy)] {
            assert!(is_well_formed(&token), "{token}");
            for at in 0..token.len() {
                let mut wrong = token.clone().into_bytes();
                wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
                assert!(!is_well_formed(&String::from_utf8(wrong).unwrap()));
            }
        }
    }

    #[test]
    fn each_kind_of_token_is_only_itself() {
        let entropy = Entropy::seeded(5);
        let (device, refresh) = (new_device_code(&entropy), new_refresh_token(&entropy));
        assert!(is_device_code(&device) && !is_refresh_token(&device) && !is_well_formed(&device));
        assert!(is_refresh_token(&refresh) && !is_device_code(&refresh) && !is_well_formed(&refresh));
    }

    #[test]
    fn a_user_code_may_be_typed_as_people_do() {
        let code = new_user_code(&Entropy::seeded(6));
        let typed = format!(" {}-{} ", &code[..4].to_lowercase(), &code[4..]);
        assert_eq!(typed_user_code(&typed), Some(code));
        for wrong in ["", "BCDF-GHJ", "BCDF-GHJA", "BCDF-GHJKL", "ÄCDF-GHJK"] {
            assert_eq!(typed_user_code(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn passwords_are_compared_by_argon2id() {
        let hash = hash_password("correct horse", &Entropy::seeded(3)).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify_password("correct horse", Some(&hash)));
        assert!(!verify_password("wrong horse", Some(&hash)));
        assert!(!verify_password("correct horse", None));
    }

    /// The quickest of each, by turns: what else the machine does makes nothing quicker, and slows both.
    #[test]
    fn an_account_that_does_not_exist_costs_as_much_as_one_that_does() {
        let hash = hash_password("correct horse", &Entropy::seeded(4)).unwrap();
        let once = |hash: Option<&str>| {
            let started = Instant::now();
            assert!(!verify_password("wrong horse", hash));
            started.elapsed()
        };
        let (mut there, mut nobody) = (Duration::MAX, Duration::MAX);
        for _ in 0..20 {
            there = there.min(once(Some(&hash)));
            nobody = nobody.min(once(None));
        }
        assert!(nobody * 2 > there && there * 2 > nobody, "{there:?} {nobody:?}");
    }
}
