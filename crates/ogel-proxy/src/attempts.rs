//! What was tried for one request, for the access log: each attempt's address, outcome and time. Costs nothing until
//! the first attempt is over, and one allocation then. Refuses to hold texts that an upstream wrote.
//! Next: `upstream.rs`, which fills it.

use crate::error::UpstreamError;
use http::StatusCode;
use parking_lot::Mutex;
use std::{fmt, sync::Arc, time::Duration};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The head of a response came.
    Answered(StatusCode),
    /// [`UpstreamError::word`].
    Failed(&'static str),
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// `host:port`, as it was configured.
    pub address: Arc<str>,
    pub outcome: Outcome,
    /// Until the head of the response or the failure, connecting included.
    pub micros: u32,
    /// Whether it went over a kept connection.
    pub reused: bool,
}

impl fmt::Display for Attempt {
    /// `10.0.0.1:80 200 1.2ms`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Answered(status) => write!(f, "{} {}", self.address, status.as_u16())?,
            Outcome::Failed(word) => write!(f, "{} {word}", self.address)?,
        }
        write!(f, " {}.{}ms", self.micros / 1000, self.micros % 1000 / 100)
    }
}

/// The attempts of one request, in their order.
#[derive(Debug, Default)]
pub struct AttemptLog(Mutex<Vec<Attempt>>);

impl AttemptLog {
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    pub(crate) fn push(
        &self,
        address: &Arc<str>,
        result: Result<StatusCode, &UpstreamError>,
        took: Duration,
        reused: bool,
    ) {
        let outcome = match result {
            Ok(status) => Outcome::Answered(status),
            Err(error) => Outcome::Failed(error.word()),
        };
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.0.lock().push(Attempt { address: address.clone(), outcome, micros, reused });
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        self.0.lock().clone()
    }

    /// How many there were, how many of them failed, and how long all of them took.
    pub fn totals(&self) -> (usize, usize, Duration) {
        let attempts = self.0.lock();
        let failed = attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Failed(_))).count();
        (attempts.len(), failed, Duration::from_micros(attempts.iter().map(|attempt| u64::from(attempt.micros)).sum()))
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl AttemptLog {
    /// What [`fmt::Display`] shows, at the end of `line`: a log has one per request, and formatting costs more.
    pub fn append_to(&self, line: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        for (place, attempt) in self.0.lock().iter().enumerate() {
            if place > 0 {
                line.extend_from_slice(b", ");
            }
            line.extend_from_slice(attempt.address.as_bytes());
            line.push(b' ');
            match attempt.outcome {
                Outcome::Answered(status) => line.extend_from_slice(status.as_str().as_bytes()),
                Outcome::Failed(word) => line.extend_from_slice(word.as_bytes()),
            }
            line.push(b' ');
            line.extend_from_slice(number.format(attempt.micros / 1000).as_bytes());
            line.push(b'.');
            line.extend_from_slice(number.format(attempt.micros % 1000 / 100).as_bytes());
            line.extend_from_slice(b"ms");
        }
    }
}

impl fmt::Display for AttemptLog {
    /// `10.0.0.1:80 refused 0.1ms, 10.0.0.2:80 200 1.2ms`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.append_to(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}
