//! Deployments: Studio's record of them and Ghost's work on them.
//!
//! Deploying again is in `again.rs`, what is in production in `production.rs`, what happened in `events.rs`.

mod again;
mod events;
mod production;

use super::{
    operations,
    projects::{self, ProjectRef},
    shared::{self, PageParameters},
};
use crate::{
    billing::admission,
    caller::{Allowed, Caller, scope},
    doing,
    error::{Failure, Result},
    extract::{Json, NoParameters, Parameters, Path, Query, parameter},
    permissions::rule,
    pipeline::{Made, RequestContext},
    places, repository,
    responses::{self, Wish},
    router::{Routes, routes},
    state::App,
    tracker, work,
};
use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ogel_api::{
    deployments::{Deployment, DeploymentList, DeploymentStatus, NewDeployment},
    error::{Error, ErrorCode},
    id::{BuildId, DeploymentId, OperationId, ProjectId},
    operations::{Operation, OperationKind},
    organizations::Role,
};
use ogel_store::{Act, DeploymentFilter, StoreError, Viewer};
use std::{fmt, sync::Arc, time::Duration};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_deployments, create_deployment))
        .routes(routes!(delete_deployment))
        .routes(routes!(cancel_deployment))
        .routes(routes!(again::redeploy_deployment))
        .routes(routes!(production::promote_deployment))
        .routes(routes!(production::rollback_deployment))
        .routes(routes!(events::list_deployment_events))
}

/// A read that is often repeated: while one waits for a build.
pub(crate) fn data_plane() -> Routes {
    Routes::new().routes(routes!(get_deployment))
}

pub(crate) fn wire(row: &ogel_store::Deployment) -> Deployment {
    Deployment {
        id: row.id,
        project_id: row.project_id,
        build_id: row.build_id,
        status: row.status,
        repo_url: row.repo_url.clone(),
        branch: row.branch.clone(),
        commit_sha: row.commit_sha.clone(),
        commit_message: row.commit_message.clone(),
        framework: row.framework.clone(),
        preview_url: row.preview_url.clone(),
        created_by: row.created_by,
        tags: row.tags.clone(),
        error: row.error.clone(),
        active: row.is_active,
        promoted_at: row.promoted_at.map(Into::into),
        created_at: row.created_at.into(),
        completed_at: row.completed_at.map(Into::into),
        operation_id: None,
    }
}

/// The same in an answer with 202.
fn wire_pending(row: &ogel_store::Deployment, operation: OperationId) -> Deployment {
    Deployment { operation_id: Some(operation), ..wire(row) }
}

/// The deployment, if the caller may know of it.
pub(super) async fn visible(app: &App, viewer: &Viewer, id: DeploymentId) -> Result<(ogel_store::Deployment, Role)> {
    Ok(app.store.deployment(viewer, id).await?.ok_or_else(|| Error::not_found("deployment", id))?)
}

/// Filters of the list; `projectId` only where the path does not name the project.
#[derive(Default)]
pub(crate) struct ListParameters {
    page: PageParameters,
    filter: DeploymentFilter,
}

impl Parameters for ListParameters {
    const KNOWN: &'static [&'static str] = &["projectId", "status", "branch", "limit", "cursor"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "projectId" => self.filter.project = Some(parameter::<ProjectId>(value)?),
            "status" => self.filter.status = Some(parameter::<DeploymentStatus>(value)?),
            "branch" => self.filter.branch = Some(value.to_owned()),
            _ => self.page.set(name, value)?,
        }
        Ok(())
    }
}

/// The same without `projectId`.
#[derive(Default)]
pub(crate) struct ProjectListParameters(ListParameters);

impl Parameters for ProjectListParameters {
    const KNOWN: &'static [&'static str] = &["status", "branch", "limit", "cursor"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.0.set(name, value)
    }
}

/// One page: one query, however long the page is.
async fn page(app: &App, viewer: &Viewer, query: &ListParameters) -> Result<Json<DeploymentList>> {
    let filters = format!("{:?}", query.filter);
    let page = app.store.deployments(viewer, &query.filter, &query.page.request(&filters)?).await?;
    let pagination = shared::pagination(&page, &filters);
    Ok(Json(DeploymentList { deployments: page.rows.iter().map(wire).collect(), pagination }))
}

/// Deployments of the caller's projects, newest first.
#[utoipa::path(get, path = "/deployments", operation_id = "list_deployments", tag = "deployments",
    params(("projectId" = Option<ProjectId>, Query), ("status" = Option<DeploymentStatus>, Query), ("branch" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = DeploymentList)), security(("bearer" = [])))]
async fn list_deployments(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsRead>,
    Query(query): Query<ListParameters>,
) -> Result<Json<DeploymentList>> {
    let viewer = &caller.caller.viewer;
    // A stranger's project is 404, not an empty list that would look like an answer.
    if let Some(id) = query.filter.project {
        projects::visible(&app, viewer, &ProjectRef::Id(id)).await?;
    }
    page(&app, viewer, &query).await
}

/// Deployments of one project, newest first.
#[utoipa::path(get, path = "/projects/{id}/deployments", operation_id = "list_project_deployments", tag = "projects",
    params(("id" = String, Path, description = "Id or slug"), ("status" = Option<DeploymentStatus>, Query), ("branch" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = DeploymentList)), security(("bearer" = [])))]
pub(crate) async fn list_project_deployments(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsRead>,
    Path(project): Path<ProjectRef>,
    Query(ProjectListParameters(mut query)): Query<ProjectListParameters>,
) -> Result<Json<DeploymentList>> {
    let viewer = &caller.caller.viewer;
    query.filter.project = Some(projects::visible(&app, viewer, &project).await?.0.id);
    page(&app, viewer, &query).await
}

/// Deploys a repository. 201 once Ghost has accepted it; 202 when it has not answered yet: the work goes on.
#[utoipa::path(post, path = "/deployments", operation_id = "create_deployment", tag = "deployments", request_body = NewDeployment,
    responses((status = 201, body = Deployment), (status = 202, body = Deployment, description = "Ghost has not answered yet")),
    security(("bearer" = [])))]
async fn create_deployment(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsWrite>,
    made: Made,
    Json(body): Json<NewDeployment>,
) -> Result<Response> {
    let row = start(&app, caller.act(&app), &caller.caller, made, &body, None).await?;
    Ok(accepted(&app, row).await)
}

/// The answer once Ghost has accepted, or as things stand when it takes too long.
async fn accepted(app: &App, row: Arc<ogel_store::Deployment>) -> Response {
    let wait = Duration::from_secs(app.config().deployments.accept_wait_seconds.max(1));
    let row = tracker::wait_until(app, row, wait, |row| row.submitted_at.is_some() || row.status.is_terminal()).await;
    let accepted = row.submitted_at.is_some() || row.status.is_terminal();
    let mut response = if accepted {
        (StatusCode::CREATED, Json(wire(&row))).into_response()
    } else {
        // The operation of making it has its id.
        (StatusCode::ACCEPTED, Json(wire_pending(&row, OperationId(row.id.0)))).into_response()
    };
    let location = format!("{}/deployments/{}", ogel_api::BASE_PATH, row.id);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Writes the row and sets its work going. The row comes first: from here on a crash loses nothing. Also how
/// `ogeld dev` deploys its example.
pub(crate) async fn deploy(
    app: &App,
    act: Act,
    caller: &Caller,
    body: &NewDeployment,
) -> Result<Arc<ogel_store::Deployment>> {
    start(app, act, caller, Made::without_key(app), body, None).await
}

/// The same under this id, perhaps as the repetition of another one. One that is there already was made by an earlier
/// attempt of the same request.
async fn start(
    app: &App,
    act: Act,
    caller: &Caller,
    made: Made,
    body: &NewDeployment,
    redeploy_of: Option<DeploymentId>,
) -> Result<Arc<ogel_store::Deployment>> {
    let (project, role) = projects::visible(app, &caller.viewer, &ProjectRef::Id(body.project_id)).await?;
    rule::CREATE_DEPLOYMENT.permit(role)?;
    let id = DeploymentId(made.id);
    if made.again
        && let Some((row, _)) = app.store.deployment(&caller.viewer, id).await?
    {
        tracker::nudge(app, id).await?;
        return Ok(Arc::new(row));
    }
    let (caps, plan) = admission::admit(app, project.organization_id).await?;
    let limits = app.config().limits;
    limits.deployment_of(app, project.organization_id.0, plan).await?;
    repository::check(app, body).await?;
    let env = body
        .env
        .as_ref()
        .filter(|env| !env.is_empty())
        .map(|env| {
            let plain = serde_json::to_vec(env).map_err(Error::internal)?;
            app.sealer.seal(&env_context(id), &plain).map_err(Error::internal)
        })
        .transpose()?;
    let new = ogel_store::NewDeployment {
        id,
        project_id: project.id,
        build_id: BuildId(app.world.uuid()),
        // Until the repository has been cloned and its default branch is known.
        branch: body.branch.clone().unwrap_or_else(|| "HEAD".to_owned()),
        repo_url: body.repo_url.clone(),
        commit_sha: body.commit_sha.clone(),
        framework: body.framework.clone(),
        root_directory: body.root_directory.clone(),
        install_command: body.install_command.clone(),
        build_command: body.build_command.clone(),
        output_directory: body.output_directory.clone(),
        env,
        tags: body.tags.clone().unwrap_or_default(),
        redeploy_of,
        caps,
        created_by: caller.user.id,
        created_at: act.at,
        hold: work::hold(app),
        act,
        env_names: body.env.iter().flat_map(|env| env.keys().cloned()).collect(),
    };
    match app.store.create_deployment(&new).await {
        Ok(row) => {
            work::begin::<tracker::Following>(app, new.job());
            Ok(Arc::new(row))
        }
        Err(StoreError::Unique { what: "deployments.id" }) => {
            tracker::nudge(app, id).await?;
            Ok(Arc::new(visible(app, &caller.viewer, id).await?.0))
        }
        Err(error) => Err(admission::refused(app, error, plan, &caps)),
    }
}

/// What a build's environment is sealed as.
pub(crate) fn env_context(id: DeploymentId) -> String {
    format!("environment of {id}")
}

/// One deployment, as it stands now.
#[utoipa::path(get, path = "/deployments/{id}", operation_id = "get_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path)), responses((status = 200, body = Deployment)), security(("bearer" = [])))]
async fn get_deployment(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsRead>,
    Path(id): Path<DeploymentId>,
    _: Query<NoParameters>,
    wish: Wish,
    context: RequestContext,
) -> Result<Response> {
    let access = places::of_deployment(&context, &caller.caller, id).await?;
    let state = app.clone();
    let read = move || async move {
        let (row, _) = visible(&state, &caller.caller.viewer, id).await?;
        Ok(Json(wire(&row)).into_response())
    };
    let tags = responses::of_deployment(id);
    responses::answer_of_database(&app, wish, &access, &tags, fmt::from_fn(move |f| write!(f, "deployment|{id}")), read)
        .await
}

/// Stops a deployment and answers with its final state. Asking again is fine; one that ended otherwise is 409.
#[utoipa::path(post, path = "/deployments/{id}/cancel", operation_id = "cancel_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path)), responses((status = 200, body = Deployment), (status = 202, body = Deployment,
    description = "Ghost has not confirmed yet")), security(("bearer" = [])))]
async fn cancel_deployment(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsWrite>,
    Path(id): Path<DeploymentId>,
    _: Query<NoParameters>,
) -> Result<(StatusCode, Json<Deployment>)> {
    let found = visible(&app, &caller.caller.viewer, id).await?;
    let (row, under_way) = cancel(&app, &caller.act(&app), found).await?;
    Ok(match under_way {
        None => (StatusCode::OK, Json(wire(&row))),
        Some(operation) => (StatusCode::ACCEPTED, Json(wire_pending(&row, operation))),
    })
}

/// Also how a build is canceled: it is the same work under another name. The operation, if it is not done yet.
pub(super) async fn cancel(
    app: &App,
    act: &Act,
    (row, role): (ogel_store::Deployment, Role),
) -> Result<(Arc<ogel_store::Deployment>, Option<OperationId>)> {
    rule::CANCEL_DEPLOYMENT.permit(role)?;
    let id = row.id;
    let row = match row.status {
        DeploymentStatus::Canceled => return Ok((Arc::new(row), None)),
        status if status.is_terminal() => return Err(not_cancelable(status)),
        _ => {
            let operation = OperationId(app.world.uuid());
            app.store.request_cancel(act, id, operation).await?.unwrap_or(row)
        }
    };
    tracker::nudge(app, id).await?;
    let wait = Duration::from_secs(app.config().deployments.accept_wait_seconds.max(1));
    let row = tracker::wait_until(app, Arc::new(row), wait, |row| row.status.is_terminal()).await;
    // Another replica may have ended it, and its word may still be on the way here.
    responses::changed(app, row.project_id, &responses::with_its_build(&row)).await;
    match row.status {
        DeploymentStatus::Canceled => Ok((row, None)),
        status if status.is_terminal() => Err(not_cancelable(status)),
        _ => {
            let open = app.store.open_operation(id, OperationKind::CancelDeployment).await?;
            // None: it ended in this moment.
            Ok((row, Some(open.map_or(OperationId(id.0), |operation| operation.id))))
        }
    }
}

fn not_cancelable(status: DeploymentStatus) -> Failure {
    Failure::new(
        ErrorCode::NotCancelable,
        format!("the deployment is over (`{status}`), so there is nothing to cancel"),
    )
}

/// Deletes a deployment that is over, with its site and its log. 202 with the operation when Ghost has not answered yet.
/// Takes the role developer.
#[utoipa::path(delete, path = "/deployments/{id}", operation_id = "delete_deployment", tag = "deployments",
    params(("id" = DeploymentId, Path)), responses((status = 204, description = "Deleted"), (status = 202, body = Operation,
    description = "Ghost has not answered yet")), security(("bearer" = [])))]
async fn delete_deployment(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsWrite>,
    Path(id): Path<DeploymentId>,
    _: Query<NoParameters>,
) -> Result<Response> {
    let (act, caller) = (caller.act(&app), &caller.caller);
    let (row, role) = visible(&app, &caller.viewer, id).await?;
    rule::DELETE_DEPLOYMENT.permit(role)?;
    if !row.status.is_terminal() {
        let message = format!("the deployment is still `{}`; cancel it first", row.status);
        return Err(Failure::new(ErrorCode::NotDeletable, message));
    }
    let asked = doing::Asked {
        kind: OperationKind::DeleteDeployment,
        project: row.project_id,
        deployment: Some(id),
        act: Some(&act),
        reason: None,
    };
    let done = doing::done(&app, &asked).await?;
    responses::changed(&app, row.project_id, &responses::with_its_build(&row)).await;
    Ok(deleted(done))
}

/// The answer to a deletion: 204, or 202 with the operation.
pub(super) fn deleted((operation, is_done): (ogel_store::Operation, bool)) -> Response {
    if is_done {
        return StatusCode::NO_CONTENT.into_response();
    }
    (StatusCode::ACCEPTED, Json(operations::wire(&operation))).into_response()
}
