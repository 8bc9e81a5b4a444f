//! Ghost's sites and domains under ids of ours. What was made through us has the same id on both sides; what was made
//! elsewhere gets one of ours when it is first seen in a list. Ghost's ids never leave this process. Next: `changes.rs`, which
//! makes and ends the mappings of what is made and removed through us.

use crate::{
    error::{Failure, Result},
    state::App,
};
use foldhash::fast::RandomState;
use moka::sync::Cache;
use ogel_api::id::ProjectId;
use ogel_store::{GhostObject, ObjectKind};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use uuid::Uuid;

/// Ours by Ghost's, of one kind and project.
pub(crate) type Ids = HashMap<Box<str>, Uuid, RandomState>;

/// Mappings in memory. They never change; but one can go, and Ghost's id be used again, so another process's news is
/// waited for no longer than this.
const KEPT: Duration = Duration::from_secs(300);

pub struct Objects {
    by_id: Cache<Uuid, Arc<GhostObject>, RandomState>,
    by_project: Cache<(ProjectId, ObjectKind), Arc<Ids>, RandomState>,
}

impl Default for Objects {
    fn default() -> Self {
        let weight = |_: &_, ids: &Arc<Ids>| u32::try_from(ids.len()).unwrap_or(u32::MAX).saturating_add(1);
        Self {
            by_id: Cache::builder().max_capacity(200_000).time_to_live(KEPT).build_with_hasher(RandomState::default()),
            by_project: Cache::builder()
                .max_capacity(500_000)
                .weigher(weight)
                .time_to_live(KEPT)
                .build_with_hasher(RandomState::default()),
        }
    }
}

impl Objects {
    pub(crate) fn forget(&self, object: &GhostObject) {
        self.by_id.invalidate(&object.id);
        self.by_project.invalidate(&(object.project_id, object.kind));
    }
}

/// The object with this id of ours. Says nothing of who may see it.
pub(crate) async fn find(app: &App, id: Uuid, kind: ObjectKind) -> Result<Option<Arc<GhostObject>>> {
    let of_kind = |object: &Arc<GhostObject>| object.kind == kind;
    if let Some(known) = app.objects.by_id.get(&id) {
        return Ok(Some(known).filter(of_kind));
    }
    let state = app.clone();
    let found = app.read_on_control(async move { state.store.ghost_object(id).await }).await??;
    let Some(object) = found.map(Arc::new) else { return Ok(None) };
    app.objects.by_id.insert(id, object.clone());
    Ok(Some(object).filter(of_kind))
}

/// Ids of ours for all of `ghost_ids`, and perhaps more. What has none yet gets one.
pub(crate) async fn ids<'a>(
    app: &App,
    project: ProjectId,
    kind: ObjectKind,
    ghost_ids: impl Iterator<Item = &'a str> + Clone,
) -> Result<Arc<Ids>> {
    let known = app.objects.by_project.get(&(project, kind));
    // A set, because in one statement no row may be written twice.
    let unknown: BTreeSet<Box<str>> = match &known {
        Some(known) => ghost_ids.filter(|id| !known.contains_key(*id)).map(Into::into).collect(),
        None => ghost_ids.map(Into::into).collect(),
    };
    if unknown.is_empty() {
        return Ok(known.unwrap_or_default());
    }
    let state = app.clone();
    let found = app.on_control(async move { learn(&state, project, kind, &unknown).await }).await??;
    let mut all = known.as_deref().cloned().unwrap_or_default();
    all.extend(found.into_iter().map(|object| (object.ghost_id.into_boxed_str(), object.id)));
    let all = Arc::new(all);
    app.objects.by_project.insert((project, kind), all.clone());
    Ok(all)
}

/// One statement to read them, and one more to write those that nobody has seen before.
async fn learn(
    app: &App,
    project: ProjectId,
    kind: ObjectKind,
    ghost_ids: &BTreeSet<Box<str>>,
) -> Result<Vec<GhostObject>, Failure> {
    let list: Vec<&str> = ghost_ids.iter().map(AsRef::as_ref).collect();
    let mut found = app.store.ghost_objects(project, kind, &list).await?;
    let fresh: Vec<(Uuid, &str)> = list
        .into_iter()
        .filter(|ghost_id| !found.iter().any(|object| object.ghost_id == *ghost_id))
        .map(|ghost_id| (app.world.uuid(), ghost_id))
        .collect();
    found.extend(app.store.map_ghost_objects(project, kind, &fresh, app.world.now()).await?);
    Ok(found)
}

/// One that is about to be made at Ghost, under the same id on both sides.
pub(crate) fn new(id: Uuid, project_id: ProjectId, kind: ObjectKind) -> GhostObject {
    GhostObject { id, project_id, kind, ghost_id: id.to_string() }
}
