//! What a caller may do in a project, remembered for a second: a read that is only passed on to Ghost then costs no
//! database trip. What is changed here counts at once; what another process changed, within that second.

use crate::{bridge::GhostProject, caller::Caller, error::Result, state::App};
use moka::sync::Cache;
use ogel_api::{
    error::Error,
    id::{Id, ProjectId},
    organizations::Role,
};
use ogel_store::{Project, Viewer};
use std::{sync::Arc, time::Duration};

/// A project that a caller may see.
pub(crate) struct Access {
    pub(crate) project: Project,
    pub(crate) role: Role,
    /// `None` while Ghost has never heard of the project.
    pub(crate) ghost: Option<Arc<GhostProject>>,
}

/// Accesses by who looks at what.
pub struct Accesses(Cache<(Viewer, ProjectId), Arc<Access>>);

impl Default for Accesses {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(100_000).time_to_live(Duration::from_secs(1)).build())
    }
}

impl Accesses {
    /// For whoever changes a project or a membership. Everything goes, which costs one trip each: changes are rare.
    pub(crate) fn forget(&self) {
        self.0.invalidate_all();
    }
}

/// The project, if the caller may know of it. From memory, else from the control plane.
pub(crate) async fn seen(app: &App, caller: &Caller, project: ProjectId) -> Result<Option<Arc<Access>>> {
    let key = (caller.viewer.clone(), project);
    if let Some(known) = app.accesses.0.get(&key) {
        return Ok(Some(known));
    }
    let state = app.clone();
    let viewer = caller.viewer.clone();
    let look_up = async move {
        let Some((project, role)) = state.store.project(&viewer, project).await? else { return Ok(None) };
        let ghost = state.bridge.known_project(project.id).await?.map(Arc::new);
        Ok::<_, crate::error::Failure>(Some(Arc::new(Access { project, role, ghost })))
    };
    let found = app.on_control(look_up).await??;
    // A project that Ghost does not know yet may be made there at any moment, also by another process.
    if let Some(access) = found.as_ref().filter(|access| access.ghost.is_some()) {
        app.accesses.0.insert(key, access.clone());
    }
    Ok(found)
}

/// The project by its id, or 404.
pub(crate) async fn of_project(app: &App, caller: &Caller, project: ProjectId) -> Result<Arc<Access>> {
    Ok(seen(app, caller, project).await?.ok_or_else(|| Error::not_found("project", project))?)
}

/// The project that a thing is in. Who may not see the project is told that there is no such thing.
pub(crate) async fn of_thing(
    app: &App,
    caller: &Caller,
    project: ProjectId,
    noun: &str,
    id: impl Id,
) -> Result<Arc<Access>> {
    Ok(seen(app, caller, project).await?.ok_or_else(|| Error::not_found(noun, id))?)
}
