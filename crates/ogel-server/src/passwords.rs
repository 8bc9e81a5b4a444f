//! Passwords are hashed and checked on a few threads of their own, of low priority: each costs a core for some ten
//! milliseconds, and a flood of logins must not take that from requests that are only passed on.
//!
//! The queue in front of them is short. Who finds it full waits a while, and is then told to come back.

use crate::{error::Failure, secrets, world::Entropy};
use ogel_api::error::{Error, ErrorCode};
use parking_lot::Mutex;
use std::{io, sync::Arc, thread, time::Duration};
use tokio::sync::{mpsc, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when this is dropped.
pub struct Passwords {
    jobs: mpsc::Sender<Job>,
}

/// Jobs that wait, for each thread: what it does in about a second.
const WAITING_PER_THREAD: usize = 32;
/// How long a login waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of 19 at most: while others want the core, a thread gets about a tenth of it.
const NICENESS: i32 = 10;

impl Passwords {
    pub fn start(threads: usize) -> io::Result<Self> {
        let threads = threads.clamp(1, 64);
        let (jobs, waiting) = mpsc::channel(threads * WAITING_PER_THREAD);
        let waiting = Arc::new(Mutex::new(waiting));
        for index in 0..threads {
            let waiting = waiting.clone();
            thread::Builder::new().name(format!("password-{index}")).spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs })
    }

    /// argon2id of `password`, with a fresh salt.
    pub(crate) async fn hash(&self, password: String, entropy: &Entropy) -> Result<String, Failure> {
        let entropy = entropy.clone();
        let hash = self.run(move || secrets::hash_password(&password, &entropy)).await?;
        hash.map_err(|error| Error::internal(error.to_string()).into())
    }

    /// Whether `password` is the one of `hash`. Takes as long where there is no hash.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Failure> {
        self.run(move || secrets::verify_password(&password, hash.as_deref())).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let Ok(Ok(place)) = tokio::time::timeout(PATIENCE, self.jobs.reserve()).await else {
            let message = "too many logins at once; try again in a moment";
            return Err(Error::new(ErrorCode::Overloaded, message).retry_after(PATIENCE).into());
        };
        let (answer, answered) = oneshot::channel();
        place.send(Box::new(move || {
            // Nobody waits any more: the work would be for nothing.
            if !answer.is_closed() {
                // The same, a moment later.
                let _ = answer.send(work());
            }
        }));
        answered.await.map_err(|_| Error::internal("a password check ended without an answer").into())
    }
}

fn work(waiting: &Mutex<mpsc::Receiver<Job>>) {
    lower_priority();
    loop {
        // One thread waits in the channel, the others at the lock.
        let Some(job) = waiting.lock().blocking_recv() else { return };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("a password check panicked");
        }
    }
}

/// On Linux priority belongs to a thread.
#[cfg(target_os = "linux")]
fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::warn!(%error, "password checks run with the priority of everything else");
    }
}

/// Elsewhere it belongs to the whole process, which is not what is meant.
#[cfg(not(target_os = "linux"))]
fn lower_priority() {
    let _ = NICENESS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = Passwords::start(2).unwrap();
        let hash = passwords.hash("correct horse".to_owned(), &Entropy::seeded(1)).await.unwrap();
        assert!(passwords.verify("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".to_owned(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("correct horse".to_owned(), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_check_that_panics_costs_only_its_own_answer() {
        let passwords = Passwords::start(1).unwrap();
        passwords.run(|| panic!("on purpose")).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(passwords.run(|| 7).await.unwrap(), 7);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn checks_stand_back_behind_everything_else() {
        let passwords = Passwords::start(1).unwrap();
        let theirs = passwords.run(|| rustix::process::getpriority_process(Some(rustix::thread::gettid()))).await;
        assert!(theirs.unwrap().unwrap() >= NICENESS);
        let ours = rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        assert!(ours < NICENESS);
    }
}
