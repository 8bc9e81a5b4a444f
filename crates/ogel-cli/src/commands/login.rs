//! `ogel login` and `ogel logout`: the token in the configuration file, which only its owner can read.
//!
//! Without a token to check, a person lets this program in on a page of the server (RFC 8628); their password never
//! comes near it.

use crate::{
    Context, Result,
    config::Config,
    failure::{Exit, Failure},
    plain,
    renewal::CLIENT_ID,
    settings::TokenSource,
};
use ogel_api::auth::{AuthMethod, DeviceCodeRequest, RevokeRequest, Token, TokenRequest};
use ogel_client::{Client, ClientConfig};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Checks the token of `--token` (or `OGEL_TOKEN`), or gets one by asking its person, then writes it down with its server.
pub(crate) async fn login(context: &Context) -> Result {
    let settings = &context.settings;
    let path = settings.config_path()?;
    let given = matches!(settings.token_source, TokenSource::Flag | TokenSource::Environment);
    let (token, refresh_token) = if given {
        (settings.token.clone(), None)
    } else {
        let tokens = on_another_device(context).await?;
        (Some(tokens.access_token), Some(tokens.refresh_token))
    };
    let client = ClientConfig { token: token.clone(), ..ClientConfig::new(&settings.api_url) };
    let session = async { Client::new(client)?.session().await }.await.map_err(|error| context.explain(error))?;
    let config = Config { api_url: Some(settings.api_url.clone()), token, refresh_token };
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

/// Shows where to go and which code to compare, and waits for the person's word.
async fn on_another_device(context: &Context) -> Result<Token> {
    let client = Client::new(ClientConfig {
        user_agent: concat!("ogel-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..ClientConfig::new(&context.settings.api_url)
    });
    let client = client.map_err(|error| context.explain(error))?;
    let asked = DeviceCodeRequest { client_id: Some(CLIENT_ID.to_owned()), scope: None };
    let code = client.start_device_login(&asked).await.map_err(|error| context.explain(error))?;
    let (url, user_code) = (plain::line(&code.verification_uri_complete), plain::line(&code.user_code));
    context.output.ask(&format!("Open this address, compare the code, and let `ogel` in:\n\n  {url}\n  {user_code}\n"));
    context.output.note("Waiting for you …");
    let request = TokenRequest {
        grant_type: "urn:ietf:params:oauth:grant-type:device_code".to_owned(),
        client_id: asked.client_id,
        device_code: Some(code.device_code),
        refresh_token: None,
    };
    let deadline = Instant::now() + Duration::from_secs(code.expires_in);
    let mut wait = Duration::from_secs(code.interval.clamp(1, 60));
    loop {
        sleep(wait).await;
        let (exit, code, message) = match client.token(&request).await {
            Ok(Ok(tokens)) => return Ok(tokens),
            Ok(Err(said)) => match said.error.as_str() {
                "authorization_pending" => continue,
                "slow_down" => {
                    wait += Duration::from_secs(5);
                    continue;
                }
                "access_denied" => (Exit::NotAllowed, "ACCESS_DENIED", "the login was refused".to_owned()),
                "expired_token" => (Exit::TimedOut, "EXPIRED", "nobody confirmed the login in time".to_owned()),
                _ => (Exit::Failed, "LOGIN_FAILED", plain::line(&said.error_description).to_string()),
            },
            // The network may come back (RFC 8628, 3.5: more slowly then).
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                wait = (wait * 2).min(Duration::from_secs(30)).max(error.retry_after().unwrap_or_default());
                continue;
            }
            Err(error) => return Err(context.explain(error)),
        };
        return Err(Failure::new(exit, code, message).hint("begin again with `ogel login`"));
    }
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
        let ended = match &config.refresh_token {
            Some(refresh_token) => end_login(client, refresh_token).await,
            None => end_session(client).await,
        };
        Config { api_url: config.api_url.clone(), ..Config::default() }.save(settings.config_path()?)?;
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

/// Ends a login of this program, expired or not.
async fn end_login(config: ClientConfig, refresh_token: &str) -> Result<bool, ogel_client::ClientError> {
    let client = Client::new(ClientConfig { token: None, ..config })?;
    let asked = RevokeRequest { token: refresh_token.to_owned(), token_type_hint: None, client_id: None };
    client.revoke(&asked).await.map(|()| true)
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
