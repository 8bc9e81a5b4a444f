//! Which project a deployment or build is in. That never changes, so it is remembered: a read that is kept then needs no
//! database to find out whether the caller may have it.

use crate::{
    access::{self, Access},
    caller::Caller,
    error::Result,
    pipeline::RequestContext,
};
use foldhash::fast::RandomState;
use moka::sync::Cache;
use ogel_api::{
    error::Error,
    id::{BuildId, DeploymentId, Id, ProjectId},
};
use std::sync::Arc;
use uuid::Uuid;

pub struct Places(Cache<Uuid, ProjectId, RandomState>);

impl Default for Places {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(200_000).build_with_hasher(RandomState::default()))
    }
}

/// The project of the deployment as the caller sees it, or 404.
pub(crate) async fn of_deployment(context: &RequestContext, caller: &Caller, id: DeploymentId) -> Result<Arc<Access>> {
    let state = context.core.app.clone();
    of(context, caller, "deployment", id, async move { state.store.deployment_for_follower(id).await }).await
}

/// The project of the build as the caller sees it, or 404.
pub(crate) async fn of_build(context: &RequestContext, caller: &Caller, id: BuildId) -> Result<Arc<Access>> {
    let state = context.core.app.clone();
    of(context, caller, "build", id, async move { state.store.deployment_of_build(id).await }).await
}

async fn of(
    context: &RequestContext,
    caller: &Caller,
    noun: &str,
    id: impl Id,
    find: impl Future<Output = Result<Option<ogel_store::Deployment>, ogel_store::StoreError>> + Send + 'static,
) -> Result<Arc<Access>> {
    let app = &context.core.app;
    let project = match app.places.0.get(&id.uuid()) {
        Some(project) => project,
        None => {
            let found = app.on_control(find).await??;
            let project = found.ok_or_else(|| Error::not_found(noun, id))?.project_id;
            app.places.0.insert(id.uuid(), project);
            project
        }
    };
    access::of_thing(context, caller, project, noun, id).await
}
