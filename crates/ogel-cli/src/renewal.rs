//! A token that `ogel login` got lasts an hour; what is refused is renewed here, by one process at a time.
//!
//! A refresh token works once, and whoever comes second with it ends the login: so the file is locked while it is read,
//! exchanged and written, and a process that finds another token in it than the one that was refused takes that.

use crate::{
    config::Config,
    settings::{Settings, TokenSource},
};
use ogel_api::auth::TokenRequest;
use ogel_client::{Client, ClientConfig, Renew};
use std::{fs::File, path::PathBuf, sync::Arc};

/// What a program says it is; the login belongs to it.
pub(crate) const CLIENT_ID: &str = "ogel-cli";

/// For the token of the configuration file alone: others are not ours to renew.
pub(crate) fn of(settings: &Settings) -> Option<Renew> {
    let path = settings.config_path.clone().filter(|_| settings.token_source == TokenSource::File)?;
    settings.config.refresh_token.as_ref()?;
    let api_url = settings.api_url.clone();
    Some(Arc::new(move |refused| Box::pin(renew(path.clone(), api_url.clone(), refused))))
}

async fn renew(path: PathBuf, api_url: String, refused: String) -> Option<String> {
    let lock_path = path.with_extension("lock");
    // Waits for others of ours, so not on the thread that everything runs on.
    let lock = tokio::task::spawn_blocking(move || {
        let file = File::create(lock_path).ok()?;
        file.lock().ok().map(|()| file)
    });
    // Held until the new pair is written.
    let _lock = lock.await.ok()??;
    let mut config = Config::load(&path).ok()?;
    if config.token.as_ref() != Some(&refused) {
        return config.token;
    }
    let client = Client::new(ClientConfig::new(&api_url)).ok()?;
    let asked = TokenRequest {
        grant_type: "refresh_token".to_owned(),
        client_id: Some(CLIENT_ID.to_owned()),
        refresh_token: config.refresh_token.take(),
        device_code: None,
    };
    let tokens = client.token(&asked).await.ok()?.ok()?;
    config.token = Some(tokens.access_token.clone());
    config.refresh_token = Some(tokens.refresh_token);
    // If it cannot be written, this process still has its token, and the next one logs in again.
    config.save(&path).ok();
    Some(tokens.access_token)
}
