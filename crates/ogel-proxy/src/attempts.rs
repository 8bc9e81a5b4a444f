//! What was tried for one request, for the access log: each attempt's address, outcome and time. One attempt, which
//! most requests make, has its place; more cost an allocation. Refuses to hold texts that an upstream wrote.
//! Next: `upstream.rs`, which fills it.

use crate::error::UpstreamError;
use http::StatusCode;
use parking_lot::Mutex;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

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
    pub started: Instant,
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
pub struct AttemptLog(Mutex<Attempts>);

#[derive(Debug, Default)]
struct Attempts {
    first: Option<Attempt>,
    more: Vec<Attempt>,
}

impl Attempts {
    fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.first.iter().chain(&self.more)
    }
}

impl AttemptLog {
    pub const fn new() -> Self {
        Self(Mutex::new(Attempts { first: None, more: Vec::new() }))
    }

    pub(crate) fn push(
        &self,
        address: &Arc<str>,
        result: Result<StatusCode, &UpstreamError>,
        (started, took): (Instant, Duration),
        reused: bool,
    ) {
        let outcome = match result {
            Ok(status) => Outcome::Answered(status),
            Err(error) => Outcome::Failed(error.word()),
        };
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let attempt = Attempt { address: address.clone(), outcome, started, micros, reused };
        let mut attempts = self.0.lock();
        match attempts.first {
            None => attempts.first = Some(attempt),
            Some(_) => attempts.more.push(attempt),
        }
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        self.0.lock().iter().cloned().collect()
    }

    /// How many there were, how many of them failed, and how long all of them took.
    pub fn totals(&self) -> (usize, usize, Duration) {
        let attempts = self.0.lock();
        let failed = attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Failed(_))).count();
        let micros = attempts.iter().map(|attempt| u64::from(attempt.micros)).sum();
        (attempts.iter().count(), failed, Duration::from_micros(micros))
    }

    pub fn len(&self) -> usize {
        self.0.lock().iter().count()
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().first.is_none()
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
