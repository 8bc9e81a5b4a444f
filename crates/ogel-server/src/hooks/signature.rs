//! Whether a webhook is Ghost's. It signs twice, and either is enough: `X-Appwrite-Webhook-Signature` over URL and body,
//! and the headers of Standard Webhooks over id, time and body. And how we sign ours, in the second way.
//!
//! The body is the bytes as they came. Comparisons take the same time however much of a signature is right.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha1::Sha1;
use sha2::Sha256;

/// How far a signature's time may be from ours, in either direction.
pub(crate) const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// Signatures tried of one request: two while a secret is changed, and no reason for many more.
const MOST_SIGNATURES: usize = 8;

/// Why a webhook is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It carries no signature at all.
    Unsigned,
    /// None of its signatures was made with a secret of ours.
    Mismatch,
    /// It was signed too long ago, or in the future.
    Stale,
}

/// What a signature that holds vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    /// `webhook-id`, where it is part of what was signed.
    pub(crate) id: Option<String>,
    /// Whether the time of signing was part of it, and checked.
    pub(crate) timed: bool,
}

/// Checks both forms with each secret; `url` is the one Ghost posts to.
pub(crate) fn check(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[&str],
    url: &str,
    now: DateTime<Utc>,
) -> Result<Signed, Refused> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let standard = (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"));
    let appwrite = text("x-appwrite-webhook-signature");
    if standard.2.is_none() && appwrite.is_none() {
        return Err(Refused::Unsigned);
    }
    // A time that is there counts for both forms: a replay must not get in by leaving one signature out.
    if let Some(timestamp) = standard.1 {
        let at = timestamp.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        if !is_near(at.ok_or(Refused::Mismatch)?, now) {
            return Err(Refused::Stale);
        }
    }
    if let (Some(id), Some(timestamp), Some(signatures)) = standard {
        let given = signatures.split(' ').filter_map(|one| one.strip_prefix("v1,")).take(MOST_SIGNATURES);
        if given.into_iter().any(|one| secrets.iter().any(|secret| holds(secret, id, timestamp, body, one))) {
            return Ok(Signed { id: Some(id.to_owned()), timed: true });
        }
    }
    if let Some(signature) = appwrite.and_then(|text| BASE64_STANDARD.decode(text).ok()) {
        let holds = |secret: &&str| {
            let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
            mac.update(url.as_bytes());
            mac.update(body);
            mac.verify_slice(&signature).is_ok()
        };
        if secrets.iter().any(holds) {
            return Ok(Signed { id: None, timed: false });
        }
    }
    Err(Refused::Mismatch)
}

/// Whether `at` is within [`TOLERANCE`] of `now`.
pub(crate) fn is_near(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - at).abs() <= TOLERANCE
}

/// Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`.
fn holds(secret: &str, id: &str, timestamp: &str, body: &[u8], signature: &str) -> bool {
    let Ok(signature) = BASE64_STANDARD.decode(signature) else { return false };
    standard_mac(&standard_key(secret), id, timestamp, body).verify_slice(&signature).is_ok()
}

/// What a secret stands for: `whsec_` and base64, or the text itself.
pub(crate) fn standard_key(secret: &str) -> Vec<u8> {
    let decoded = secret.strip_prefix("whsec_").and_then(|rest| BASE64_STANDARD.decode(rest).ok());
    decoded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

fn standard_mac(key: &[u8], id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    mac
}

/// `webhook-signature` of ours: one signature per secret.
pub(crate) fn sign(secrets: &[String], id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let one = |secret: &String| {
        let mac = standard_mac(&standard_key(secret), id, &timestamp, body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::from_timestamp(1_614_265_330, 0).unwrap();
    /// The vector of the Standard Webhooks libraries.
    const STANDARD: [(&str, &str); 3] = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ];
    const STANDARD_BODY: &[u8] = br#"{"test": 2432232314}"#;
    const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    /// What Appwrite 1.8 made of this key, URL and body.
    const APPWRITE: (&str, &str) = ("x-appwrite-webhook-signature", "T6hKHorrMd6XSlo50SACq/FhkKE=");
    const APPWRITE_BODY: &[u8] = br#"{"$id":"dep1","status":"building","resourceId":"site1"}"#;
    const APPWRITE_SECRET: &str = "0123456789abcdef0123456789abcdef";
    const URL: &str = "https://gw.example.com/webhooks/ghost";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn both_forms_hold_with_either_secret_and_break_with_any_change() {
        let standard = headers(&STANDARD);
        let id = Some(STANDARD[0].1.to_owned());
        for secrets in [&[STANDARD_SECRET][..], &["other", STANDARD_SECRET]] {
            let signed = check(&standard, STANDARD_BODY, secrets, URL, NOW);
            assert_eq!(signed, Ok(Signed { id: id.clone(), timed: true }));
        }
        assert_eq!(check(&standard, STANDARD_BODY, &["other"], URL, NOW), Err(Refused::Mismatch));
        assert_eq!(check(&standard, STANDARD_BODY, &[], URL, NOW), Err(Refused::Mismatch));
        assert_eq!(check(&standard, br#"{"test":2432232314}"#, &[STANDARD_SECRET], URL, NOW), Err(Refused::Mismatch));
        for (name, other) in [
            ("webhook-id", "msg_other"),
            ("webhook-timestamp", "1614265331"),
            ("webhook-signature", "v1,AAAA"),
            ("webhook-signature", "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ] {
            let mut changed = standard.clone();
            changed.insert(name, other.parse().unwrap());
            assert_eq!(check(&changed, STANDARD_BODY, &[STANDARD_SECRET], URL, NOW), Err(Refused::Mismatch), "{other}");
        }
        let appwrite = headers(&[APPWRITE]);
        let signed = Ok(Signed { id: None, timed: false });
        assert_eq!(check(&appwrite, APPWRITE_BODY, &["other", APPWRITE_SECRET], URL, NOW), signed);
        assert_eq!(check(&appwrite, APPWRITE_BODY, &[APPWRITE_SECRET], "https://other", NOW), Err(Refused::Mismatch));
        assert_eq!(check(&appwrite, b"{}", &[APPWRITE_SECRET], URL, NOW), Err(Refused::Mismatch));
        assert_eq!(check(&HeaderMap::new(), b"{}", &[APPWRITE_SECRET], URL, NOW), Err(Refused::Unsigned));
    }

    #[test]
    fn what_we_sign_matches_the_published_vector() {
        let signed = sign(&[STANDARD_SECRET.to_owned()], STANDARD[0].1, NOW.timestamp(), STANDARD_BODY);
        assert_eq!(signed, STANDARD[2].1);
        let both =
            sign(&["other".to_owned(), STANDARD_SECRET.to_owned()], STANDARD[0].1, NOW.timestamp(), STANDARD_BODY);
        assert!(both.starts_with("v1,") && both.ends_with(&format!(" {signed}")), "{both}");
    }

    #[test]
    fn while_a_secret_is_changed_one_of_several_signatures_is_enough() {
        let both = format!("v1,AAAA {}", STANDARD[2].1);
        let headers = headers(&[STANDARD[0], STANDARD[1], ("webhook-signature", &both)]);
        assert!(check(&headers, STANDARD_BODY, &[STANDARD_SECRET], URL, NOW).is_ok());
    }

    #[test]
    fn five_minutes_are_near_and_a_time_counts_for_both_forms() {
        let standard = headers(&STANDARD);
        for (seconds, expected) in [(-301, false), (-300, true), (300, true), (301, false)] {
            let now = NOW + TimeDelta::seconds(seconds);
            assert_eq!(check(&standard, STANDARD_BODY, &[STANDARD_SECRET], URL, now).is_ok(), expected, "{seconds}");
        }
        let stale = headers(&[APPWRITE, ("webhook-timestamp", "1614265330")]);
        let later = NOW + TimeDelta::minutes(6);
        assert_eq!(check(&stale, APPWRITE_BODY, &[APPWRITE_SECRET], URL, later), Err(Refused::Stale));
        let senseless = headers(&[APPWRITE, ("webhook-timestamp", "soon")]);
        assert_eq!(check(&senseless, APPWRITE_BODY, &[APPWRITE_SECRET], URL, NOW), Err(Refused::Mismatch));
    }
}
