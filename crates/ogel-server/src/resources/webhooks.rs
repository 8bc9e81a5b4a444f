//! Webhooks: those of the deployment backend, which come in here.

mod ghost;

use crate::state::App;
use utoipa_axum::router::OpenApiRouter;

pub(crate) fn routes() -> OpenApiRouter<App> {
    ghost::routes()
}
