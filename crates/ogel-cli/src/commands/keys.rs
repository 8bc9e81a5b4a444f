//! `ogel keys`: list, create, rotate, revoke.

use crate::{Context, Result, age, args::KeysCommand, confirm::confirm, failure::Failure, lookup};
use chrono::{DateTime, TimeDelta};
use ogel_api::{
    auth::{ApiKey, ApiKeyCreated, NewApiKey, RotateApiKey, Scope},
    time::Timestamp,
};
use serde_json::json;

pub(crate) async fn run(context: &Context, command: KeysCommand) -> Result {
    let client = context.client()?;
    match command {
        KeysCommand::List => list(context).await,
        KeysCommand::Create { name, scope, project, organization, days } => {
            let project_id = match project {
                Some(project) => Some(lookup::project(context, &client, Some(&project)).await?.id),
                None => None,
            };
            let organization_id = match organization {
                Some(organization) => Some(lookup::organization(context, &client, &organization).await?),
                None => None,
            };
            let new = NewApiKey {
                name,
                scopes: scopes(&scope)?,
                project_id,
                organization_id,
                expires_at: end(context, days),
            };
            let made = client.create_api_key(&new).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("Created {}; its secret is shown this once", made.api_key.id));
            secret(context, &made)
        }
        KeysCommand::Rotate { id, grace } => {
            let how = RotateApiKey { grace_period_seconds: grace };
            let made = client.rotate_api_key(id, &how).await.map_err(|error| context.explain(error))?;
            match made.api_key.old_secret_expires_at {
                Some(at) if grace != Some(0) => {
                    context.output.note(&format!("The old secret works until {at}; the new one is shown this once"));
                }
                _ => context.output.note("The old secret is over; the new one is shown this once"),
            }
            secret(context, &made)
        }
        KeysCommand::Revoke { id, confirmation } => {
            confirm(context, &confirmation, &format!("Whoever uses {id} is shut out at once. Revoke it?")).await?;
            client.delete_api_key(id).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("Revoked {id}"));
            if context.output.json { context.output.json(&json!({ "id": id })) } else { Ok(()) }
        }
    }
}

/// The secret alone on stdout, for whatever keeps secrets.
fn secret(context: &Context, made: &ApiKeyCreated) -> Result {
    if context.output.json { context.output.json(made) } else { context.output.data(&made.secret) }
}

fn scopes(words: &[String]) -> Result<Option<Vec<Scope>>> {
    let scopes = words.iter().map(|word| word.parse::<Scope>().map_err(|error| Failure::usage(error.to_string())));
    let scopes = scopes.collect::<Result<Vec<_>>>()?;
    Ok((!scopes.is_empty()).then_some(scopes))
}

fn end(context: &Context, days: Option<u32>) -> Option<Timestamp> {
    let now = DateTime::from_timestamp_millis(context.environment.now_ms)?;
    days.map(|days| Timestamp::from(now + TimeDelta::days(days.into())))
}

async fn list(context: &Context) -> Result {
    let client = context.client()?;
    let keys = lookup::all(context, async |page| {
        client.list_api_keys(&page).await.map(|list| (list.api_keys, list.pagination))
    });
    let keys = keys.await?;
    let now_ms = context.environment.now_ms;
    let when = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| age::relative(at, now_ms));
    let row = |one: &ApiKey| {
        let whose = one.project_id.map(|id| id.to_string()).or(one.organization_id.map(|id| id.to_string()));
        vec![
            one.name.clone(),
            format!("{}…", one.prefix),
            whose.unwrap_or_else(|| "all".to_owned()),
            when(one.last_used_at),
            when(one.expires_at),
            one.id.to_string(),
        ]
    };
    let none = "No API keys; `ogel keys create NAME` makes one";
    lookup::show(context, &keys, none, &["NAME", "SECRET", "GOOD FOR", "USED", "ENDS", "ID"], row)
}
