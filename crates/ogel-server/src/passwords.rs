//! Passwords are hashed and checked on a few threads of their own: each costs a core for some ten milliseconds, and a flood of
//! logins must not take that from requests that are only passed on.
//!
//! One core is left to the others, and whoever else wakes up elsewhere has the core soon. On a machine that is busy all the time
//! that leaves next to nothing; so a job that is not done after [`FIRST_PATIENCE`] is begun a second time on threads that only
//! stand back, and the first answer counts (ADR 34).
//!
//! There are places for as many as are answered in about a second, and whoever is answered leaves theirs, whichever thread it was. Who
//! finds none waits a while, and is then told to come back. Memory is bounded by the number of threads: a job takes what argon2 takes
//! while it runs, and next to nothing while it waits.

use crate::{error::Failure, secrets, world::Entropy};
use ogel_api::error::{Error, ErrorCode};
use parking_lot::Mutex;
use std::{io, pin::pin, sync::Arc, thread, time::Duration};
use tokio::sync::{Semaphore, mpsc, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// The threads. They end when this is dropped.
pub struct Passwords {
    places: Semaphore,
    first: mpsc::Sender<Job>,
    late: mpsc::Sender<Job>,
}

/// Places for each thread, and as many jobs in each of its two queues: what it does in about a second. A queue may also hold jobs that
/// the other one has answered.
const PLACES_PER_THREAD: usize = 32;
/// How long a login waits for a place.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a job waits for a core that nobody wants: longer than fifty logins at once take where there is one.
const FIRST_PATIENCE: Duration = Duration::from_millis(1_500);
/// The most that there is: while others want the core, a thread gets about a hundredth of it.
const NICENESS: i32 = 19;
/// The same of a late thread: about a quarter.
const LATE_NICENESS: i32 = 5;

impl Passwords {
    /// So many threads, and as many for jobs that come too late there; 0 is one less than there are cores.
    pub fn start(threads: usize) -> io::Result<Self> {
        let threads = if threads == 0 { spare_cores() } else { threads }.clamp(1, 64);
        Ok(Self {
            places: Semaphore::new(threads * PLACES_PER_THREAD),
            first: crew("password", threads, || lower_priority(NICENESS))?,
            late: crew("late-password", threads, || lower_priority(LATE_NICENESS))?,
        })
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

    /// `work` may run twice.
    async fn run<T: Send + 'static>(&self, work: impl Fn() -> T + Send + Sync + 'static) -> Result<T, Failure> {
        let Ok(Ok(_place)) = tokio::time::timeout(PATIENCE, self.places.acquire()).await else {
            let message = "too many logins at once; try again in a moment";
            return Err(Error::new(ErrorCode::Overloaded, message).retry_after(PATIENCE).into());
        };
        let work = Arc::new(work);
        let mut first = pin!(answer(&self.first, work.clone()));
        if let Ok(answer) = tokio::time::timeout(FIRST_PATIENCE, &mut first).await {
            return answer;
        }
        tokio::select! {
            answer = first => answer,
            answer = answer(&self.late, work) => answer,
        }
    }
}

/// What comes of `work`, once it has found room in the queue and its turn has come.
async fn answer<T: Send + 'static>(
    queue: &mpsc::Sender<Job>,
    work: Arc<impl Fn() -> T + Send + Sync + 'static>,
) -> Result<T, Failure> {
    let room = queue.reserve().await.map_err(|_| Error::internal("the threads for passwords have ended"))?;
    let answer = submit(room, work).await;
    answer.map_err(|_| Error::internal("a password check ended without an answer").into())
}

fn submit<T: Send + 'static>(
    room: mpsc::Permit<'_, Job>,
    work: Arc<impl Fn() -> T + Send + Sync + 'static>,
) -> oneshot::Receiver<T> {
    let (answer, answered) = oneshot::channel();
    room.send(Box::new(move || {
        // Nobody waits any more: the work would be for nothing.
        if !answer.is_closed() {
            // The same, a moment later.
            let _ = answer.send(work());
        }
    }));
    answered
}

/// `threads` that do what comes, once each has done `prepare`.
fn crew(name: &str, threads: usize, prepare: fn()) -> io::Result<mpsc::Sender<Job>> {
    let (jobs, waiting) = mpsc::channel(threads * PLACES_PER_THREAD);
    let waiting = Arc::new(Mutex::new(waiting));
    for index in 0..threads {
        let waiting = waiting.clone();
        thread::Builder::new().name(format!("{name}-{index}")).spawn(move || {
            prepare();
            work(&waiting);
        })?;
    }
    Ok(jobs)
}

fn work(waiting: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // One thread waits in the channel, the others at the lock.
        let Some(job) = waiting.lock().blocking_recv() else { return };
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
            tracing::error!("a password check panicked");
        }
    }
}

/// All but one, which is left to whoever is not here for a password.
fn spare_cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get() - 1)
}

/// On Linux niceness belongs to a thread. Not `SCHED_IDLE`: the kernel sends whoever wakes up to such a thread's core as if it were
/// free, and there they wait for its next tick.
#[cfg(target_os = "linux")]
fn lower_priority(niceness: i32) {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), niceness) {
        tracing::warn!(%error, "password checks run with the priority of everything else");
    }
}

/// Elsewhere a thread's lowest priority is low enough, and never nothing.
#[cfg(not(target_os = "linux"))]
fn lower_priority(_: i32) {
    if let Err(error) = thread_priority::set_current_thread_priority(thread_priority::ThreadPriority::Min) {
        tracing::warn!(?error, "password checks run with the priority of everything else");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn give<T: Send + 'static>(
        queue: &mpsc::Sender<Job>,
        work: impl Fn() -> T + Send + Sync + 'static,
    ) -> oneshot::Receiver<T> {
        submit(queue.reserve().await.unwrap(), Arc::new(work))
    }

    /// Jobs that end when the sender is dropped: one that a thread of each queue is at, and as many behind it as are asked for.
    async fn busy(
        queues: &[(&mpsc::Sender<Job>, usize)],
    ) -> (std::sync::mpsc::Sender<()>, Vec<oneshot::Receiver<bool>>) {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let (held, mut waiting) = (Arc::new(Mutex::new(held)), Vec::new());
        for (queue, behind) in queues {
            let held = held.clone();
            waiting.push(give(queue, move || held.lock().recv().is_err()).await);
            while queue.capacity() < PLACES_PER_THREAD {
                tokio::task::yield_now().await;
            }
            for _ in 0..*behind {
                waiting.push(give(queue, || true).await);
            }
        }
        (hold, waiting)
    }

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
    async fn checks_stand_back_for_everything_else_and_late_ones_less() {
        let passwords = Passwords::start(1).unwrap();
        let niceness = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).ok();
        let first = give(&passwords.first, niceness).await.await.unwrap();
        let late = give(&passwords.late, niceness).await.await.unwrap();
        assert_eq!(first, Some(NICENESS));
        assert!(niceness() < late && late < first, "{late:?}");
    }

    #[test]
    fn a_core_is_left_to_others() {
        let cores = thread::available_parallelism().unwrap().get();
        let passwords = Passwords::start(0).unwrap();
        assert_eq!(passwords.first.max_capacity(), (cores - 1).clamp(1, 64) * PLACES_PER_THREAD);
    }

    #[tokio::test]
    async fn a_check_that_no_core_is_idle_for_is_done_late_and_not_never() {
        let passwords = Passwords::start(1).unwrap();
        let (hold, stuck) = busy(&[(&passwords.first, 0)]).await;
        let name = passwords.run(|| thread::current().name().map(str::to_owned)).await.unwrap();
        assert_eq!(name.as_deref(), Some("late-password-0"));
        drop(hold);
        for answer in stuck {
            assert!(answer.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_place_is_not_refused_because_others_are_late_as_well() {
        let passwords = Arc::new(Passwords::start(1).unwrap());
        let (hold, _stuck) = busy(&[(&passwords.first, 0), (&passwords.late, PLACES_PER_THREAD)]).await;
        let login = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.run(|| 7).await }
        });
        tokio::time::sleep(PATIENCE * 3).await;
        assert!(!login.is_finished());
        drop(hold);
        assert_eq!(login.await.unwrap().unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_answered_late_leaves_their_place_at_once() {
        let passwords = Passwords::start(1).unwrap();
        let (_hold, _stuck) = busy(&[(&passwords.first, 0)]).await;
        for number in 0..2 * PLACES_PER_THREAD {
            assert_eq!(passwords.run(move || number).await.unwrap(), number);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_is_told_to_come_back() {
        let passwords = Arc::new(Passwords::start(1).unwrap());
        let (hold, waiting) = busy(&[(&passwords.first, 0), (&passwords.late, 0)]).await;
        let login = |_| {
            let passwords = passwords.clone();
            tokio::spawn(async move { passwords.run(|| true).await })
        };
        let logins: Vec<_> = (0..PLACES_PER_THREAD).map(login).collect();
        tokio::task::yield_now().await;
        let refused = passwords.run(|| true).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Overloaded);
        drop(hold);
        for answer in waiting {
            assert!(answer.await.unwrap());
        }
        for login in logins {
            assert!(login.await.unwrap().unwrap());
        }
    }
}
