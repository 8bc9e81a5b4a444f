//! `ogel sessions`: list and end.

use crate::{Context, Result, age, args::SessionsCommand, confirm::confirm, lookup};
use ogel_api::auth::{Session, SessionKind};
use serde_json::json;

pub(crate) async fn run(context: &Context, command: SessionsCommand) -> Result {
    let client = context.client()?;
    match command {
        SessionsCommand::List => list(context).await,
        SessionsCommand::End { id: Some(id), confirmation, .. } => {
            // What this command itself is logged in with, `ogel logout` ends.
            let session = client.get_session(id).await.map_err(|error| context.explain(error))?;
            if session.current {
                confirm(context, &confirmation, "This is the login you use here. End it?").await?;
            }
            client.delete_session(id).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("Ended {id}"));
            if context.output.json { context.output.json(&json!({ "id": id })) } else { Ok(()) }
        }
        SessionsCommand::End { id: None, confirmation, .. } => {
            confirm(context, &confirmation, "End every other login of your account?").await?;
            client.delete_other_sessions().await.map_err(|error| context.explain(error))?;
            context.output.note("Ended every other login");
            if context.output.json { context.output.json(&json!({ "ended": "others" })) } else { Ok(()) }
        }
    }
}

async fn list(context: &Context) -> Result {
    let client = context.client()?;
    let sessions = lookup::all(context, async |page| {
        client.list_sessions(&page).await.map(|list| (list.sessions, list.pagination))
    });
    let sessions = sessions.await?;
    let now_ms = context.environment.now_ms;
    let row = |one: &Session| {
        let mark = if one.current { "*" } else { "" };
        vec![
            mark.to_owned(),
            one.kind.to_string(),
            program(one),
            one.ip.clone().unwrap_or_default(),
            age::relative(one.last_seen_at, now_ms),
            age::relative(one.expires_at, now_ms),
            one.id.to_string(),
        ]
    };
    lookup::show(context, &sessions, "No logins", &["", "KIND", "WITH", "FROM", "SEEN", "ENDS", "ID"], row)
}

/// What it says it is: a program its name, a browser its long story, cut.
fn program(session: &Session) -> String {
    let said = match session.kind {
        SessionKind::Cli => session.client_id.as_ref().or(session.user_agent.as_ref()),
        _ => session.user_agent.as_ref(),
    };
    said.map(|said| said.chars().take(40).collect()).unwrap_or_default()
}
