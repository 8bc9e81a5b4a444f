//! Which server, and as whom: flag before environment before file before default.

use crate::{
    Result,
    args::Global,
    config::{self, Config, TokenStore},
    environment::Environment,
    failure::{Exit, Failure},
    output::Output,
    tokens::{Tokens, Vault},
};
use std::io::{IsTerminal as _, Read as _};
use url::{Host, Url};

pub(crate) const DEFAULT_API_URL: &str = "http://127.0.0.1:8787";
/// No token is longer; a file piped in by mistake is.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

pub(crate) struct Settings {
    pub(crate) api_url: String,
    pub(crate) token: Option<String>,
    pub(crate) token_source: TokenSource,
    pub(crate) config: Config,
    /// What `ogel login` has kept, whichever server it is for.
    pub(crate) login: Option<Tokens>,
    vault: Option<Vault>,
}

/// Where the token came from, for whoever has to replace it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenSource {
    Flag,
    Environment,
    File,
    Keyring,
    /// There is none.
    Nowhere,
    /// There is one, but for this other server.
    OtherServer(String),
    /// The keyring has one and does not hand it out; why.
    Locked(String),
}

impl Settings {
    pub(crate) fn resolve(global: &Global, environment: &Environment, output: &Output) -> Result<Self> {
        let config_path = environment.config_dir.as_ref().map(|folder| folder.join("config.toml"));
        let config = config_path.as_deref().map_or_else(|| Ok(Config::default()), Config::load)?;
        if let Some(path) = config_path.as_deref().filter(|path| config.token.is_some() && config::is_exposed(path)) {
            output.warn(&format!("others can read the token in `{0}`; run `chmod 600 {0}`", path.display()));
        }
        let given = global.api_url.clone().filter(|url| !url.is_empty());
        let api_url = given.or_else(|| config.api_url.clone()).unwrap_or_else(|| DEFAULT_API_URL.to_owned());
        let vault = config_path.map(Vault::new);
        let given = given_token(global)?;
        // A token that was named spares the keyring's question to its person.
        let login = match (&given, &vault) {
            (None, Some(vault)) => vault.load(&config),
            _ => Ok(None),
        };
        let (token, token_source) = choose_token(given, environment, &config, &login, &api_url);
        Ok(Self { api_url, token, token_source, config, login: login.ok().flatten(), vault })
    }

    /// Whether what is sent can be read on its way.
    pub(crate) fn is_exposed(&self) -> bool {
        Url::parse(&self.api_url).is_ok_and(|url| {
            url.scheme() == "http"
                && match url.host() {
                    Some(Host::Domain(name)) => name != "localhost" && !name.ends_with(".localhost"),
                    Some(Host::Ipv4(ip)) => !ip.is_loopback(),
                    Some(Host::Ipv6(ip)) => !ip.is_loopback(),
                    None => true,
                }
        })
    }

    /// Where a login is kept, for commands that change it.
    pub(crate) fn vault(&self) -> Result<&Vault> {
        self.vault.as_ref().ok_or_else(|| {
            Failure::new(Exit::Failed, "CONFIG", "there is no folder for the configuration file")
                .hint("set `OGEL_CONFIG_DIR` or `HOME`")
        })
    }
}

/// The token of `--token` or `OGEL_TOKEN`; `-` reads the first line of stdin.
fn given_token(global: &Global) -> Result<Option<String>> {
    let Some(given) = global.token.as_deref().map(str::trim).filter(|token| !token.is_empty()) else {
        return Ok(None);
    };
    if given != "-" {
        return Ok(Some(given.to_owned()));
    }
    let refuse = |message: &str| Failure::new(Exit::Usage, "NO_TOKEN", message.to_owned());
    let stdin = std::io::stdin();
    let mut text = String::new();
    let read = if stdin.is_terminal() {
        Output::new(false, false, false).note("Paste the token and press Enter:");
        stdin.read_line(&mut text)
    } else {
        stdin.take(MAX_TOKEN_BYTES).read_to_string(&mut text)
    };
    read.map_err(|error| refuse(&format!("cannot read the token from stdin: {error}")))?;
    match text.trim() {
        "" => Err(refuse("stdin has no token").hint("pipe it in: `ogel login --token - < token.txt`")),
        token if token.contains(char::is_whitespace) => Err(refuse("stdin has more than a token")),
        token => Ok(Some(token.to_owned())),
    }
}

/// A kept token is for its server: another server must not be handed it.
fn choose_token(
    given: Option<String>,
    environment: &Environment,
    config: &Config,
    login: &Result<Option<Tokens>, String>,
    api_url: &str,
) -> (Option<String>, TokenSource) {
    if let Some(token) = given {
        let from_environment = environment.token.as_deref().map(str::trim) == Some(token.as_str());
        return (Some(token), if from_environment { TokenSource::Environment } else { TokenSource::Flag });
    }
    let at_home =
        if config.token_store == Some(TokenStore::Keyring) { TokenSource::Keyring } else { TokenSource::File };
    match login {
        Ok(None) => (None, TokenSource::Nowhere),
        Ok(Some(login)) if !login.api_url.is_empty() && !same_server(&login.api_url, api_url) => {
            (None, TokenSource::OtherServer(login.api_url.clone()))
        }
        Ok(Some(login)) => (Some(login.token.clone()), at_home),
        Err(why) => (None, TokenSource::Locked(why.clone())),
    }
}

fn same_server(one: &str, other: &str) -> bool {
    let place = |url: &str| {
        let url = Url::parse(url).ok()?;
        let path = url.path().trim_end_matches('/');
        Some((url.origin(), path.strip_suffix(ogel_api::BASE_PATH).unwrap_or(path).to_owned()))
    };
    one == other || (place(one).is_some() && place(one) == place(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_the_server_it_is_for() {
        let environment = Environment { config_dir: None, token: Some("e".to_owned()), browser: false, now_ms: 0 };
        let login = Tokens { api_url: "http://h:1".to_owned(), token: "f".to_owned(), refresh_token: None };
        let login = Ok(Some(login));
        let choose = |given: Option<&str>, url, store| {
            let config = Config { token_store: store, ..Config::default() };
            choose_token(given.map(str::to_owned), &environment, &config, &login, url)
        };
        assert_eq!(choose(None, "http://h:1/api/v2/", None), (Some("f".to_owned()), TokenSource::File));
        let keyring = Some(TokenStore::Keyring);
        assert_eq!(choose(None, "http://h:1", keyring), (Some("f".to_owned()), TokenSource::Keyring));
        assert_eq!(choose(None, "http://h:2", None), (None, TokenSource::OtherServer("http://h:1".to_owned())));
        assert_eq!(choose(Some("e"), "http://h:2", None), (Some("e".to_owned()), TokenSource::Environment));
        assert_eq!(choose(Some("x"), "http://h:2", None), (Some("x".to_owned()), TokenSource::Flag));
    }
}
