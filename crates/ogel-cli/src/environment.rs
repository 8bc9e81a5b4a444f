//! The one place that reads the environment and the clock (`OGEL_API_URL` and `OGEL_TOKEN` are flags' defaults, in
//! `args`).

use std::{
    ffi::OsString,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

pub(crate) struct Environment {
    /// The folder of the configuration file: `$OGEL_CONFIG_DIR`, `$XDG_CONFIG_HOME/ogel`, or `~/.config/ogel`.
    pub(crate) config_dir: Option<PathBuf>,
    /// `OGEL_TOKEN`, to tell where a token came from.
    pub(crate) token: Option<String>,
    /// Whether a browser would come up before this person's eyes.
    pub(crate) browser: bool,
    /// When the command was started, in milliseconds since 1970.
    pub(crate) now_ms: i64,
}

impl Environment {
    pub(crate) fn read() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the clock of a command is the system's, read once")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            config_dir: config_dir(set("OGEL_CONFIG_DIR"), set("XDG_CONFIG_HOME"), set("HOME")),
            token: set("OGEL_TOKEN").and_then(|token| token.into_string().ok()),
            browser: crate::browser::is_near(set),
            now_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// An empty variable counts as one that is not set.
fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn config_dir(own: Option<OsString>, xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // The XDG rules: a relative path there is to be ignored.
    let xdg = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
    own.map(PathBuf::from)
        .or_else(|| xdg.map(|path| path.join("ogel")))
        .or_else(|| home.map(|home| PathBuf::from(home).join(".config/ogel")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_variable_comes_before_xdg_and_home() {
        let os = |text: &str| Some(OsString::from(text));
        assert_eq!(config_dir(os("/o"), os("/x"), os("/h")), Some("/o".into()));
        assert_eq!(config_dir(None, os("/x"), os("/h")), Some("/x/ogel".into()));
        assert_eq!(config_dir(None, os("x"), os("/h")), Some("/h/.config/ogel".into()));
        assert_eq!(config_dir(None, None, None), None);
    }
}
