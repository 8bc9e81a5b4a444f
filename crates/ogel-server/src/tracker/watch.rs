//! The row of a deployment as it changes, for those who wait for it: handlers and log viewers. One task reads it however
//! many wait; what this process writes itself is told at once.

use super::Row;
use crate::state::App;
use ogel_api::{deployments::DeploymentStatus, id::DeploymentId};
use ogel_store::Deployment;
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Between two looks at the row, should another replica be the one that changes it.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The rows that somebody waits for here.
#[derive(Default)]
pub struct Tracker {
    watched: Mutex<HashMap<DeploymentId, watch::Sender<Row>>>,
}

impl Tracker {
    /// Tells those who wait how the row stands now; `None`: it is no more.
    pub(super) fn tell(&self, id: DeploymentId, row: Option<&Row>) {
        let sender = self.watched.lock().get(&id).cloned();
        if let Some(sender) = sender {
            sender.send_if_modified(|known| replace(known, row));
        }
    }
}

/// Takes over what is newer. A row that was deleted counts as canceled.
fn replace(known: &mut Row, row: Option<&Row>) -> bool {
    if known.status.is_terminal() {
        return false;
    }
    match row {
        Some(row) if row == known || row.updated_at < known.updated_at => return false,
        Some(row) => *known = row.clone(),
        None => *known = Arc::new(Deployment { status: DeploymentStatus::Canceled, ..(**known).clone() }),
    }
    true
}

/// The row as it changes; an ended row never changes again.
pub(crate) fn follow(app: &App, row: &Row) -> watch::Receiver<Row> {
    if row.status.is_terminal() {
        return watch::channel(row.clone()).1;
    }
    let mut watched = app.tracker.watched.lock();
    if let Some(known) = watched.get(&row.id) {
        return known.subscribe();
    }
    let (sender, receiver) = watch::channel(row.clone());
    watched.insert(row.id, sender.clone());
    drop(watched);
    let (state, id) = (app.clone(), row.id);
    app.in_background(async move {
        tokio::select! {
            () = look(&state, id, &sender) => {}
            () = state.shutdown.cancelled() => drop(state.tracker.watched.lock().remove(&id)),
        }
    });
    receiver
}

/// Until it has ended or nobody waits any more.
async fn look(app: &App, id: DeploymentId, sender: &watch::Sender<Row>) {
    let mut pause = FIRST_LOOK;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = sender.closed() => {}
        }
        {
            let mut watched = app.tracker.watched.lock();
            if sender.receiver_count() == 0 || sender.borrow().status.is_terminal() {
                watched.remove(&id);
                return;
            }
        }
        match app.store.deployment_for_follower(id).await {
            Ok(row) => drop(sender.send_if_modified(|known| replace(known, row.map(Arc::new).as_ref()))),
            Err(error) => tracing::warn!(deployment.id = %id, %error, "a deployment that is waited for cannot be read"),
        }
        pause = LAST_LOOK.min(pause * 2);
    }
}

/// The row once `done` holds for it, or as it stands after `wait`.
pub(crate) async fn wait_until(app: &App, row: Row, wait: Duration, done: impl Fn(&Deployment) -> bool) -> Row {
    let mut receiver = follow(app, &row);
    let _ = tokio::time::timeout(wait, receiver.wait_for(|row| done(row))).await;
    receiver.borrow().clone()
}
