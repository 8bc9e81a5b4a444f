//! `ogel login` and `ogel logout`: the token in the configuration file.

use crate::{Context, Result, config::Config, failure::Failure, settings::TokenSource};
use ogel_api::auth::AuthMethod;
use ogel_client::{Client, ClientConfig};
use serde_json::json;

/// Checks the token of `--token` (or `OGEL_TOKEN`) with the server, then writes both down.
pub(crate) async fn login(context: &Context) -> Result {
    let settings = &context.settings;
    if !matches!(settings.token_source, TokenSource::Flag | TokenSource::Environment) {
        return Err(Failure::usage("there is no token to log in with")
            .hint("pipe a session token or an API key in: `ogel login --token - < token.txt`"));
    }
    let path = settings.config_path()?;
    let session = context.client()?.session().await.map_err(|error| context.explain(error))?;
    let config = Config { api_url: Some(settings.api_url.clone()), token: settings.token.clone() };
    config.save(path)?;
    context.output.note(&format!(
        "Logged in to {} as {} <{}>; the token is in {}",
        settings.api_url,
        session.user.name,
        session.user.email,
        path.display()
    ));
    if context.output.json { context.output.json(&session) } else { Ok(()) }
}

/// Forgets the file's token, and ends it on the server if it is a session. An API key stays valid: it may be in use
/// elsewhere.
pub(crate) async fn logout(context: &Context) -> Result {
    let settings = &context.settings;
    let config = &settings.config;
    let was_logged_in = config.token.is_some();
    if let Some(token) = &config.token {
        let mut client = ClientConfig::new(config.api_url.as_ref().unwrap_or(&settings.api_url));
        client.token = Some(token.clone());
        let ended = end_session(client).await;
        Config { api_url: config.api_url.clone(), token: None }.save(settings.config_path()?)?;
        match ended {
            Ok(true) => context.output.note("Logged out"),
            Ok(false) => context.output.note("Forgot the API key; it stays valid until it is deleted"),
            Err(error) => context.output.warn(&format!("forgot the token, but could not end it: {error}")),
        }
    } else {
        context.output.note("Not logged in");
    }
    if context.environment.token.is_some() {
        context.output.warn("`OGEL_TOKEN` is still set and still used");
    }
    if context.output.json { context.output.json(&json!({ "loggedOut": was_logged_in })) } else { Ok(()) }
}

/// Whether there was a session to end.
async fn end_session(config: ClientConfig) -> Result<bool, ogel_client::ClientError> {
    let client = Client::new(config)?;
    let session = match client.session().await {
        Err(error) if error.status() == Some(http::StatusCode::UNAUTHORIZED) => return Ok(true),
        other => other?,
    };
    if !matches!(session.method, AuthMethod::Session | AuthMethod::StudioSession) {
        return Ok(false);
    }
    client.logout().await.map(|()| true)
}
