//! What a caller may do in a project, remembered until it changes: a read that is only passed on to Ghost then costs no
//! database trip. What is changed here counts at once; what another process changed, within a second
//! ([`crate::identities`]).

use crate::{bridge::GhostProject, caller::Caller, error::Result, memory::Memory, pipeline::RequestContext, responses};
use ogel_api::{
    error::Error,
    id::{Id, ProjectId},
    organizations::Role,
};
use ogel_store::{Project, Viewer};
use std::sync::Arc;
use tokio::time::Instant;

/// A project that a caller may see.
pub(crate) struct Access {
    pub(crate) project: Project,
    pub(crate) role: Role,
    /// `None` while Ghost has never heard of the project.
    pub(crate) ghost: Option<Arc<GhostProject>>,
    /// What answers about it are kept under.
    pub(crate) scope: Arc<str>,
}

/// Accesses that one thread remembers, by who looks at what.
pub(crate) type ThreadAccesses = Memory<(Viewer, ProjectId), Arc<Access>>;

/// The project, if the caller may know of it. From memory, else from the control plane.
pub(crate) async fn seen(context: &RequestContext, caller: &Caller, project: ProjectId) -> Result<Option<Arc<Access>>> {
    let (core, now) = (&context.core, Instant::now().into_std());
    let app = &core.app;
    let key = (caller.viewer.clone(), project);
    let known = match app.identities.is_current(now, app.config().trust_without_database) {
        true => {
            let subjects = |_: &_| [caller.viewer.user.0, project.0];
            core.accesses.get(&key, (&app.identities, now), subjects, |access, _| Some(access.clone()))
        }
        false => None,
    };
    if known.is_some() {
        return Ok(known);
    }
    let asked = app.identities.version();
    let (state, viewer) = (app.clone(), caller.viewer.clone());
    let look_up = async move {
        let Some((project, role)) = state.store.project(&viewer, project).await? else { return Ok(None) };
        let ghost = state.bridge.known_project(project.id).await?.map(Arc::new);
        let scope = responses::scope_of(project.id);
        Ok::<_, crate::error::Failure>(Some(Arc::new(Access { project, role, ghost, scope })))
    };
    let found = app.read_on_control(look_up).await??;
    // A project that Ghost does not know yet may be made there at any moment, also by another process.
    if let Some(access) = found.as_ref().filter(|access| access.ghost.is_some()) {
        core.accesses.put(key, access.clone(), asked, Instant::now().into_std());
    }
    Ok(found)
}

/// The project by its id, or 404.
pub(crate) async fn of_project(context: &RequestContext, caller: &Caller, project: ProjectId) -> Result<Arc<Access>> {
    Ok(seen(context, caller, project).await?.ok_or_else(|| Error::not_found("project", project))?)
}

/// The project that a thing is in. Who may not see the project is told that there is no such thing.
pub(crate) async fn of_thing(
    context: &RequestContext,
    caller: &Caller,
    project: ProjectId,
    noun: &str,
    id: impl Id,
) -> Result<Arc<Access>> {
    Ok(seen(context, caller, project).await?.ok_or_else(|| Error::not_found(noun, id))?)
}
