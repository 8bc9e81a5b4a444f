//! One connection to Redis that nobody waits for: a command gets its answer within the wait that is configured, or not
//! at all.
//!
//! A task opens the connection and looks after it. When some commands in a row got no answer in time the breaker opens:
//! from then on a command fails at once, without a wait, until the task has had an answer in time again. So a Redis that
//! is gone costs nothing, and one that is slow costs [`STRIKES`] waits.

use super::address::{Address, CONNECT, Connection};
use crate::Unavailable;
use arc_swap::ArcSwapOption;
use redis::{Cmd, FromRedisValue, RedisError};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep, timeout},
};

/// Commands in a row without an answer after which the breaker opens.
const STRIKES: u32 = 3;
/// Between two looks at a connection that seems fine, and how long an answer to one may take.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK: Duration = Duration::from_millis(500);
/// Between two tries to come back.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(1);

pub(crate) struct Link {
    address: Arc<Address>,
    database: i64,
    /// How long a command of a request waits.
    wait: Duration,
    connection: ArcSwapOption<Connection>,
    open: AtomicBool,
    strikes: AtomicU32,
    trouble: Notify,
    pub(crate) failures: AtomicU64,
}

impl Link {
    /// Opens nothing by itself: a task on `handle` does, for as long as anybody holds the link.
    pub(crate) fn start(address: &Arc<Address>, database: i64, wait: Duration, handle: &Handle) -> Arc<Self> {
        let link = Arc::new(Self {
            address: address.clone(),
            database: if address.has_databases() { database } else { 0 },
            wait,
            connection: ArcSwapOption::empty(),
            // Until there is a connection.
            open: AtomicBool::new(true),
            strikes: AtomicU32::new(0),
            trouble: Notify::new(),
            failures: AtomicU64::new(0),
        });
        let weak = Arc::downgrade(&link);
        handle.spawn(async move {
            let mut retry = RETRY_FIRST;
            let mut told = false;
            while let Some(link) = weak.upgrade() {
                let healthy = link.look().await;
                retry = if healthy { RETRY_FIRST } else { RETRY_LAST.min(retry * 2) };
                if healthy == told {
                    told = !healthy;
                    match healthy {
                        true => tracing::info!(database = link.database, "Redis answers again"),
                        false => {
                            tracing::warn!(database = link.database, "Redis does not answer in time; going on without")
                        }
                    }
                }
                // A request's trouble is looked at soon, but not in a busy loop.
                let pause = if healthy { LOOK_EVERY } else { retry };
                let woken = timeout(pause, link.trouble.notified()).await.is_ok();
                if woken {
                    sleep(RETRY_FIRST).await;
                }
            }
        });
        link
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// A request's command: an answer within the configured wait.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unavailable> {
        if self.is_open() {
            return Err(Unavailable);
        }
        let Some(connection) = self.connection.load_full() else { return Err(Unavailable) };
        let answer = timeout(self.wait, Connection::clone(&connection).run(command)).await;
        match answer {
            Ok(Ok(value)) => {
                self.strikes.store(0, Ordering::Relaxed);
                read(value)
            }
            Ok(Err(error)) => {
                self.note(&error);
                Err(Unavailable)
            }
            Err(_) => {
                self.strike();
                Err(Unavailable)
            }
        }
    }

    /// Background work's command: it has time, and its waiting says nothing about requests.
    pub(crate) async fn ask_patiently<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unavailable> {
        let Some(connection) = self.connection.load_full() else { return Err(Unavailable) };
        match timeout(CONNECT, Connection::clone(&connection).run(command)).await {
            Ok(Ok(value)) => read(value),
            Ok(Err(error)) => {
                self.note(&error);
                Err(Unavailable)
            }
            Err(_) => Err(Unavailable),
        }
    }

    fn strike(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        if self.strikes.fetch_add(1, Ordering::Relaxed) + 1 >= STRIKES {
            self.trip();
        }
    }

    fn trip(&self) {
        if !self.open.swap(true, Ordering::Relaxed) {
            self.trouble.notify_one();
        }
    }

    fn note(&self, error: &RedisError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, database = self.database, "Redis refused a command");
        // What cannot heal on this connection needs another one: it is gone, or the server is no master any more.
        if error.is_io_error() || error.is_unrecoverable_error() || error.code() == Some("READONLY") {
            self.connection.store(None);
            self.trip();
        } else {
            // Loading, out of memory, a script killed: answers, but none that help.
            self.strike();
        }
    }

    /// Opens or checks the connection; true when it answered as fast as requests need it.
    async fn look(&self) -> bool {
        let known = self.connection.load_full();
        let connection = match known {
            Some(connection) => connection,
            None => match timeout(CONNECT, self.address.connect(self.database)).await {
                Ok(Ok(connection)) => Arc::new(connection),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "no connection to Redis");
                    return false;
                }
                Err(_) => return false,
            },
        };
        let asked = Instant::now();
        match timeout(LOOK, Connection::clone(&connection).run(&redis::cmd("PING"))).await {
            Ok(Ok(_)) => {}
            _ => {
                self.connection.store(None);
                self.open.store(true, Ordering::Relaxed);
                return false;
            }
        }
        self.connection.store(Some(connection));
        if !self.is_open() {
            return true;
        }
        let fast = asked.elapsed() <= self.wait;
        if fast {
            self.strikes.store(0, Ordering::Relaxed);
            self.open.store(false, Ordering::Relaxed);
        }
        fast
    }
}

fn read<T: FromRedisValue>(value: redis::Value) -> Result<T, Unavailable> {
    T::from_redis_value(value).map_err(|error| {
        tracing::warn!(%error, "Redis answered with something else than was asked for");
        Unavailable
    })
}
