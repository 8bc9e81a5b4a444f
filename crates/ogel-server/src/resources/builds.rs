//! Builds, and their logs as a page, as server-sent events or over a WebSocket: one path, by what the client asks for.

use super::{
    deployments,
    projects::{self, ProjectRef},
    shared::{self, PageParameters},
};
use crate::{
    access,
    caller::{Allowed, scope},
    error::{Failure, Result},
    extract::{Json, NoParameters, Parameters, Path, Query, parameter},
    logs,
    pipeline::RequestContext,
    places,
    responses::{self, Wish},
    router::{Routes, routes},
    state::App,
};
use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use ogel_api::{
    builds::{Build, BuildList, LogPage},
    error::Error,
    id::{BuildId, DeploymentId, ProjectId},
    organizations::Role,
    page::{DEFAULT_LOG_LIMIT, MAX_LOG_LIMIT},
};
use ogel_proxy::accept_key;
use ogel_store::{DeploymentFilter, Page, Viewer};
use std::fmt;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_builds)).routes(routes!(cancel_build))
}

/// A stream lives for minutes, and one build is looked at again and again.
pub(crate) fn data_plane() -> Routes {
    Routes::new().routes(routes!(get_build)).routes(routes!(get_build_logs))
}

fn wire(row: &ogel_store::Deployment) -> Build {
    Build {
        id: row.build_id,
        deployment_id: row.id,
        project_id: row.project_id,
        status: row.status,
        error: row.error.clone(),
        created_at: row.created_at.into(),
        completed_at: row.completed_at.map(Into::into),
        duration_ms: row.completed_at.map(|at| (at - row.created_at).num_milliseconds().max(0)),
    }
}

/// The deployment behind the build, if the caller may know of it.
async fn visible(app: &App, viewer: &Viewer, id: BuildId) -> Result<(ogel_store::Deployment, Role)> {
    Ok(app.store.deployment_by_build(viewer, id).await?.ok_or_else(|| Error::not_found("build", id))?)
}

/// What the list is narrowed to.
#[derive(Default)]
struct ListParameters {
    page: PageParameters,
    project: Option<ProjectId>,
    deployment: Option<DeploymentId>,
}

impl Parameters for ListParameters {
    const KNOWN: &'static [&'static str] = &["deploymentId", "projectId", "limit", "cursor"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "deploymentId" => self.deployment = Some(parameter(value)?),
            "projectId" => self.project = Some(parameter(value)?),
            _ => self.page.set(name, value)?,
        }
        Ok(())
    }
}

/// Builds of the caller's projects, newest first. A deployment has one.
#[utoipa::path(get, path = "/builds", operation_id = "list_builds", tag = "builds",
    params(("deploymentId" = Option<DeploymentId>, Query), ("projectId" = Option<ProjectId>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = BuildList)), security(("bearer" = [])))]
async fn list_builds(
    State(app): State<App>,
    caller: Allowed<scope::BuildsRead>,
    Query(query): Query<ListParameters>,
) -> Result<Json<BuildList>> {
    let viewer = &caller.caller.viewer;
    // A stranger's thing is 404, not an empty list that would look like an answer.
    if let Some(id) = query.project {
        projects::visible(&app, viewer, &ProjectRef::Id(id)).await?;
    }
    let filters = format!("{:?} {:?}", query.deployment, query.project);
    let request = query.page.request(&filters)?;
    let page = match query.deployment {
        Some(id) => {
            let (row, _) = deployments::visible(&app, viewer, id).await?;
            let fits = query.project.is_none_or(|project| project == row.project_id);
            let rows = if fits { vec![row] } else { Vec::new() };
            Page { rows, next: None }
        }
        None => {
            let filter = DeploymentFilter { project: query.project, ..DeploymentFilter::default() };
            app.store.deployments(viewer, &filter, &request).await?
        }
    };
    let pagination = shared::pagination(&page, &filters);
    Ok(Json(BuildList { builds: page.rows.iter().map(wire).collect(), pagination }))
}

/// Stops a build, which is to cancel its deployment. Asking again is fine; one that ended otherwise is 409.
#[utoipa::path(post, path = "/builds/{id}/cancel", operation_id = "cancel_build", tag = "builds",
    params(("id" = BuildId, Path)), responses((status = 200, body = Build), (status = 202, body = Build,
    description = "Ghost has not confirmed yet")), security(("bearer" = [])))]
async fn cancel_build(
    State(app): State<App>,
    caller: Allowed<scope::DeploymentsWrite>,
    Path(id): Path<BuildId>,
    _: Query<NoParameters>,
) -> Result<(StatusCode, Json<Build>)> {
    let found = visible(&app, &caller.caller.viewer, id).await?;
    let (row, under_way) = deployments::cancel(&app, &caller.act(&app), found).await?;
    let status = if under_way.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(wire(&row))))
}

/// One build.
#[utoipa::path(get, path = "/builds/{id}", operation_id = "get_build", tag = "builds",
    params(("id" = BuildId, Path)), responses((status = 200, body = Build)), security(("bearer" = [])))]
async fn get_build(
    State(app): State<App>,
    caller: Allowed<scope::BuildsRead>,
    Path(id): Path<BuildId>,
    _: Query<NoParameters>,
    wish: Wish,
    context: RequestContext,
) -> Result<Response> {
    let access = places::of_build(&context, &caller.caller, id).await?;
    let state = app.clone();
    let read = move || async move {
        let (row, _) = visible(&state, &caller.caller.viewer, id).await?;
        Ok(Json(wire(&row)).into_response())
    };
    let tags = responses::of_build(id);
    responses::answer_of_database(&app, wish, &access, &tags, fmt::from_fn(move |f| write!(f, "build|{id}")), read)
        .await
}

struct LogParameters {
    after: u64,
    limit: u32,
}

impl Default for LogParameters {
    fn default() -> Self {
        Self { after: 0, limit: DEFAULT_LOG_LIMIT }
    }
}

impl Parameters for LogParameters {
    const KNOWN: &'static [&'static str] = &["after", "limit"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "after" => {
                let sentence = |_| "`after` takes the number of the last line you have".to_owned();
                self.after = parameter(value).map_err(|error: String| sentence(error))?;
            }
            _ => match value.parse() {
                Ok(limit) if (1..=MAX_LOG_LIMIT).contains(&limit) => self.limit = limit,
                _ => return Err(format!("`limit` takes a whole number from 1 to {MAX_LOG_LIMIT}")),
            },
        }
        Ok(())
    }
}

/// A build's log. A WebSocket upgrade or `Accept: text/event-stream` gives a stream that starts after line `after` (or
/// `Last-Event-ID`), follows the build and ends with an `end` frame; anything else gets one page.
#[utoipa::path(get, path = "/builds/{id}/logs", operation_id = "get_build_logs", tag = "builds",
    params(("id" = BuildId, Path), ("after" = Option<u64>, Query, description = "Lines after this number"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, for a page"),
        ("Last-Event-ID" = Option<u64>, Header, description = "As `after`, for a stream")),
    responses((status = 200, description = "A page, or a stream of frames",
        content((LogPage = "application/json"), (ogel_api::builds::LogFrame = "text/event-stream"))),
        (status = 101, description = "A WebSocket of frames, one JSON text message each")),
    security(("bearer" = [])))]
async fn get_build_logs(
    State(app): State<App>,
    caller: Allowed<scope::BuildsRead>,
    Path(id): Path<BuildId>,
    Query(mut query): Query<LogParameters>,
    context: RequestContext,
    request: Request,
) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let text =
        |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if let Ok(last) = text(header::HeaderName::from_static("last-event-id")).trim().parse() {
        query.after = query.after.max(last);
    }
    let wants_events = text(header::ACCEPT).split(',').any(|one| one.trim().starts_with("text/event-stream"));
    let wants_websocket = text(header::UPGRADE).eq_ignore_ascii_case("websocket");
    // Before any upgrade: a stranger must not learn from the handshake that the build exists. One trip to the control
    // plane for all that this needs of the store.
    let (state, asking) = (app.clone(), caller.caller.clone());
    let metered = context.clone();
    let look_up = async move {
        let (row, _) = visible(&state, &asking.viewer, id).await?;
        metered.meter(&access::of_thing(&metered, &asking, row.project_id, "build", id).await?.project);
        let is_page = !wants_websocket && !wants_events;
        let source = match is_page {
            true => Some(logs::Source::of(&state, &row, query.after, query.limit).await?),
            false => None,
        };
        Ok::<_, Failure>((row, source))
    };
    let (row, source) = app.on_control(look_up).await??;
    if wants_websocket {
        let Some(accept) = accept_key(&parts.headers) else {
            let message = "this is not a WebSocket handshake; send `Connection: Upgrade` with version 13 and a key";
            return Err(Failure::new(ogel_api::error::ErrorCode::InvalidValue, message));
        };
        return Ok(logs::websocket(&app, accept, row, query.after));
    }
    let Some(source) = source else { return Ok(logs::events(&app, row, query.after)) };
    let page = logs::page(&context, source, query.after, query.limit).await?;
    Ok((StatusCode::OK, Json(page)).into_response())
}
