//! Faults a test can inject while the Ghost runs: slow answers, wrong answers, no answers, lost sockets, lost or
//! doubled webhooks. Off until asked for. Refuses randomness: every fault is counted, so a test can be exact.
//! Next: `serve.rs` applies the HTTP ones, `realtime.rs` and `webhooks.rs` the others.

use std::time::Duration;

use http::Method;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Runtime-settable faults of one embedded Ghost.
#[derive(Debug)]
pub struct Faults {
    plan: Mutex<Plan>,
    socket_epoch: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Plan {
    latency: Duration,
    rules: Vec<Rule>,
    drop_webhooks: u32,
    duplicate_webhooks: u32,
    swap_webhooks: u32,
}

#[derive(Debug)]
struct Rule {
    method: Option<Method>,
    path_prefix: String,
    left: u32,
    action: Action,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Answer with this status; the work is not done.
    Status(u16),
    /// Close the connection; the work is not done.
    DropConnection,
    /// Do the work, then close the connection instead of answering.
    DropAnswer,
    /// Do the work, then close the connection in the middle of the answer's body.
    CutAnswer,
}

/// How often one webhook is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Never,
    Once,
    Twice,
    /// After the one that follows it.
    Late,
}

impl Faults {
    pub(crate) fn new() -> Faults {
        Faults { plan: Mutex::default(), socket_epoch: watch::Sender::new(0) }
    }

    /// Adds this much time before every answer of the API. Zero ends it.
    pub fn set_latency(&self, latency: Duration) {
        self.plan.lock().latency = latency;
    }

    /// Answers the next `n` calls whose method (any if `None`) and path prefix match with `status`, work undone.
    pub fn fail_next(&self, n: u32, method: Option<Method>, path_prefix: &str, status: u16) {
        self.add(n, method, path_prefix, Action::Status(status));
    }

    /// Closes the connection of the next `n` matching calls without an answer, work undone.
    pub fn drop_next_connections(&self, n: u32, method: Option<Method>, path_prefix: &str) {
        self.add(n, method, path_prefix, Action::DropConnection);
    }

    /// Does the work of the next `n` matching calls, then closes the connection without an answer.
    pub fn drop_next_answers(&self, n: u32, method: Option<Method>, path_prefix: &str) {
        self.add(n, method, path_prefix, Action::DropAnswer);
    }

    /// Does the work of the next `n` matching calls, then closes the connection halfway through the answer.
    pub fn cut_next_answers(&self, n: u32, method: Option<Method>, path_prefix: &str) {
        self.add(n, method, path_prefix, Action::CutAnswer);
    }

    /// Cuts every open realtime socket, without a close frame. New ones are accepted.
    pub fn drop_realtime_sockets(&self) {
        self.socket_epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Never delivers the next `n` webhooks.
    pub fn drop_next_webhooks(&self, n: u32) {
        self.plan.lock().drop_webhooks = n;
    }

    /// Delivers the next `n` webhooks twice, with the same id.
    pub fn duplicate_next_webhooks(&self, n: u32) {
        self.plan.lock().duplicate_webhooks = n;
    }

    /// Delivers the next `n` webhooks after the ones that follow them.
    pub fn swap_next_webhooks(&self, n: u32) {
        self.plan.lock().swap_webhooks = n;
    }

    /// Ends every fault.
    pub fn clear(&self) {
        *self.plan.lock() = Plan::default();
    }

    fn add(&self, n: u32, method: Option<Method>, path_prefix: &str, action: Action) {
        if n > 0 {
            self.plan.lock().rules.push(Rule { method, path_prefix: path_prefix.to_owned(), left: n, action });
        }
    }

    /// The delay and the fault of one call; counts the fault as used.
    pub(crate) fn take(&self, method: &Method, path: &str) -> (Duration, Option<Action>) {
        let mut plan = self.plan.lock();
        let hit = plan.rules.iter_mut().find(|rule| {
            rule.method.as_ref().is_none_or(|wanted| wanted == method) && path.starts_with(&rule.path_prefix)
        });
        let action = hit.map(|rule| {
            rule.left -= 1;
            rule.action
        });
        plan.rules.retain(|rule| rule.left > 0);
        (plan.latency, action)
    }

    pub(crate) fn take_webhook(&self) -> Delivery {
        let mut plan = self.plan.lock();
        if plan.drop_webhooks > 0 {
            plan.drop_webhooks -= 1;
            Delivery::Never
        } else if plan.duplicate_webhooks > 0 {
            plan.duplicate_webhooks -= 1;
            Delivery::Twice
        } else if plan.swap_webhooks > 0 {
            plan.swap_webhooks -= 1;
            Delivery::Late
        } else {
            Delivery::Once
        }
    }

    pub(crate) fn sockets(&self) -> watch::Receiver<u64> {
        self.socket_epoch.subscribe()
    }
}
