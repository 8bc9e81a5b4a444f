//! When a failed request is sent again, and after how long.

use crate::{ClientError, Result};
use std::time::Duration;

/// The wait after the first failure; doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The wait before repetition `n` (from 0): exponential, at random between half and all of it, so that many clients of
/// a server that restarts do not come back together. Never shorter than what the server asked for.
pub(crate) fn wait(n: u32, asked: Option<Duration>) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << n.min(10)).min(LONGEST_WAIT);
    let half = full / 2;
    let jittered = half + half.mul_f64(f64::from(random_byte()) / 255.0);
    jittered.max(asked.unwrap_or_default())
}

/// Whether `error` allows to send the request again.
///
/// `repeatable`: repeating it cannot do its work twice (GET, PUT, DELETE, or it has an `Idempotency-Key`).
pub(crate) fn is_worthwhile(error: &ClientError, repeatable: bool) -> bool {
    repeatable && error.is_retryable()
}

/// 128 random bits in hexadecimal, for `Idempotency-Key`.
pub(crate) fn fresh_key() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| ClientError::Setup { reason: format!("this system gives no random numbers: {error}") })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Without randomness the wait is merely not spread.
fn random_byte() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).map_or(0, |()| byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_bounded_and_never_undercut_the_server() {
        for _ in 0..50 {
            assert!((100..=200).contains(&wait(0, None).as_millis()));
            assert!((200..=400).contains(&wait(1, None).as_millis()));
            assert!(wait(40, None) <= LONGEST_WAIT);
            assert!(wait(0, Some(Duration::from_secs(9))) == Duration::from_secs(9));
        }
    }

    #[test]
    fn what_could_happen_twice_is_not_repeated() {
        let lost = ClientError::Connect { server: String::new(), reason: String::new() };
        assert!(is_worthwhile(&lost, true));
        assert!(!is_worthwhile(&lost, false));
        assert!(!is_worthwhile(&ClientError::InvalidToken, true));
    }

    #[test]
    fn keys_differ() {
        assert_ne!(fresh_key().unwrap(), fresh_key().unwrap());
        assert_eq!(fresh_key().unwrap().len(), 32);
    }
}
