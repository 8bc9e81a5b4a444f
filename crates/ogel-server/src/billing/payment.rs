//! Who collects the money: somebody by hand, or a payment service in Stripe's manner, which sells plans on a page of its
//! own and tells us by signed webhooks what was paid. Nothing here calls out.

use crate::{config::Config, error::Result};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ogel_api::{
    billing::InvoiceStatus,
    error::{Error, ErrorCode},
    id::{InvoiceId, OrganizationId},
    organizations::Plan,
};
use serde::Deserialize;
use sha2::Sha256;
use std::collections::HashMap;

/// Made from the configuration for each use.
pub(crate) enum PaymentProvider<'a> {
    /// Owners change plans themselves; the invoice says how to pay, and an operator marks it paid.
    Manual { how_to_pay: &'a str },
    /// Plans are bought on the service's page.
    Stripe { webhook_secret: &'a str, checkout_url: &'a str, tolerance_seconds: u64 },
}

/// What a payment service told us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) about: About,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum About {
    Invoice(InvoiceId, InvoiceStatus),
    Plan(OrganizationId, Plan),
    /// Nothing we keep.
    Other,
}

impl<'a> PaymentProvider<'a> {
    pub(crate) fn of(config: &'a Config) -> Self {
        let billing = &config.billing;
        match billing.provider.as_str() {
            "stripe" => Self::Stripe {
                webhook_secret: billing.stripe_webhook_secret.expose(),
                checkout_url: &billing.stripe_checkout_url,
                tolerance_seconds: billing.stripe_tolerance_seconds,
            },
            _ => Self::Manual { how_to_pay: &billing.how_to_pay },
        }
    }

    /// 402 with the place to go where a plan is not changed by asking us.
    pub(crate) fn may_change_plan(&self, organization: OrganizationId) -> Result<()> {
        match self {
            Self::Manual { .. } => Ok(()),
            Self::Stripe { .. } => {
                let page = self.page(organization);
                let message = format!("plans are bought and canceled on the payment page; open `{page}`");
                Err(Error::new(ErrorCode::PaymentRequired, message).into())
            }
        }
    }

    /// Where an owner pays. 409 where somebody collects by hand, with what they say about it.
    pub(crate) fn portal(&self, organization: OrganizationId) -> Result<String> {
        match self {
            Self::Manual { how_to_pay } => {
                let message = match *how_to_pay {
                    "" => "there is no payment page; the operators of this server say how to pay".to_owned(),
                    how_to_pay => format!("there is no payment page; {how_to_pay}"),
                };
                Err(Error::new(ErrorCode::Conflict, message).into())
            }
            Self::Stripe { .. } => Ok(self.page(organization)),
        }
    }

    /// The payment page, which tells us later whom the payment was for.
    fn page(&self, organization: OrganizationId) -> String {
        match self {
            Self::Manual { .. } => String::new(),
            Self::Stripe { checkout_url, .. } => {
                let sign = if checkout_url.contains('?') { '&' } else { '?' };
                format!("{checkout_url}{sign}client_reference_id={organization}")
            }
        }
    }

    /// What an open invoice says.
    pub(crate) fn how_to_pay(&self, organization: OrganizationId) -> String {
        match self {
            Self::Manual { how_to_pay } => (*how_to_pay).to_owned(),
            Self::Stripe { .. } => format!("Collected by the payment service: {}", self.page(organization)),
        }
    }

    /// The event of a webhook, if its signature over the raw body holds and is fresh.
    pub(crate) fn event(&self, signature: Option<&str>, body: &[u8], now: DateTime<Utc>) -> Result<Event> {
        let Self::Stripe { webhook_secret, tolerance_seconds, .. } = self else {
            let message = "this server takes no payment webhooks; `billing.provider` is not `stripe`";
            return Err(Error::new(ErrorCode::NotFound, message).into());
        };
        let signature = signature.ok_or_else(|| unsigned("the header `Stripe-Signature` is missing"))?;
        verify(webhook_secret, *tolerance_seconds, signature, body, now)?;
        read(body)
    }
}

fn unsigned(problem: &'static str) -> Error {
    Error::new(ErrorCode::InvalidCredential, format!("{problem}; sign the body as the payment service does"))
}

/// `t=1492774577,v1=5257a8…,v1=…`: an HMAC-SHA256 of `t.body` in hexadecimal. Several `v1` while a secret is being rotated.
fn verify(secret: &str, tolerance_seconds: u64, header: &str, body: &[u8], now: DateTime<Utc>) -> Result<()> {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find(|(name, _)| *name == "t").map(|(_, value)| value);
    let at: i64 = time
        .and_then(|time| time.parse().ok())
        .ok_or_else(|| unsigned("the header `Stripe-Signature` has no time `t`"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(Error::internal)?;
    mac.update(time.unwrap_or_default().as_bytes());
    mac.update(b".");
    mac.update(body);
    // Compared in constant time by the crate.
    let holds = parts()
        .filter(|(name, _)| *name == "v1")
        .take(8)
        .filter_map(|(_, value)| hex::decode(value).ok())
        .any(|given| mac.clone().verify_slice(&given).is_ok());
    if !holds {
        return Err(unsigned("the signature does not fit the body").into());
    }
    // After the signature: the time is only worth something once it is signed.
    if at.abs_diff(now.timestamp()) > tolerance_seconds {
        return Err(unsigned("the signature is too old, or from the future").into());
    }
    Ok(())
}

/// The parts of an event that we read; there are many more.
#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    client_reference_id: Option<String>,
    #[serde(default)]
    payment_status: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    metadata: Option<HashMap<String, serde_json::Value>>,
}

impl Object {
    fn named(&self, name: &str) -> Option<&str> {
        self.metadata.as_ref()?.get(name)?.as_str()
    }

    fn organization(&self) -> Option<OrganizationId> {
        self.named("ogel_organization").or(self.client_reference_id.as_deref())?.parse().ok()
    }

    fn plan(&self) -> Option<Plan> {
        self.named("ogel_plan")?.parse().ok()
    }
}

fn read(body: &[u8]) -> Result<Event> {
    let Envelope { id, kind, data: Data { object } } = serde_json::from_slice(body).map_err(|error| {
        Error::new(ErrorCode::MalformedJson, "the body is no event of the payment service").caused_by(error)
    })?;
    if id.is_empty() || id.len() > 255 {
        return Err(Error::new(ErrorCode::InvalidValue, "the event's `id` must have 1 to 255 characters").into());
    }
    let invoice = |status| {
        let id = object.named("ogel_invoice").and_then(|id| id.parse().ok());
        id.map_or(About::Other, |id| About::Invoice(id, status))
    };
    let plan =
        |plan: Option<Plan>| object.organization().zip(plan).map_or(About::Other, |(id, plan)| About::Plan(id, plan));
    let about = match kind.as_str() {
        "invoice.paid" => invoice(InvoiceStatus::Paid),
        "invoice.payment_failed" => invoice(InvoiceStatus::Failed),
        // One that waits for the bank is completed, but not paid.
        "checkout.session.completed" if object.payment_status.as_deref() == Some("unpaid") => About::Other,
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => plan(object.plan()),
        "customer.subscription.updated" if matches!(object.status.as_deref(), Some("active" | "trialing")) => {
            plan(object.plan())
        }
        "customer.subscription.deleted" => plan(Some(Plan::Free)),
        _ => About::Other,
    };
    Ok(Event { id, kind, about })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRIPE: PaymentProvider<'static> = PaymentProvider::Stripe {
        webhook_secret: "whsec_test",
        checkout_url: "https://pay.example/x?a=1",
        tolerance_seconds: 300,
    };
    const ORGANIZATION: &str = "org_01h455vb4pex5vsknk084sn02q";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn signed(body: &str, time: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"whsec_test").unwrap();
        mac.update(format!("{time}.{body}").as_bytes());
        format!("t={time},v1={}", hex::encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn a_signature_holds_for_this_body_and_this_time_only() {
        let body = r#"{"id":"evt_1","type":"charge.refunded","data":{"object":{}}}"#;
        let header = signed(body, 1000);
        let event = |header: &str, body: &str, now| STRIPE.event(Some(header), body.as_bytes(), now);
        assert_eq!(event(&header, body, at(1300)).unwrap().about, About::Other);
        // While a secret is rotated there are two.
        let rotated = header.replace("v1=", "v1=00ff,v0=1,v1=");
        event(&rotated, body, at(1000)).unwrap();
        for (header, body, now) in [
            (header.as_str(), body, at(1301)),
            (&header, body, at(699)),
            (&header, &body.replace("evt_1", "evt_2"), at(1000)),
            (&header.replace("t=1000", "t=1001"), body, at(1000)),
            (&header.replace("v1=", "v0="), body, at(1000)),
            (&header[..header.len() - 2], body, at(1000)),
            ("", body, at(1000)),
        ] {
            assert_eq!(event(header, body, now).unwrap_err().code(), ErrorCode::InvalidCredential, "{header}");
        }
        assert_eq!(STRIPE.event(None, b"", at(0)).unwrap_err().code(), ErrorCode::InvalidCredential);
        let manual = PaymentProvider::Manual { how_to_pay: "" };
        assert_eq!(manual.event(Some(&header), body.as_bytes(), at(1000)).unwrap_err().code(), ErrorCode::NotFound);
    }

    #[test]
    fn events_are_read_for_what_they_change() {
        let about = |kind: &str, object: serde_json::Value| {
            let body = serde_json::json!({ "id": "evt", "type": kind, "data": { "object": object }, "livemode": true });
            let body = body.to_string();
            STRIPE.event(Some(&signed(&body, 5)), body.as_bytes(), at(5)).unwrap().about
        };
        let id: OrganizationId = ORGANIZATION.parse().unwrap();
        let bought = serde_json::json!({ "client_reference_id": ORGANIZATION, "metadata": { "ogel_plan": "team" } });
        assert_eq!(about("checkout.session.completed", bought.clone()), About::Plan(id, Plan::Team));
        let mut waiting = bought;
        waiting["payment_status"] = "unpaid".into();
        assert_eq!(about("checkout.session.completed", waiting), About::Other);
        let subscription = |status: &str| serde_json::json!({ "status": status, "metadata": { "ogel_organization": ORGANIZATION, "ogel_plan": "pro" } });
        assert_eq!(about("customer.subscription.updated", subscription("active")), About::Plan(id, Plan::Pro));
        assert_eq!(about("customer.subscription.updated", subscription("past_due")), About::Other);
        assert_eq!(about("customer.subscription.deleted", subscription("canceled")), About::Plan(id, Plan::Free));
        let invoice = serde_json::json!({ "metadata": { "ogel_invoice": "inv_01h455vb4pex5vsknk084sn02q" } });
        let id: InvoiceId = "inv_01h455vb4pex5vsknk084sn02q".parse().unwrap();
        assert_eq!(about("invoice.paid", invoice.clone()), About::Invoice(id, InvoiceStatus::Paid));
        assert_eq!(about("invoice.payment_failed", invoice), About::Invoice(id, InvoiceStatus::Failed));
        assert_eq!(about("invoice.paid", serde_json::json!({})), About::Other);
    }

    #[test]
    fn who_buys_on_the_payment_page_is_sent_there_by_name() {
        let id: OrganizationId = ORGANIZATION.parse().unwrap();
        let manual = PaymentProvider::Manual { how_to_pay: "to IBAN 1" };
        assert!(manual.may_change_plan(id).is_ok());
        let refused = manual.portal(id).unwrap_err();
        assert_eq!((refused.code(), refused.0.message.ends_with("to IBAN 1")), (ErrorCode::Conflict, true));
        let failure = STRIPE.may_change_plan(id).unwrap_err();
        assert_eq!(failure.code(), ErrorCode::PaymentRequired);
        let message = failure.0.message.to_string();
        assert!(
            message.contains(&format!("`https://pay.example/x?a=1&client_reference_id={ORGANIZATION}`")),
            "{message}"
        );
    }
}
