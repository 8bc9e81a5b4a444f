//! The configuration file: which server, and the token for it unless the keyring has it ([`crate::tokens`]). Readable by its
//! owner alone, replaced in one step.

use crate::{
    Result,
    failure::{Exit, Failure},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// Where tokens are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenStore {
    /// The system's keyring
    Keyring,
    /// The configuration file, readable by its owner alone
    File,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// Renews the token, once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
    /// `keyring`: the tokens are there. `file`: they are here, and the keyring is never asked. Left out: they are here because no
    /// keyring took them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_store: Option<TokenStore>,
}

impl Config {
    /// What the file says; nothing, if there is none.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(error) => return Err(failure(format!("cannot read `{}`: {error}", path.display()))),
        };
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            // Only its message: the whole text quotes the line, which may hold the token.
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            failure(format!("`{}`, line {line}: {}", path.display(), error.message()))
                .hint("correct the file, or delete it and log in again")
        })
    }

    /// Replaces the file: whoever reads it meanwhile sees the old or the new one.
    pub(crate) fn save(&self, path: &Path) -> Result {
        self.write(path).map_err(|error| failure(format!("cannot write `{}`: {error}", path.display())))
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        // Some keep their configuration elsewhere and link to it; the link should stay.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
        create_private(&folder)?;
        let text = toml::to_string(self).map_err(std::io::Error::other)?;
        // Created with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    }
}

fn create_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Whether others than the owner may read the file.
#[cfg(unix)]
pub(crate) fn is_exposed(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
pub(crate) fn is_exposed(_: &Path) -> bool {
    false
}

fn failure(message: String) -> Failure {
    Failure::new(Exit::Failed, "CONFIG", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_file_is_read_again_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/config.toml");
        let token = Some("t\"x".to_owned());
        let config = Config { api_url: Some("http://h".to_owned()), token, ..Config::default() };
        config.save(&path).unwrap();
        config.save(&path).unwrap();
        assert_eq!(Config::load(&path).unwrap().token.as_deref(), Some("t\"x"));
        assert!(!is_exposed(&path) && !is_exposed(path.parent().unwrap()));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_broken_file_is_named_with_its_line_and_without_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, "api_url = \"http://h\"\ntoken = ogel_secret\n").unwrap();
        let Err(failure) = Config::load(&path) else { panic!("it was accepted") };
        assert!(failure.message.contains("line 2"), "{}", failure.message);
        assert!(!failure.message.contains("ogel_secret"), "{}", failure.message);
    }
}
