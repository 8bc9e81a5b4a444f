//! The end of what was deleted: once it can no longer be restored it goes for good, at Ghost first. What Ghost does not
//! take now is tried again at the next round; every replica may try, and the row decides who was in time.

use crate::{error::Failure, state::App};
use ogel_store::{Act, StoreError};

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
        if let Err(failure) = app.bridge.delete_project(project.id).await {
            tracing::warn!(project.id = %project.id, error = ?failure.0, "a deleted project could not be removed at Ghost");
            continue;
        }
        let act = Act::by_the_system(app.world.uuid(), now);
        if app.store.purge_project(&act, project.id, before).await?.is_ok() {
            tracing::info!(project.id = %project.id, "a deleted project was purged");
        }
    }
    match app.store.purge_organizations(before, BATCH).await {
        // A deleted project of one is not purged yet: its turn comes after that.
        Ok(_) | Err(StoreError::ForeignKey) => {}
        Err(error) => return Err(error.into()),
    }
    app.store.delete_lapsed_slugs(now, BATCH).await?;
    let days = i64::try_from(app.config().retention.audit_days.min(36_500)).unwrap_or(400);
    app.store.delete_old_audit_entries(now - chrono::TimeDelta::days(days), BATCH * 100).await?;
    Ok(())
}
