//! A page in the person's browser, where there is one to see.

use std::ffi::OsString;
use url::Url;

/// Whether a browser that we start would come up before this person's eyes. `get` reads the environment.
pub(crate) fn is_near(get: impl Fn(&str) -> Option<OsString>) -> bool {
    // A runner has nobody before it, and over SSH the screen is another machine's.
    if ["CI", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"].into_iter().any(|name| get(name).is_some()) {
        return false;
    }
    let has_screen = cfg!(any(windows, target_os = "macos"));
    // WSL has Windows' screen; `BROWSER` is somebody's word that there is one.
    has_screen
        || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME", "BROWSER"].into_iter().any(|name| get(name).is_some())
}

/// Opens `address`, which a server has named: only a page of the web, never a program or a file.
pub(crate) async fn open(address: String) -> Result<(), String> {
    if !Url::parse(&address).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        return Err("it is no web address".to_owned());
    }
    let opened = tokio::task::spawn_blocking(move || webbrowser::open(&address).map_err(|error| error.to_string()));
    opened.await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_opened_only_where_somebody_sees_it() {
        let near = |set: &[&str]| is_near(|name| set.contains(&name).then(|| "x".into()));
        assert!(near(&["DISPLAY"]) && near(&["WAYLAND_DISPLAY"]) && near(&["BROWSER"]));
        assert!(!near(&["DISPLAY", "CI"]) && !near(&["DISPLAY", "SSH_CONNECTION"]) && !near(&["DISPLAY", "SSH_TTY"]));
        if cfg!(target_os = "linux") {
            assert!(!near(&[]));
        }
    }

    #[tokio::test]
    async fn what_is_no_web_address_is_never_opened() {
        for address in ["file:///etc/passwd", "javascript:alert(1)", "/bin/sh", ""] {
            assert!(open(address.to_owned()).await.is_err(), "{address}");
        }
    }
}
