//! What a payment service tells us. Its signature over the raw body is the caller's credential.

use crate::{
    billing::{
        self,
        payment::{About, PaymentProvider},
    },
    error::Result,
    extract::read_body,
    pipeline::RequestContext,
    state::App,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use ogel_store::{Actor, PaymentChange, PaymentOutcome, PlanChange};

/// Events are small; what is larger is none.
const MOST_BYTES: usize = 256 << 10;

/// An event of the payment service, signed in `Stripe-Signature`. Each is acted on once, however often it comes. 404 where
/// `billing.provider` is not `stripe`.
#[utoipa::path(post, path = "/webhooks/stripe", operation_id = "receive_stripe_event", tag = "webhooks",
    params(("Stripe-Signature" = String, Header, description = "`t=…,v1=…`")),
    request_body(content = String, content_type = "application/json"),
    responses((status = 204, description = "Taken, or known already")))]
pub(super) async fn receive_stripe_event(
    State(app): State<App>,
    context: RequestContext,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode> {
    let body = read_body(body, MOST_BYTES.min(context.body_limit)).await?;
    let now = app.world.now();
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    let event = PaymentProvider::of(&app.config()).event(signature, &body, now)?;
    let change = match event.about {
        About::Other => PaymentChange::Nothing,
        About::Invoice(id, status) => PaymentChange::Invoice { id, status },
        About::Plan(organization, plan) => {
            let act = context.act(&app.world, Actor::System);
            PaymentChange::Plan(Box::new(PlanChange { id: app.world.uuid(), organization, plan, act }))
        }
    };
    let outcome = app.store.apply_payment_event(&event.id, &event.kind, &change, now).await?;
    tracing::info!(event.id, event.kind, ?outcome, "a payment event came");
    if outcome == PaymentOutcome::Applied && matches!(change, PaymentChange::Plan(_)) {
        billing::plan_changed(&app);
    }
    Ok(StatusCode::NO_CONTENT)
}
