//! How long the database takes for one request, for whoever traces it. Where nobody does, no clock is read.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Of one request; what is more is counted.
const MOST: usize = 64;

tokio::task_local! {
    static LOG: Arc<StatementLog>;
}

/// One statement, or a transaction as a whole; waiting for a connection included.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// The module it stands in, and the line.
    pub place: (&'static str, u32),
    pub started: Instant,
    pub took: Duration,
}

/// What one request asked the database.
#[derive(Debug, Default)]
pub struct StatementLog(Mutex<(Vec<Statement>, usize)>);

impl StatementLog {
    /// Within `work`, what the database is asked is noted in `log`.
    pub async fn noting<F: Future>(log: Arc<Self>, work: F) -> F::Output {
        LOG.scope(log, work).await
    }

    /// Where this task's statements are noted, if anywhere.
    pub fn current() -> Option<Arc<Self>> {
        LOG.try_with(Arc::clone).ok()
    }

    /// What was asked up to now, and how much more than is listed.
    pub fn take(&self) -> (Vec<Statement>, usize) {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, statement: Statement) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match noted.0.len() < MOST {
            true => noted.0.push(statement),
            false => noted.1 += 1,
        }
    }
}

/// Notes itself when it ends.
pub(crate) struct Measured(Option<(Arc<StatementLog>, (&'static str, u32), Instant)>);

impl Measured {
    pub(crate) fn begin(module: &'static str, line: u32) -> Self {
        Self(StatementLog::current().map(|log| (log, (module, line), Instant::now())))
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if let Some((log, place, started)) = self.0.take() {
            log.push(Statement { place, started, took: started.elapsed() });
        }
    }
}
