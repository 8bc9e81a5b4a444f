//! Every route of the API, put together from the table of nouns and wrapped in what its plane passes.

use crate::{
    openapi, pipeline,
    resources::{RESOURCES, auth},
    state::App,
};
use axum::{Router, routing::get};
use utoipa_axum::router::OpenApiRouter;

/// All routes with their documentation, before the pipeline. Those of the data plane are apart: streams, and what is only
/// passed on. `forwarded` are nouns that are not answered here.
pub(crate) fn documented(forwarded: &[String]) -> (OpenApiRouter<App>, OpenApiRouter<App>) {
    let ours = || RESOURCES.iter().filter(|resource| !forwarded.iter().any(|name| name == resource.name));
    let on_control = ours().fold(OpenApiRouter::new(), |all, resource| all.merge((resource.routes)()));
    let on_data = ours().fold(OpenApiRouter::new(), |all, resource| all.merge((resource.data_plane)()));
    (on_control, on_data)
}

/// The whole service: what each data-plane thread serves.
pub fn router(app: &App) -> Router {
    let config = app.config();
    let (on_control, streams) = documented(&config.studio.forward);
    let routes = pipeline::around_control(on_control.into(), app).merge(pipeline::around_streams(streams.into(), app));
    // Where Studio's backend logs people in, it has pages of its own.
    let pages = match config.studio.forward.iter().any(|name| name == "auth") {
        true => Router::new(),
        false => Router::new()
            .route(auth::oauth::DEVICE_PAGE, get(auth::device_page::show).post(auth::device_page::submit))
            .route("/.well-known/oauth-authorization-server", get(auth::oauth::metadata)),
    };
    Router::new()
        .nest(ogel_api::BASE_PATH, routes)
        .merge(pipeline::around_pages(pages, app))
        .fallback(pipeline::route_not_found)
        .method_not_allowed_fallback(pipeline::method_not_allowed)
        .with_state(app.clone())
}

/// `openapi.json`, from the same routes.
pub fn document() -> utoipa::openapi::OpenApi {
    let (on_control, streams) = documented(&[]);
    let mut document = on_control.into_openapi();
    document.merge(streams.into_openapi());
    openapi::complete(document)
}
