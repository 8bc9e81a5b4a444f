//! What a caller may do in a project, remembered until it changes: a read that is only passed on to Ghost then costs no
//! database trip. What is changed here counts at once; what another process changed, within a second
//! ([`crate::identities`]).

use crate::{
    bridge::GhostProject,
    caller::Caller,
    error::Result,
    identities::{Identities, KEPT, Version},
    responses,
    state::App,
};
use moka::sync::Cache;
use ogel_api::{
    error::Error,
    id::{Id, ProjectId},
    organizations::Role,
};
use ogel_store::{Project, Viewer};
use std::sync::Arc;

/// A project that a caller may see.
pub(crate) struct Access {
    pub(crate) project: Project,
    pub(crate) role: Role,
    /// `None` while Ghost has never heard of the project.
    pub(crate) ghost: Option<Arc<GhostProject>>,
    /// What answers about it are kept under.
    pub(crate) scope: Arc<str>,
}

/// Accesses by who looks at what.
pub struct Accesses {
    known: Cache<(Viewer, ProjectId), Known>,
    identities: Arc<Identities>,
}

/// With the version from before the database was asked.
type Known = (Version, Arc<Access>);

impl Accesses {
    pub(crate) fn new(identities: Arc<Identities>) -> Self {
        Self { known: Cache::builder().max_capacity(100_000).time_to_live(KEPT).build(), identities }
    }

    /// For whoever changes a project.
    pub(crate) fn forget(&self, project: ProjectId) {
        self.identities.forget(project.0);
    }

    fn get(&self, app: &App, key: &(Viewer, ProjectId)) -> Option<Arc<Access>> {
        let (asked, access) = self.known.get(key)?;
        let now = tokio::time::Instant::now().into_std();
        let holds = self.identities.holds(asked, &[key.0.user.0, key.1.0]).is_some();
        (holds && self.identities.is_current(now, app.config().trust_without_database)).then_some(access)
    }
}

/// The project, if the caller may know of it. From memory, else from the control plane.
pub(crate) async fn seen(app: &App, caller: &Caller, project: ProjectId) -> Result<Option<Arc<Access>>> {
    let key = (caller.viewer.clone(), project);
    if let Some(known) = app.accesses.get(app, &key) {
        return Ok(Some(known));
    }
    let asked = app.identities.version();
    let state = app.clone();
    let viewer = caller.viewer.clone();
    let look_up = async move {
        let Some((project, role)) = state.store.project(&viewer, project).await? else { return Ok(None) };
        let ghost = state.bridge.known_project(project.id).await?.map(Arc::new);
        let scope = responses::scope_of(project.id);
        Ok::<_, crate::error::Failure>(Some(Arc::new(Access { project, role, ghost, scope })))
    };
    let found = app.read_on_control(look_up).await??;
    // A project that Ghost does not know yet may be made there at any moment, also by another process.
    if let Some(access) = found.as_ref().filter(|access| access.ghost.is_some()) {
        app.accesses.known.insert(key, (asked, access.clone()));
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
