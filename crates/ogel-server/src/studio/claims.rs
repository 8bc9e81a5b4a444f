//! What stands inside an opened token, and which of it is believed: whose it is, and from when until when.

use super::{RevocationId, revocation_id};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

/// Clocks of two machines may differ by so much; the libraries allow the same.
const LEEWAY: TimeDelta = TimeDelta::seconds(15);
/// Longer ids and addresses are nobody's.
const LONGEST: usize = 254;

/// A person's session as Studio describes it.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    /// The person's id at Studio.
    pub(crate) subject: String,
    pub(crate) email: Option<String>,
    pub(crate) email_is_verified: bool,
    pub(crate) name: Option<String>,
    /// When the session began, as far as it is known: the login, else the token. The beginning of time where neither is
    /// said: any "log out everywhere" is later.
    pub(crate) issued_at: DateTime<Utc>,
    /// Whether that is the login, which renewing the token does not change.
    pub(crate) says_login: bool,
    /// With the leeway, where there is one.
    pub(crate) expires_at: DateTime<Utc>,
    pub(crate) revocation_id: RevocationId,
}

/// Why a session of Studio's is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// For the log.
    Unreadable(&'static str),
    Expired,
}

pub(super) struct Rules<'a> {
    pub(super) now: DateTime<Utc>,
    /// 0 is any.
    pub(super) longest_days: u64,
    pub(super) id_claim: &'a str,
    /// Empty: none.
    pub(super) login_time_claim: &'a str,
    pub(super) trust_emails: bool,
}

pub(super) fn read(plain: &[u8], token: &str, rules: &Rules<'_>) -> Result<Claims, Refusal> {
    let unreadable = |problem| Err(Refusal::Unreadable(problem));
    let Ok(Value::Object(claims)) = serde_json::from_slice(plain) else { return unreadable("it holds no JSON object") };
    let Some(subject) = subject(&claims, rules.id_claim) else {
        return unreadable("it does not say whose it is in `studio_sessions.user_id_claim`");
    };
    let says_login = !rules.login_time_claim.is_empty();
    let began = if says_login { rules.login_time_claim } else { "iat" };
    let (Ok(issued_at), Ok(not_before), Ok(Some(expires_at))) =
        (time(&claims, began), time(&claims, "nbf"), time(&claims, "exp"))
    else {
        return unreadable("its `exp` is missing, or one of its times is none");
    };
    let soon = rules.now + LEEWAY;
    if issued_at.is_some_and(|at| at > soon) || not_before.is_some_and(|at| at > soon) {
        return unreadable("it begins in the future");
    }
    if expires_at <= rules.now - LEEWAY {
        return Err(Refusal::Expired);
    }
    let days = i64::try_from(rules.longest_days).ok().and_then(TimeDelta::try_days);
    if rules.longest_days > 0 && days.is_some_and(|days| expires_at - rules.now > days) {
        return unreadable("it lasts longer than `studio_sessions.longest_days`");
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| text.len() <= LONGEST);
    let said_verified = match claims.get("emailVerified").or_else(|| claims.get("email_verified")) {
        None => rules.trust_emails,
        Some(Value::Bool(verified)) => *verified,
        // The time it was verified, as the adapters keep it.
        Some(Value::String(at)) => !at.is_empty() && at != "false",
        Some(Value::Number(at)) => at.as_f64().is_some_and(|at| at > 0.0),
        Some(_) => false,
    };
    let revocation_id = match claims.get("jti").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => revocation_id("id ", id),
        _ => revocation_id("token ", token),
    };
    Ok(Claims {
        email: text("email").map(str::to_owned),
        email_is_verified: said_verified && text("email").is_some(),
        name: text("name").map(str::to_owned),
        issued_at: issued_at.unwrap_or(DateTime::UNIX_EPOCH),
        says_login,
        expires_at: expires_at + LEEWAY,
        revocation_id,
        subject,
    })
}

/// A text, or the number that adapters with serial ids have.
fn subject(claims: &Map<String, Value>, name: &str) -> Option<String> {
    match claims.get(name)? {
        Value::String(id) if !id.is_empty() && id.len() <= LONGEST && !id.chars().any(char::is_control) => {
            Some(id.clone())
        }
        Value::Number(id) if id.is_i64() || id.is_u64() => Some(id.to_string()),
        _ => None,
    }
}

/// Seconds since 1970. A claim that is there and is no time is an error.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<DateTime<Utc>>, ()> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    // Whole seconds or parts of them; what no calendar has is no time.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float too large becomes the largest integer, which is no time"
    )]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64)).ok_or(())?;
    DateTime::from_timestamp(seconds, 0).map(Some).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules() -> Rules<'static> {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        Rules { now, longest_days: 30, id_claim: "sub", login_time_claim: "", trust_emails: false }
    }

    fn of(claims: &Value) -> Result<Claims, Refusal> {
        read(claims.to_string().as_bytes(), "a.b.c.d.e", &rules())
    }

    #[test]
    fn times_are_checked_with_fifteen_seconds_of_leeway() {
        assert!(of(&json!({ "sub": "a", "exp": 1_000_000 - 14 })).is_ok());
        assert_eq!(of(&json!({ "sub": "a", "exp": 1_000_000 - 15 })).unwrap_err(), Refusal::Expired);
        let far = 1_000_000 + 30 * 86_400;
        assert!(of(&json!({ "sub": "a", "exp": far })).is_ok());
        for wrong in [
            json!({ "sub": "a" }),
            json!({ "sub": "a", "exp": "tomorrow" }),
            json!({ "sub": "a", "exp": null }),
            json!({ "sub": "a", "exp": 1e300 }),
            json!({ "sub": "a", "exp": far + 1 }),
            json!({ "sub": "a", "exp": far, "iat": 1_000_016 }),
            json!({ "sub": "a", "exp": far, "nbf": 1_000_016 }),
            json!({ "sub": "a", "exp": far, "iat": {} }),
            json!({ "sub": "", "exp": far }),
            json!({ "sub": "a".repeat(255), "exp": far }),
            json!({ "sub": ["a"], "exp": far }),
            json!({ "exp": far }),
            json!("text"),
        ] {
            assert!(matches!(of(&wrong), Err(Refusal::Unreadable(_))), "{wrong}");
        }
        let any = Rules { longest_days: 0, ..rules() };
        assert!(read(br#"{"sub":7,"exp":3e9}"#, "t", &any).is_ok_and(|claims| claims.subject == "7"));
    }

    #[test]
    fn a_session_began_with_its_login_where_the_token_says_when_that_was() {
        let by_login = Rules { login_time_claim: "auth_time", ..rules() };
        let began = |claims: Value, rules: &Rules<'_>| {
            read(claims.to_string().as_bytes(), "t", rules)
                .map(|claims| (claims.issued_at.timestamp(), claims.says_login))
        };
        let renewed = json!({ "sub": "a", "exp": 1_000_100, "iat": 999_999, "auth_time": 900_000 });
        assert_eq!(began(renewed.clone(), &rules()), Ok((999_999, false)));
        assert_eq!(began(renewed, &by_login), Ok((900_000, true)));
        // One that does not say it began before everything.
        assert_eq!(began(json!({ "sub": "a", "exp": 1_000_100, "iat": 999_999 }), &by_login), Ok((0, true)));
        let later = json!({ "sub": "a", "exp": 1_000_100, "auth_time": 1_000_016 });
        assert!(matches!(began(later, &by_login), Err(Refusal::Unreadable(_))));
    }

    #[test]
    fn an_email_counts_as_verified_only_where_somebody_says_so() {
        let verified = |claims: Value, trust_emails| {
            let mut all = json!({ "sub": "a", "exp": 1_000_100 });
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            let rules = Rules { trust_emails, ..rules() };
            read(all.to_string().as_bytes(), "t", &rules).unwrap().email_is_verified
        };
        assert!(!verified(json!({ "email": "a@b.c" }), false));
        assert!(verified(json!({ "email": "a@b.c" }), true));
        assert!(verified(json!({ "email": "a@b.c", "emailVerified": "2026-01-01T00:00:00Z" }), false));
        assert!(verified(json!({ "email": "a@b.c", "email_verified": true }), false));
        assert!(!verified(json!({ "email": "a@b.c", "email_verified": false }), true));
        assert!(!verified(json!({ "email": "a@b.c", "emailVerified": null }), true));
        assert!(!verified(json!({ "email": 7 }), true));
    }

    #[test]
    fn a_token_is_revoked_by_its_id_or_else_by_itself() {
        let id =
            |claims: Value, token: &str| read(claims.to_string().as_bytes(), token, &rules()).unwrap().revocation_id;
        let with_id = json!({ "sub": "a", "exp": 1_000_100, "jti": "x" });
        assert_eq!(id(with_id.clone(), "one"), id(with_id, "two"));
        let without = json!({ "sub": "a", "exp": 1_000_100 });
        assert_ne!(id(without.clone(), "one"), id(without, "two"));
    }
}
