//! Ending sessions that Studio keeps: ours to refuse, not to delete.

use super::{ROW_LASTS, StudioSession, revocation_id};
use crate::{error::Result, state::App};
use chrono::{DateTime, Utc};
use ogel_api::id::UserId;
use ogel_store::{Act, Store, StoreError, StudioDatabase};

/// Rows of one person that are ended with all the others, those that end last first.
const MOST_ROWS: u32 = 1000;
/// Ids at Studio that one person may have.
const MOST_SUBJECTS: u32 = 20;

/// One session is over.
pub(crate) async fn end(app: &App, act: &Act, user: UserId, session: &StudioSession) -> Result<()> {
    app.store.revoke_session(act, &session.revocation_id, user, session.ends_at).await?;
    app.callers.forget(user);
    app.bridge.drop_token(user).await;
    Ok(())
}

/// All of a person's sessions that have begun by now are over, ours and Studio's.
pub(crate) async fn end_all(app: &App, act: &Act, user: UserId) -> Result<()> {
    end_in_store(&app.store, app.studio_database.as_ref(), act, user).await?;
    app.callers.forget(user);
    app.bridge.drop_token(user).await;
    Ok(())
}

pub(crate) async fn end_in_store(
    store: &Store,
    studio: Option<&StudioDatabase>,
    act: &Act,
    user: UserId,
) -> std::result::Result<(), StoreError> {
    end_rows(store, studio, user, act.at).await?;
    store.revoke_all_sessions(act, user).await
}

/// Rows say when they end, not when they began, so each that is there is ended by itself. Answers with all that Studio may
/// call the person.
pub(crate) async fn end_rows(
    store: &Store,
    studio: Option<&StudioDatabase>,
    user: UserId,
    now: DateTime<Utc>,
) -> std::result::Result<Vec<String>, StoreError> {
    let mut subjects = store.studio_subjects(user, MOST_SUBJECTS).await?;
    // People of a Studio on the same database have the same id there.
    subjects.push(user.0.to_string());
    if let Some(studio) = studio {
        for subject in &subjects {
            for token in studio.tokens_of(subject, MOST_ROWS).await? {
                store.revoke_session_too(&revocation_id("token ", &token), user, now, now + ROW_LASTS).await?;
            }
        }
    }
    Ok(subjects)
}
