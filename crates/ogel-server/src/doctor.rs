//! `ogeld doctor`: what an operator wants to know first when something is wrong, from the database and the deployment
//! backend themselves. Works while no `ogeld` runs, and beside any number of them.

use crate::{
    config::Config,
    run::{self, Doing as _, StartError},
    world::World,
};
use ogel_api::{id::OperationId, operations::OperationState};
use ogel_ghost::CallContext;
use ogel_proxy::Connector;
use ogel_store::{PageRequest, Store};
use std::{fmt::Write as _, time::Duration};

/// Lines of one kind that are printed at most.
const LINES: u32 = 20;
/// How long Ghost may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Work that has been due for longer is not being done.
const LATE: chrono::TimeDelta = chrono::TimeDelta::minutes(1);

/// What was found.
pub struct Report {
    pub text: String,
    pub is_well: bool,
}

impl Report {
    fn line(&mut self, is_well: bool, what: &str) {
        self.is_well &= is_well;
        let _ = writeln!(self.text, "{} {what}", if is_well { "ok  " } else { "BAD " });
    }

    fn detail(&mut self, what: &str) {
        let _ = writeln!(self.text, "       {what}");
    }
}

/// Looks at everything; first has the operations in `retry` done after all.
pub async fn examine(config: Config, retry: &[OperationId]) -> Result<Report, StartError> {
    config.check().doing("the configuration is not complete")?;
    let mut report = Report { text: String::new(), is_well: true };
    let world = World::system();
    match run::open_store(&config).await {
        Ok(store) => {
            examine_store(&mut report, &store, &world, retry).await?;
            store.close().await;
        }
        Err(error) => report.line(false, &format!("database: {error}")),
    }
    let connector = Connector::direct().doing("cannot read this machine's root certificates")?;
    let upstream = run::upstream_of(&config, &world, connector);
    match upstream.connect() {
        Ok(ghost) => match ghost.health(CallContext::within(PATIENCE)).await {
            Ok(_) => report.line(true, "deployment backend: answers"),
            Err(error) => report.line(false, &format!("deployment backend: {error}")),
        },
        Err(error) => report.line(false, &format!("deployment backend: {error}")),
    }
    Ok(report)
}

async fn examine_store(
    report: &mut Report,
    store: &Store,
    world: &World,
    retry: &[OperationId],
) -> Result<(), StartError> {
    if let Err(error) = store.ping().await {
        report.line(false, &format!("database: {error}"));
        return Ok(());
    }
    report.line(true, &format!("database: {} answers", store.kind()));
    let now = world.now();
    for id in retry {
        match store.retry_operation(*id, now).await.doing("cannot retry the operation")? {
            Some(_) => report.line(true, &format!("operation {id}: will be done after all")),
            None => report.line(false, &format!("operation {id}: is not there, or not dead")),
        }
    }
    let queues = match store.queue_figures(now).await {
        Ok(queues) => queues,
        Err(error) => {
            report.line(false, &format!("work: cannot be read ({error}); run `ogeld migrate`"));
            return Ok(());
        }
    };
    for figures in &queues {
        let late = figures.oldest_due_at.map(|due| now - due).filter(|late| *late > LATE);
        let mut what = format!(
            "queue {}: {} waiting, {} in work, {} dead",
            figures.queue, figures.waiting, figures.leased, figures.dead
        );
        if let Some(late) = late {
            let _ = write!(what, "; the oldest has been due for {} s, so no replica is at it", late.num_seconds());
        }
        report.line(figures.dead == 0 && late.is_none(), &what);
    }
    let request = PageRequest { limit: LINES, after: None };
    let dead = store.operations(Some(OperationState::Dead), &request).await.doing("cannot read operations")?;
    for operation in &dead.rows {
        let (queue, id) = operation.job();
        let error = store.job(queue, id).await.doing("cannot read jobs")?.and_then(|job| job.last_error);
        report.detail(&format!("{} {}: {}", operation.id, operation.kind, error.unwrap_or_default()));
    }
    if !dead.rows.is_empty() {
        report.detail("`ogeld doctor --retry op_…` has one done after all");
    }
    let findings = store.findings(LINES).await.doing("cannot read findings")?;
    match store.last_comparison().await.doing("cannot read comparisons")? {
        None => report.line(true, "records: not compared yet"),
        Some(last) => {
            let what = format!(
                "records: {} projects with {} deployments compared at {}, {} set right",
                last.projects, last.deployments, last.finished_at, last.repaired
            );
            report.line(findings.is_empty(), &what);
        }
    }
    for finding in &findings {
        report.detail(&format!("{} {} {}: {}", finding.kind, finding.project_id, finding.ghost_id, finding.detail));
    }
    Ok(())
}
