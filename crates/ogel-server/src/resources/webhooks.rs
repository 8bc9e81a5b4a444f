//! Webhooks: those of the deployment backend and of the payment service, which come in here.

mod ghost;
mod stripe;

use crate::state::App;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn routes() -> OpenApiRouter<App> {
    ghost::routes().routes(routes!(stripe::receive_stripe_event))
}
