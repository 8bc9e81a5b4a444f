//! Every route of the API, put together from the table of nouns and wrapped in the pipeline.

use crate::{openapi, pipeline, resources::RESOURCES, state::App};
use axum::Router;
use utoipa_axum::router::OpenApiRouter;

/// All routes with their documentation, before the pipeline. Those of the data plane are apart: streams, and what is only
/// passed on.
pub(crate) fn documented() -> (OpenApiRouter<App>, OpenApiRouter<App>) {
    let on_control = RESOURCES.iter().fold(OpenApiRouter::new(), |all, resource| all.merge((resource.routes)()));
    let on_data = RESOURCES.iter().fold(OpenApiRouter::new(), |all, resource| all.merge((resource.data_plane)()));
    (on_control, on_data)
}

/// The whole service: what each data-plane thread serves.
pub fn router(app: &App) -> Router {
    let (on_control, streams) = documented();
    let (on_control, mut document) = on_control.split_for_parts();
    let (streams, stream_document) = streams.split_for_parts();
    document.merge(stream_document);
    let routes = pipeline::around_control(on_control, app).merge(pipeline::around_streams(streams, app));
    let routes = Router::new()
        .nest(ogel_api::BASE_PATH, routes)
        .fallback(pipeline::route_not_found)
        .method_not_allowed_fallback(pipeline::method_not_allowed);
    pipeline::around_all(routes, app).with_state(app.clone())
}

/// `openapi.json`, from the same routes.
pub fn document() -> utoipa::openapi::OpenApi {
    let (on_control, streams) = documented();
    let mut document = on_control.into_openapi();
    document.merge(streams.into_openapi());
    openapi::complete(document)
}
