//! `ogel webhooks`: list, create, test, deliveries, redeliver, rm.

use crate::{
    Context, Result,
    age::relative,
    args::{Confirmation, WebhooksCommand},
    confirm::confirm,
    failure::{Exit, Failure},
    lookup, table,
};
use ogel_api::{
    id::{IdError, WebhookDeliveryId, WebhookId},
    webhooks::{NewWebhook, WebhookDelivery, WebhookDeliveryStatus, WebhookEventType},
};
use ogel_client::{Client, PageQuery};
use std::time::Duration;

/// How long `ogel webhooks test` waits for the first attempt: longer than a receiver may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(context: &Context, command: WebhooksCommand) -> Result {
    match command {
        WebhooksCommand::List => list(context).await,
        WebhooksCommand::Create { url, project, event, description } => {
            create(context, url, project.as_deref(), &event, description).await
        }
        WebhooksCommand::Test { id } => test(context, &id).await,
        WebhooksCommand::Deliveries { id, limit } => deliveries(context, &id, limit).await,
        WebhooksCommand::Redeliver { id, delivery } => redeliver(context, &id, &delivery).await,
        WebhooksCommand::Rm { id, confirmation } => remove(context, &id, &confirmation).await,
    }
}

async fn list(context: &Context) -> Result {
    let client = context.client()?;
    let webhooks = lookup::all(context, async |page| {
        client.list_webhooks(None, None, &page).await.map(|list| (list.webhooks, list.pagination))
    });
    let webhooks = webhooks.await?;
    let row = |one: &ogel_api::webhooks::Webhook| {
        let state = match (one.disabled_reason, one.failing_since) {
            (Some(reason), _) => format!("off ({reason})"),
            (None, Some(_)) => "failing".to_owned(),
            (None, None) => "on".to_owned(),
        };
        let whose = one.project_id.map_or_else(|| one.organization_id.to_string(), |id| id.to_string());
        vec![one.url.clone(), state, whose, one.id.to_string()]
    };
    let none = "No webhooks; `ogel webhooks create URL` makes one";
    lookup::show(context, &webhooks, none, &["URL", "STATE", "OF", "ID"], row)
}

async fn create(
    context: &Context,
    url: String,
    project: Option<&str>,
    events: &[String],
    description: Option<String>,
) -> Result {
    let client = context.client()?;
    let project_id = match project {
        Some(_) => Some(lookup::project(context, &client, project).await?.id),
        None => None,
    };
    let events = events
        .iter()
        .map(|word| word.parse::<WebhookEventType>().map_err(|error| Failure::usage(error.to_string())))
        .collect::<Result<Vec<_>>>()?;
    let events = (!events.is_empty()).then_some(events);
    let new = NewWebhook { url, organization_id: None, project_id, description, events };
    let made = client.create_webhook(&new).await.map_err(|error| context.explain(error))?;
    if context.output.json {
        return context.output.json(&made);
    }
    context.output.note("Created; its secret is shown this once");
    context.output.note(&format!("`ogel webhooks test {}` posts an event", made.webhook.id));
    context.output.data(&format!("{}\n{}", made.webhook.id, made.secret))
}

async fn test(context: &Context, id: &str) -> Result {
    let id = webhook(id)?;
    let client = context.client()?;
    let queued = client.test_webhook(id).await.map_err(|error| context.explain(error))?;
    report(context, &attempted(context, &client, queued).await?)
}

async fn redeliver(context: &Context, id: &str, delivery: &str) -> Result {
    let id = webhook(id)?;
    let delivery: WebhookDeliveryId = delivery.parse().map_err(|error: IdError| {
        Failure::usage(error.to_string()).hint(format!("`ogel webhooks deliveries {id}` shows the ids"))
    })?;
    let client = context.client()?;
    let queued = client.redeliver_webhook_delivery(id, delivery).await.map_err(|error| context.explain(error))?;
    report(context, &attempted(context, &client, queued).await?)
}

/// The delivery once it was tried, or as it stands when patience is over.
async fn attempted(context: &Context, client: &Client, queued: WebhookDelivery) -> Result<WebhookDelivery> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let detail = client.get_webhook_delivery(queued.webhook_id, queued.id).await;
        let delivery = detail.map_err(|error| context.explain(error))?.delivery;
        if !delivery.attempts.is_empty() || tokio::time::Instant::now() > deadline {
            return Ok(delivery);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

fn report(context: &Context, delivery: &WebhookDelivery) -> Result {
    let Some(last) = delivery.attempts.last() else {
        let message = format!("`{}` was not tried within {} s", delivery.id, PATIENCE.as_secs());
        return Err(Failure::new(Exit::TimedOut, "TIMED_OUT", message));
    };
    if delivery.status != WebhookDeliveryStatus::Succeeded {
        let why = last.error.clone().unwrap_or_else(|| "it failed".to_owned());
        let failure = Failure::new(Exit::Failed, "DELIVERY_FAILED", format!("`{}`: {why}", delivery.id));
        return Err(match delivery.next_attempt_at {
            Some(at) => failure.hint(format!("it is tried again at {at}")),
            None => failure,
        });
    }
    let status = last.status.map_or_else(String::new, |status| status.to_string());
    context.output.note(&format!("Delivered in {} ms: {status}", last.duration_ms));
    if context.output.json { context.output.json(delivery) } else { context.output.data(&delivery.id.to_string()) }
}

async fn deliveries(context: &Context, id: &str, limit: u32) -> Result {
    let id = webhook(id)?;
    let client = context.client()?;
    let page = PageQuery { cursor: None, limit: Some(limit) };
    let list = client.list_webhook_deliveries(id, &page).await.map_err(|error| context.explain(error))?;
    if context.output.json {
        return context.output.json(&list.deliveries);
    }
    if list.deliveries.is_empty() {
        context.output.note("Nothing was told yet");
        return Ok(());
    }
    let now_ms = context.environment.now_ms;
    let row = |one: &WebhookDelivery| {
        let last = one.attempts.last();
        let answer = match last {
            Some(attempt) => attempt.status.map_or_else(
                || attempt.error.clone().unwrap_or_default(),
                |status| format!("{status} in {} ms", attempt.duration_ms),
            ),
            None => String::new(),
        };
        vec![
            one.kind.to_string(),
            one.status.to_string(),
            one.attempts.len().to_string(),
            answer,
            relative(one.created_at, now_ms),
            one.id.to_string(),
        ]
    };
    let rows: Vec<_> = list.deliveries.iter().map(row).collect();
    context.output.data(&table::render(&["EVENT", "STATUS", "TRIES", "ANSWER", "AGE", "ID"], &rows))
}

async fn remove(context: &Context, id: &str, confirmation: &Confirmation) -> Result {
    let id = webhook(id)?;
    confirm(context, confirmation, &format!("{id} and its secret are gone then. Remove it?")).await?;
    context.client()?.delete_webhook(id).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("Removed {id}"));
    if context.output.json { context.output.json(&serde_json::json!({ "id": id })) } else { Ok(()) }
}

fn webhook(id: &str) -> Result<WebhookId> {
    id.parse().map_err(|error: IdError| Failure::usage(error.to_string()).hint("`ogel webhooks list` shows the ids"))
}
