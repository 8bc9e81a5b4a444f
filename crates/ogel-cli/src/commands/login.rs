//! `ogel login` and `ogel logout`: the token in the keyring, or in the configuration file, which only its owner can read.
//!
//! Without a token to check, a person lets this program in on a page of the server (RFC 8628); their password never
//! comes near it.

use crate::{
    Context, Result,
    args::LoginArgs,
    browser,
    failure::{Exit, Failure},
    plain,
    renewal::CLIENT_ID,
    settings::TokenSource,
    tokens::{Kept, Tokens},
};
use ogel_api::auth::{AuthMethod, DeviceCodeRequest, RevokeRequest, Token, TokenRequest};
use ogel_client::{Client, ClientConfig};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Checks the token of `--token` (or `OGEL_TOKEN`), or gets one by asking its person, then writes it down with its server.
pub(crate) async fn login(context: &Context, args: &LoginArgs) -> Result {
    let settings = &context.settings;
    let vault = settings.vault()?.clone();
    let given = matches!(settings.token_source, TokenSource::Flag | TokenSource::Environment);
    let (token, refresh_token) = match settings.token.clone().filter(|_| given) {
        Some(token) => (token, None),
        None => {
            let tokens = on_another_device(context, args).await?;
            (tokens.access_token, tokens.refresh_token)
        }
    };
    let client = ClientConfig { token: Some(token.clone()), ..ClientConfig::new(&settings.api_url) };
    let session = async { Client::new(client)?.session().await }.await.map_err(|error| context.explain(error))?;
    let tokens = Tokens { api_url: settings.api_url.clone(), token, refresh_token };
    let (asked, path) = (args.token_store, vault.path.display().to_string());
    // The keyring may ask its person first.
    let kept = tokio::task::spawn_blocking(move || vault.keep(&tokens, asked)).await;
    let place = match kept.map_err(|error| Failure::new(Exit::Failed, "SYSTEM", error.to_string()))?? {
        Kept::Keyring => "the token is in the keyring".to_owned(),
        Kept::File(None) => format!("the token is in {path}"),
        Kept::File(Some(why)) => format!("no keyring took the token ({why}), so it is in {path}"),
    };
    let (name, email) = (&session.user.name, &session.user.email);
    context.output.note(&format!("Logged in to {} as {name} <{email}>; {place}", settings.api_url));
    if context.output.json { context.output.json(&session) } else { Ok(()) }
}

/// Shows where to go and which code to compare, and waits for the person's word.
async fn on_another_device(context: &Context, args: &LoginArgs) -> Result<Token> {
    let client = Client::new(ClientConfig {
        user_agent: concat!("ogel-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..ClientConfig::new(&context.settings.api_url)
    });
    let client = client.map_err(|error| context.explain(error))?;
    let asked = DeviceCodeRequest { client_id: Some(CLIENT_ID.to_owned()), scope: None };
    let code = client.start_device_login(&asked).await.map_err(|error| context.explain(error))?;
    let (url, user_code) = (plain::line(&code.verification_uri_complete), plain::line(&code.user_code));
    context.output.ask(&format!("Open this address, compare the code, and let `ogel` in:\n\n  {url}\n  {user_code}\n"));
    if context.environment.browser && !args.no_browser {
        // The address stands above: whoever has no browser here takes it elsewhere.
        if let Err(why) = browser::open(code.verification_uri_complete.clone()).await {
            context.output.note(&format!("No browser could be opened: {why}"));
        }
    }
    context.output.note("Waiting for you …");
    let request = TokenRequest {
        grant_type: "urn:ietf:params:oauth:grant-type:device_code".to_owned(),
        client_id: asked.client_id,
        device_code: Some(code.device_code),
        ..TokenRequest::default()
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

/// Forgets the token, and ends it on the server if it is a session. An API key stays valid: it may be in use elsewhere.
pub(crate) async fn logout(context: &Context) -> Result {
    let settings = &context.settings;
    let vault = settings.vault()?.clone();
    let config = settings.config.clone();
    let kept = {
        let (vault, config) = (vault.clone(), config.clone());
        // `OGEL_TOKEN` does not spare the one that is kept.
        tokio::task::spawn_blocking(move || vault.load(&config)).await.unwrap_or(Ok(None))
    };
    let was_logged_in = !matches!(kept, Ok(None));
    let ended = match &kept {
        Ok(Some(login)) => {
            let url = if login.api_url.is_empty() { &settings.api_url } else { &login.api_url };
            let client = ClientConfig { token: Some(login.token.clone()), ..ClientConfig::new(url) };
            let ended = match &login.refresh_token {
                Some(refresh_token) => end_login(client, refresh_token).await,
                None => end_session(client).await,
            };
            Some(ended.map_err(|error| error.to_string()))
        }
        Ok(None) => None,
        Err(why) => Some(Err(format!("the keyring did not hand it out: {why}"))),
    };
    if was_logged_in {
        let forgotten = tokio::task::spawn_blocking(move || vault.forget(&config)).await;
        forgotten.map_err(|error| Failure::new(Exit::Failed, "SYSTEM", error.to_string()))??;
    }
    match ended {
        None => context.output.note("Not logged in"),
        Some(Ok(true)) => context.output.note("Logged out"),
        Some(Ok(false)) => context.output.note("Forgot the API key; it stays valid until it is deleted"),
        Some(Err(why)) => context.output.warn(&format!("forgot the token, but could not end it: {why}")),
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
