//! The end of what was deleted: once it can no longer be restored it goes for good, at Ghost first. Each project is an
//! operation (`doing.rs`), so that one replica does it, and goes on when Ghost does not answer now.

use crate::{doing, error::Failure, state::App};
use ogel_api::{error::ErrorCode, id::ProjectId, operations::OperationKind};
use ogel_store::{Act, Purge, StoreError};

/// Things purged in one round. The next is ten minutes later.
const BATCH: u32 = 100;

/// One round.
pub async fn purge_due(app: &App) {
    if let Err(failure) = round(app).await {
        tracing::warn!(error = ?failure.0, "what was deleted could not be purged; it is tried again");
    }
}

async fn round(app: &App) -> Result<(), Failure> {
    let now = app.world.now();
    let before = now - crate::resources::shared::restore_window(app);
    for project in app.store.projects_to_purge(before, BATCH).await? {
        let asked = doing::Asked {
            kind: OperationKind::DeleteProject,
            project: project.id,
            deployment: None,
            act: None,
            reason: None,
        };
        if let Err(failure) = doing::done(app, &asked).await {
            tracing::warn!(project.id = %project.id, error = ?failure.0, "a deleted project could not be purged");
        }
    }
    match app.store.purge_organizations(before, BATCH).await {
        // A deleted project of one is not purged yet: its turn comes after that.
        Ok(_) | Err(StoreError::ForeignKey) => {}
        Err(error) => return Err(error.into()),
    }
    let month_ago = now - chrono::TimeDelta::days(30);
    app.store.delete_lapsed_invitations(month_ago, BATCH).await?;
    app.store.delete_failed_mails(month_ago, BATCH).await?;
    app.store.delete_lapsed_slugs(now, BATCH).await?;
    let days = i64::try_from(app.config().retention.audit_days.min(36_500)).unwrap_or(400);
    app.store.delete_old_audit_entries(now - chrono::TimeDelta::days(days), BATCH * 100).await?;
    Ok(())
}

/// Removes a project at Ghost, then its record. From the beginning on it cannot be restored any more; one that was restored
/// before stays, and that is a failure.
pub(crate) async fn project(app: &App, id: ProjectId) -> Result<(), Failure> {
    let now = app.world.now();
    let before = now - crate::resources::shared::restore_window(app);
    match app.store.begin_purge(id, before, now).await? {
        Purge::Begun => {}
        Purge::NotDue => {
            return Err(Failure::new(ErrorCode::Conflict, "the project was restored before this was done"));
        }
        // By an earlier attempt.
        Purge::Done => return Ok(()),
    }
    app.bridge.delete_project(id).await?;
    let act = Act::by_the_system(app.world.uuid(), now);
    if app.store.purge_project(&act, id).await?.is_ok() {
        tracing::info!(project.id = %id, "a deleted project was purged");
    }
    Ok(())
}
