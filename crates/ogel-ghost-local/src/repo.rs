//! Which repositories, branches and paths a deployment may name. Everything that git or a shell could read as an option,
//! a helper or a way out of the clone is refused before it is stored. Next: `git.rs`, which clones what passed here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// A repository address that passed the checks.
#[derive(Debug, Clone)]
pub(crate) struct RepoUrl(Url);

impl RepoUrl {
    /// Parses and checks. The reason for a refusal is fit for the caller.
    pub(crate) fn parse(text: &str, allow_file: bool, allow_private: bool) -> Result<RepoUrl, String> {
        if text.starts_with('-') || text.contains("::") && !text.contains('[') {
            return Err("it must be the URL of a git repository".to_owned());
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("it must not contain spaces or control characters".to_owned());
        }
        let url = match Url::parse(text) {
            Ok(url) if url.has_host() || url.scheme() == "file" => url,
            // `git@host:path`, the short form of ssh.
            _ => scp_form(text).ok_or_else(|| "it must be the URL of a git repository".to_owned())?,
        };
        match url.scheme() {
            "https" | "http" | "ssh" | "git" => {}
            "file" if allow_file => {
                if url.host_str().is_some_and(|host| !host.is_empty()) {
                    return Err("a `file` URL must not name a host".to_owned());
                }
                return Ok(RepoUrl(url));
            }
            scheme => return Err(format!("the scheme `{scheme}` is not allowed; use https")),
        }
        if url.username().starts_with('-') || url.host_str().is_none_or(|host| host.is_empty() || host.starts_with('-'))
        {
            return Err("it must name a host".to_owned());
        }
        if !allow_private && url.host().is_some_and(|host| is_private_host(&host)) {
            return Err("repositories on private addresses are not allowed".to_owned());
        }
        Ok(RepoUrl(url))
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// The address without user and password, for logs and answers.
    pub(crate) fn redacted(&self) -> String {
        let mut url = self.0.clone();
        if url.password().is_some() || (matches!(url.scheme(), "http" | "https") && !url.username().is_empty()) {
            // Both fail only for URLs that cannot carry credentials, and those have none to remove.
            let _ = url.set_password(None);
            let _ = url.set_username("");
        }
        url.to_string()
    }

    /// The parts of the address that must not be shown, if any.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let http = matches!(self.0.scheme(), "http" | "https");
        let mut secrets: Vec<String> = self.0.password().map(str::to_owned).into_iter().collect();
        if http && !self.0.username().is_empty() {
            secrets.push(self.0.username().to_owned());
        }
        secrets.retain(|secret| secret.len() >= 4);
        secrets
    }
}

fn scp_form(text: &str) -> Option<Url> {
    let (login, path) = text.split_once(':')?;
    let (user, host) = login.split_once('@')?;
    let plain = |s: &str| !s.is_empty() && s.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c));
    if !plain(user) || !plain(host) || path.is_empty() || path.starts_with(['/', '-']) {
        return None;
    }
    Url::parse(&format!("ssh://{user}@{host}/{path}")).ok()
}

fn is_private_host(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
        }
        Host::Ipv4(address) => is_private(IpAddr::V4(*address)),
        Host::Ipv6(address) => is_private(IpAddr::V6(*address)),
    }
}

/// Loopback, private, link-local and every other range that is not the public internet.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_private_v4(v4);
    }
    let [first, second, ..] = address.segments();
    // 64:ff9b::/96 and 2002::/16 carry an IPv4 address that would be reached instead.
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || (first & 0xfe00) == 0xfc00
        || (first & 0xffc0) == 0xfe80
        || (first == 0x64 && second == 0xff9b)
        || first == 0x2002
        || address.segments()[..6] == [0; 6]
}

/// A branch or tag name git would accept, that no command line can misread.
pub(crate) fn check_branch(name: &str) -> Result<(), &'static str> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    if name.len() > 255 {
        return Err("it is longer than 255 bytes");
    }
    if name.starts_with(['-', '/', '.'])
        || name.ends_with(['/', '.'])
        || name.ends_with(".lock")
        || name.contains("..")
        || name.contains("//")
        || name.contains("@{")
        || name.chars().any(bad)
    {
        return Err("it is not a valid branch name");
    }
    Ok(())
}

/// 7 to 64 hex digits.
pub(crate) fn check_commit(sha: &str) -> Result<(), &'static str> {
    let fits = (7..=64).contains(&sha.len()) && sha.bytes().all(|c| c.is_ascii_hexdigit());
    if fits { Ok(()) } else { Err("it must be 7 to 64 hex digits") }
}

/// A relative path that stays below where it starts. Symlinks are checked later, when the clone exists.
pub(crate) fn check_relative_path(path: &str) -> Result<(), &'static str> {
    if path.starts_with(['/', '-', '~']) || path.contains(['\\', '\0', '\n', '\r']) {
        return Err("it must be a relative path");
    }
    if path.split('/').any(|part| part == ".." || part == ".git") {
        return Err("it must stay inside the repository");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_git_addresses_pass() {
        for good in [
            "https://github.com/ogel/site.git",
            "http://example.org/x",
            "ssh://git@github.com/ogel/site.git",
            "git://example.org/x.git",
            "git@github.com:ogel/site.git",
        ] {
            assert!(RepoUrl::parse(good, false, false).is_ok(), "{good}");
        }
        for bad in [
            "--upload-pack=touch /tmp/x",
            "ext::sh -c id",
            "ext::sh",
            "file:///etc",
            "/etc",
            "../x",
            "ssh://-oProxyCommand=id/x",
            "https://127.0.0.1/x",
            "https://[::1]/x",
            "https://localhost/x",
            "https://169.254.169.254/latest",
            "https://0x7f.1/x",
            "https://[::ffff:10.0.0.1]/x",
            "fd::3",
            "",
        ] {
            assert!(RepoUrl::parse(bad, false, false).is_err(), "{bad}");
        }
        assert!(RepoUrl::parse("file:///srv/repo", true, false).is_ok());
    }

    #[test]
    fn credentials_are_not_shown() {
        let url = RepoUrl::parse("https://ada:hunter2@example.org/x.git", false, false).unwrap();
        assert_eq!(url.redacted(), "https://example.org/x.git");
        assert_eq!(url.secrets(), ["hunter2"]);
    }

    #[test]
    fn names_that_are_options_are_refused() {
        assert!(check_branch("feature/x-1").is_ok());
        for bad in ["-u", "a..b", "a b", "x.lock", "a:b", "@{-1}"] {
            assert!(check_branch(bad).is_err(), "{bad}");
        }
        assert!(check_relative_path("apps/web").is_ok());
        for bad in ["/etc", "../x", "a/../../b", "-x", ".git/hooks"] {
            assert!(check_relative_path(bad).is_err(), "{bad}");
        }
    }
}
