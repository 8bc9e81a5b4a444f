//! Which server, and as whom: flag before environment before file before default.

use crate::{
    Result,
    args::Global,
    config::{self, Config},
    environment::Environment,
    failure::{Exit, Failure},
    output::Output,
};
use std::{
    io::{IsTerminal as _, Read as _},
    path::PathBuf,
};
use url::{Host, Url};

pub(crate) const DEFAULT_API_URL: &str = "http://127.0.0.1:8787";
/// No token is longer; a file piped in by mistake is.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

pub(crate) struct Settings {
    pub(crate) api_url: String,
    pub(crate) token: Option<String>,
    pub(crate) token_source: TokenSource,
    pub(crate) config: Config,
    pub(crate) config_path: Option<PathBuf>,
}

/// Where the token came from, for whoever has to replace it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenSource {
    Flag,
    Environment,
    File,
    /// There is none.
    Nowhere,
    /// The file has one, but for this other server.
    OtherServer(String),
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
        let (token, token_source) = choose_token(given_token(global)?, environment, &config, &api_url);
        Ok(Self { api_url, token, token_source, config, config_path })
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

    /// The file, for commands that write it.
    pub(crate) fn config_path(&self) -> Result<&PathBuf> {
        self.config_path.as_ref().ok_or_else(|| {
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

/// The file's token is for the file's server: another server must not be handed it.
fn choose_token(
    given: Option<String>,
    environment: &Environment,
    config: &Config,
    api_url: &str,
) -> (Option<String>, TokenSource) {
    if let Some(token) = given {
        let from_environment = environment.token.as_deref().map(str::trim) == Some(token.as_str());
        return (Some(token), if from_environment { TokenSource::Environment } else { TokenSource::Flag });
    }
    match (&config.token, &config.api_url) {
        (None, _) => (None, TokenSource::Nowhere),
        (Some(_), Some(other)) if !same_server(other, api_url) => (None, TokenSource::OtherServer(other.clone())),
        (Some(token), _) => (Some(token.clone()), TokenSource::File),
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
        let environment = Environment { config_dir: None, token: Some("e".to_owned()), now_ms: 0 };
        let (api_url, token) = (Some("http://h:1".to_owned()), Some("f".to_owned()));
        let config = Config { api_url, token, refresh_token: None };
        let choose = |given: Option<&str>, url| choose_token(given.map(str::to_owned), &environment, &config, url);
        assert_eq!(choose(None, "http://h:1/api/v2/"), (Some("f".to_owned()), TokenSource::File));
        assert_eq!(choose(None, "http://h:2"), (None, TokenSource::OtherServer("http://h:1".to_owned())));
        assert_eq!(choose(Some("e"), "http://h:2"), (Some("e".to_owned()), TokenSource::Environment));
        assert_eq!(choose(Some("x"), "http://h:2"), (Some("x".to_owned()), TokenSource::Flag));
    }
}
