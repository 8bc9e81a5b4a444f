//! Where the tokens of a login are kept: in the system's keyring, or in the configuration file where there is none.
//!
//! The file says which (`token_store`); in the keyring the server stands beside its tokens, so that whoever can write the file but
//! not read the keyring cannot have them sent elsewhere.

use crate::{
    Result,
    config::{Config, TokenStore},
    failure::{Exit, Failure},
    keyring::Keyring,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A login at one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) api_url: String,
    pub(crate) token: String,
    /// Renews the token, once. A token somebody handed us has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

/// Where [`Vault::keep`] has put them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Keyring,
    /// With what was wrong with the keyring, if it was asked.
    File(Option<String>),
}

#[derive(Clone)]
pub(crate) struct Vault {
    /// The configuration file.
    pub(crate) path: PathBuf,
    keyring: Keyring,
}

impl Vault {
    pub(crate) fn new(path: PathBuf) -> Self {
        let keyring = Keyring::of(&path);
        Self { path, keyring }
    }

    /// The login that `config` tells of, or why the keyring does not hand it out.
    pub(crate) fn load(&self, config: &Config) -> Result<Option<Tokens>, String> {
        if config.token_store != Some(TokenStore::Keyring) {
            return Ok(config.token.clone().map(|token| Tokens {
                // Somebody who writes the file by hand may leave the server out.
                api_url: config.api_url.clone().unwrap_or_default(),
                token,
                refresh_token: config.refresh_token.clone(),
            }));
        }
        match self.keyring.get()? {
            Some(text) => {
                serde_json::from_str(&text).map(Some).map_err(|_| "what it holds is not of `ogel`".to_owned())
            }
            None => Err("it has no token of this configuration".to_owned()),
        }
    }

    /// Keeps a new login where it was asked to be kept, or else wherever it can.
    pub(crate) fn keep(&self, tokens: &Tokens, asked: Option<TokenStore>) -> Result<Kept> {
        let before = Config::load(&self.path)?.token_store;
        let wanted = asked.or(before.filter(|store| *store == TokenStore::File));
        let mut trouble = None;
        if wanted != Some(TokenStore::File) {
            match self.to_keyring(tokens) {
                Ok(()) => {
                    let api_url = Some(tokens.api_url.clone());
                    let store = Some(TokenStore::Keyring);
                    Config { api_url, token_store: store, ..Config::default() }.save(&self.path)?;
                    return Ok(Kept::Keyring);
                }
                Err(why) if wanted == Some(TokenStore::Keyring) => {
                    let message = format!("the keyring did not take the token: {why}");
                    return Err(Failure::new(Exit::Failed, "KEYRING", message)
                        .hint("`--token-store file` keeps it in the configuration file"));
                }
                Err(why) => trouble = Some(why),
            }
        }
        if before == Some(TokenStore::Keyring) {
            // What it holds is of no use any more; if it cannot be reached, it stays a token that ends by itself.
            self.keyring.remove().ok();
        }
        self.to_file(tokens, wanted)?;
        Ok(Kept::File(trouble))
    }

    /// Replaces the tokens where `config` says they are.
    pub(crate) fn renew(&self, config: &Config, tokens: &Tokens) -> Result<(), String> {
        match config.token_store {
            Some(TokenStore::Keyring) => self.to_keyring(tokens),
            store => self.to_file(tokens, store).map_err(|failure| failure.message),
        }
    }

    /// Forgets the login, here and there. The server and the wish for the file stay.
    pub(crate) fn forget(&self, config: &Config) -> Result {
        let in_keyring = config.token_store == Some(TokenStore::Keyring);
        let removed = if in_keyring { self.keyring.remove() } else { Ok(()) };
        let token_store = config.token_store.filter(|_| !in_keyring);
        Config { api_url: config.api_url.clone(), token_store, ..Config::default() }.save(&self.path)?;
        removed.map_err(|why| Failure::new(Exit::Failed, "KEYRING", format!("the keyring still has the token: {why}")))
    }

    fn to_keyring(&self, tokens: &Tokens) -> Result<(), String> {
        self.keyring.set(serde_json::to_string(tokens).map_err(|error| error.to_string())?)
    }

    fn to_file(&self, tokens: &Tokens, token_store: Option<TokenStore>) -> Result {
        let Tokens { api_url, token, refresh_token } = tokens.clone();
        Config { api_url: Some(api_url), token: Some(token), refresh_token, token_store }.save(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::scripted;
    use std::path::Path;

    fn tokens(token: &str) -> Tokens {
        Tokens { api_url: "http://h".to_owned(), token: token.to_owned(), refresh_token: Some(format!("{token}-r")) }
    }

    fn vault(folder: &Path, keyring: fn(&Path) -> Keyring) -> Vault {
        let path = folder.join("config.toml");
        Vault { keyring: keyring(&path), path }
    }

    fn text(vault: &Vault) -> String {
        std::fs::read_to_string(&vault.path).unwrap()
    }

    fn loaded(vault: &Vault) -> Result<Option<Tokens>, String> {
        vault.load(&Config::load(&vault.path).unwrap())
    }

    #[test]
    fn a_keyring_keeps_the_tokens_out_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path(), scripted::working);
        assert_eq!(vault.keep(&tokens("one"), None).unwrap(), Kept::Keyring);
        assert_eq!(text(&vault), "api_url = \"http://h\"\ntoken_store = \"keyring\"\n");
        assert_eq!(loaded(&vault), Ok(Some(tokens("one"))));
        vault.renew(&Config::load(&vault.path).unwrap(), &tokens("two")).unwrap();
        assert_eq!(loaded(&vault), Ok(Some(tokens("two"))));
        vault.forget(&Config::load(&vault.path).unwrap()).unwrap();
        assert_eq!(text(&vault), "api_url = \"http://h\"\n");
        assert_eq!((loaded(&vault), vault.keyring.get()), (Ok(None), Ok(None)));
    }

    #[test]
    fn two_configurations_keep_two_logins() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let vaults = [0, 1].map(|at| vault(folders[at].path(), scripted::working));
        vaults[0].keep(&tokens("one"), None).unwrap();
        vaults[1].keep(&tokens("two"), None).unwrap();
        vaults[1].forget(&Config::load(&vaults[1].path).unwrap()).unwrap();
        assert_eq!(loaded(&vaults[0]), Ok(Some(tokens("one"))));
    }

    #[test]
    fn without_a_keyring_the_file_has_them_and_it_is_said_why() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path(), scripted::absent);
        assert_eq!(vault.keep(&tokens("one"), None).unwrap(), Kept::File(Some("there is none".to_owned())));
        assert_eq!(loaded(&vault), Ok(Some(tokens("one"))));
        assert!(!text(&vault).contains("token_store"), "{}", text(&vault));
        let refused = vault.keep(&tokens("two"), Some(TokenStore::Keyring)).unwrap_err();
        assert!(refused.message.contains("there is none"), "{}", refused.message);
        assert_eq!(loaded(&vault), Ok(Some(tokens("one"))));
    }

    #[test]
    fn the_wish_for_the_file_is_kept_and_empties_the_keyring() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path(), scripted::working);
        vault.keep(&tokens("one"), None).unwrap();
        assert_eq!(vault.keep(&tokens("two"), Some(TokenStore::File)).unwrap(), Kept::File(None));
        assert_eq!((loaded(&vault), vault.keyring.get()), (Ok(Some(tokens("two"))), Ok(None)));
        vault.forget(&Config::load(&vault.path).unwrap()).unwrap();
        assert_eq!(vault.keep(&tokens("three"), None).unwrap(), Kept::File(None));
    }

    #[test]
    fn a_keyring_that_lost_the_token_is_a_reason_and_not_a_login() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path(), scripted::working);
        vault.keep(&tokens("one"), None).unwrap();
        vault.keyring.remove().unwrap();
        assert!(loaded(&vault).unwrap_err().contains("no token of this configuration"));
        vault.keyring.set("{}".to_owned()).unwrap();
        assert!(loaded(&vault).unwrap_err().contains("not of `ogel`"));
    }
}
