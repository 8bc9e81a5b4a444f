//! A token that `ogel login` got lasts an hour; what is refused is renewed here, by one process at a time.
//!
//! A refresh token works once, and whoever comes second with it ends the login: so a lock is held while the
//! pair is read, exchanged and written, and a process that finds another token there than the one that was refused takes that.

use crate::{
    config::Config,
    settings::{Settings, TokenSource},
    tokens::{Tokens, Vault},
};
use ogel_api::auth::TokenRequest;
use ogel_client::{Client, ClientConfig, Renew};
use std::{fs::File, sync::Arc};

/// What a program says it is; the login belongs to it.
pub(crate) const CLIENT_ID: &str = "ogel-cli";

/// For a token that `ogel login` got: others are not ours to renew.
pub(crate) fn of(settings: &Settings) -> Option<Renew> {
    if !matches!(settings.token_source, TokenSource::File | TokenSource::Keyring) {
        return None;
    }
    settings.login.as_ref()?.refresh_token.as_ref()?;
    let (vault, api_url) = (settings.vault().ok()?.clone(), settings.api_url.clone());
    Some(Arc::new(move |refused| Box::pin(renew(vault.clone(), api_url.clone(), refused))))
}

async fn renew(vault: Vault, api_url: String, refused: String) -> Option<String> {
    // Waits for others of ours, and for the keyring, so not on the thread that everything runs on.
    let reading = vault.clone();
    let read = tokio::task::spawn_blocking(move || {
        let lock = File::create(reading.path.with_extension("lock")).ok()?;
        lock.lock().ok()?;
        let config = Config::load(&reading.path).ok()?;
        let tokens = reading.load(&config).ok()??;
        Some((lock, config, tokens))
    });
    // Held until the new pair is written.
    let (_lock, config, kept) = read.await.ok()??;
    if kept.token != refused {
        return Some(kept.token);
    }
    let client = Client::new(ClientConfig::new(&api_url)).ok()?;
    let asked = TokenRequest {
        grant_type: "refresh_token".to_owned(),
        client_id: Some(CLIENT_ID.to_owned()),
        refresh_token: kept.refresh_token,
        ..TokenRequest::default()
    };
    let new = client.token(&asked).await.ok()?.ok()?;
    let token = new.access_token.clone();
    let tokens = Tokens { token: new.access_token, refresh_token: new.refresh_token, api_url: kept.api_url };
    // If it cannot be written, this process still has its token, and the next one logs in again.
    tokio::task::spawn_blocking(move || vault.renew(&config, &tokens)).await.ok();
    Some(token)
}
