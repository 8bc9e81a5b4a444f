//! What may be handed to git and to a shell: checked here, before anything reaches Ghost.
//!
//! A URL is not cloned by us, but by Ghost, from inside the platform's network: one that names a private address would
//! let a caller reach what only the platform may.

use crate::{error::Result, extract::invalid, state::App};
use ogel_api::{
    deployments::NewDeployment,
    error::{Detail, ErrorCode},
};
use ogel_ghost::SiteFields;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};
use url::{Host, Url};

/// Everything about `new` that can be wrong, all at once.
pub(crate) async fn check(app: &App, new: &NewDeployment) -> Result<()> {
    let mut details = Vec::new();
    details.extend(new.commit_sha.as_deref().and_then(commit_sha));
    details.extend(new.env.as_ref().and_then(environment));
    details.extend(new.tags.as_deref().and_then(tags));
    let fields = SiteFields {
        repo_url: Some(Some(&new.repo_url)),
        production_branch: Some(new.branch.as_deref()),
        framework: Some(new.framework.as_deref()),
        root_directory: Some(new.root_directory.as_deref()),
        install_command: Some(new.install_command.as_deref()),
        build_command: Some(new.build_command.as_deref()),
        output_directory: Some(new.output_directory.as_deref()),
        ..SiteFields::default()
    };
    check_fields(app, &fields, "branch", details).await
}

/// The same of what a site is made of: a deployment may be made of it later.
pub(crate) async fn check_site(app: &App, fields: &SiteFields<'_>) -> Result<()> {
    check_fields(app, fields, "productionBranch", Vec::new()).await
}

/// Whatever `fields` names, besides what is known to be wrong already.
async fn check_fields(app: &App, fields: &SiteFields<'_>, branch_field: &str, mut details: Vec<Detail>) -> Result<()> {
    let mut add = |problem: Option<Detail>| details.extend(problem);
    let url = fields.repo_url.flatten();
    add(url.and_then(|url| repo_url(url, app.config().deployments.allow_file_urls)));
    add(fields.production_branch.flatten().and_then(|name| branch(branch_field, name)));
    add(fields.framework.flatten().and_then(framework));
    for (field, value) in [("rootDirectory", fields.root_directory), ("outputDirectory", fields.output_directory)] {
        add(value.flatten().and_then(|value| directory(field, value)));
    }
    for (field, value) in [("installCommand", fields.install_command), ("buildCommand", fields.build_command)] {
        add(value.flatten().and_then(|value| command(field, value)));
    }
    if details.is_empty()
        && !app.config().deployments.allow_private_hosts
        && let Some(url) = url
    {
        details.extend(private_host(url).await);
    }
    if details.is_empty() { Ok(()) } else { Err(invalid(details)) }
}

fn problem(code: ErrorCode, field: &str, message: impl Into<String>, fix: &str) -> Option<Detail> {
    Some(Detail {
        location: format!("body.{field}"),
        code: code.to_string(),
        message: message.into(),
        fix: Some(fix.to_owned()),
    })
}

fn repo_url(text: &str, allow_file: bool) -> Option<Detail> {
    const FIX: &str = "send one like `https://github.com/user/my-app`";
    let bad = |message: &str| problem(ErrorCode::InvalidRepoUrl, "repoUrl", message, FIX);
    if text.len() > 2048 || text.starts_with('-') || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return bad("`repoUrl` must be a URL of at most 2048 characters, without blanks, not starting with `-`");
    }
    let Ok(url) = Url::parse(text) else {
        let scp_like = text.split_once(':').is_some_and(|(host, path)| host.contains('@') && !path.starts_with("//"));
        if scp_like {
            let fix = "write it as `ssh://git@host/path`";
            return problem(ErrorCode::InvalidRepoUrl, "repoUrl", "`repoUrl` is a path for ssh, not a URL", fix);
        }
        return bad("`repoUrl` is not a URL");
    };
    match url.scheme() {
        "https" | "http" | "ssh" => {}
        "file" if allow_file => {
            let local = url.host_str().is_none_or(str::is_empty) && url.path().len() > 1;
            return if local { None } else { bad("`repoUrl` names no folder of this machine") };
        }
        "file" => {
            let message = "`repoUrl` is a `file://` URL, and this server does not read its own disk";
            return problem(ErrorCode::RepoSchemeNotAllowed, "repoUrl", message, "push the repository to a host first");
        }
        other => {
            let message = format!("`repoUrl` has the scheme `{}`", other.chars().take(20).collect::<String>());
            return problem(
                ErrorCode::RepoSchemeNotAllowed,
                "repoUrl",
                message,
                "use `https://`, `http://` or `ssh://`",
            );
        }
    }
    // A user name is how ssh works (`git@`); on http it is half of a secret.
    let has_credentials = url.password().is_some() || (url.scheme() != "ssh" && !url.username().is_empty());
    if has_credentials {
        let message = "`repoUrl` carries a user name or password, which would end up in logs";
        return problem(ErrorCode::RepoUrlHasCredentials, "repoUrl", message, "remove it, and change that password");
    }
    if url.username().starts_with('-') || url.host_str().is_none_or(|host| host.is_empty() || host.starts_with('-')) {
        return bad("`repoUrl` names no host");
    }
    None
}

/// The host of `text` by name and by what the name resolves to now. Ghost resolves it again, so this is a first fence,
/// not the only one.
async fn private_host(text: &str) -> Option<Detail> {
    let url = Url::parse(text).ok()?;
    let host = url.host()?;
    let refused = |what: String| {
        let message = format!("`repoUrl` names {what}, which is not on the public internet");
        problem(ErrorCode::RepoHostNotAllowed, "repoUrl", message, "use a repository host that is")
    };
    let name = match host {
        Host::Ipv4(ip) if is_private(ip.into()) => return refused(ip.to_string()),
        Host::Ipv6(ip) if is_private(ip.into()) => return refused(ip.to_string()),
        Host::Ipv4(_) | Host::Ipv6(_) => return None,
        Host::Domain(name) => name.trim_end_matches('.').to_ascii_lowercase(),
    };
    let local = ["localhost", "local", "internal", "intranet", "lan", "home.arpa"];
    if local.iter().any(|suffix| name == *suffix || name.ends_with(&format!(".{suffix}"))) {
        return refused(format!("`{name}`"));
    }
    let port = url.port_or_known_default().unwrap_or(22);
    // A name that does not resolve here may still do so at Ghost, which says so in the build's log.
    let resolved = tokio::time::timeout(Duration::from_secs(2), tokio::net::lookup_host((name.as_str(), port))).await;
    let private = resolved.ok()?.ok()?.map(|address| address.ip()).find(|ip| is_private(*ip));
    private.and_then(|ip| refused(format!("`{name}`, which is at {ip}")))
}

/// Whether `ip` is anything but an address of the public internet.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    // IPv4 in IPv6's clothes: mapped, NAT64, 6to4.
    let embedded = ip.to_ipv4_mapped().or(match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        _ => None,
    });
    embedded.is_some_and(is_private_v4)
        || ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
        // Deprecated site-local, and addresses that carry an IPv4 one without saying so.
        || segments[0] & 0xffc0 == 0xfec0
        || segments[..6] == [0; 6]
}

/// git's own rules for names of references, and none that looks like an option.
fn branch(field: &str, name: &str) -> Option<Detail> {
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let bad = name.is_empty()
        || name.len() > 255
        || name.starts_with(['-', '/', '.'])
        || name.ends_with(['/', '.'])
        || name.contains("..")
        || name.contains("//")
        || name.contains("/.")
        || name.contains("@{")
        || name == "@"
        || name.split('/').any(|part| part.ends_with(".lock"))
        || name.chars().any(forbidden);
    if !bad {
        return None;
    }
    problem(
        ErrorCode::InvalidBranch,
        field,
        format!("`{field}` is not a name git accepts"),
        "send one like `main` or `feature/login`",
    )
}

fn commit_sha(sha: &str) -> Option<Detail> {
    if (7..=40).contains(&sha.len()) && sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let message = "`commitSha` takes 7 to 40 hexadecimal digits";
    problem(ErrorCode::InvalidValue, "commitSha", message, "`git rev-parse HEAD` prints one")
}

fn framework(name: &str) -> Option<Detail> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(fits) {
        return None;
    }
    let message = "`framework` takes 1 to 32 lower-case letters, digits and hyphens";
    problem(ErrorCode::InvalidValue, "framework", message, "leave it out to have it detected")
}

fn directory(field: &str, path: &str) -> Option<Detail> {
    let bad = path.is_empty()
        || path.len() > 255
        || path.starts_with(['/', '-'])
        || path.contains('\\')
        || path.chars().any(char::is_control)
        || path.split('/').any(|part| part == "..");
    if !bad {
        return None;
    }
    let message = format!("`{field}` must be a folder inside the repository, without `..`");
    problem(ErrorCode::InvalidValue, field, message, "send one like `apps/web`")
}

fn command(field: &str, text: &str) -> Option<Detail> {
    if (1..=2000).contains(&text.len()) && !text.contains('\0') {
        return None;
    }
    problem(
        ErrorCode::InvalidValue,
        field,
        format!("`{field}` takes 1 to 2000 characters"),
        "put longer ones into a script",
    )
}

fn environment(env: &std::collections::BTreeMap<String, String>) -> Option<Detail> {
    let valid_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 128
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if let Some(name) = env.keys().find(|name| !valid_name(name)) {
        let name: String = name.chars().take(64).collect();
        let message = format!("`env` has the name `{name}`; names are letters, digits and `_`");
        return problem(ErrorCode::InvalidValue, "env", message, "rename it");
    }
    let size: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if env.len() > 100 || size > 32 << 10 || env.values().any(|value| value.contains('\0')) {
        let message = "`env` takes at most 100 names and 32 KiB together";
        return problem(ErrorCode::InvalidValue, "env", message, "put larger things into the repository");
    }
    None
}

fn tags(tags: &[String]) -> Option<Detail> {
    let fits = |tag: &String| (1..=64).contains(&tag.chars().count()) && !tag.chars().any(char::is_control);
    if tags.len() <= 20 && tags.iter().all(fits) {
        return None;
    }
    problem(
        ErrorCode::InvalidValue,
        "tags",
        "`tags` takes at most 20 words of 1 to 64 characters",
        "send fewer or shorter ones",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(detail: Option<Detail>) -> String {
        detail.map_or_else(|| "ok".to_owned(), |detail| detail.code)
    }

    #[test]
    fn repository_urls_are_told_apart_by_what_is_wrong_with_them() {
        for (url, expected) in [
            ("https://github.com/user/my-app", "ok"),
            ("https://github.com/user/my-app.git", "ok"),
            ("ssh://git@github.com/user/my-app", "ok"),
            ("git@github.com:user/my-app", "INVALID_REPO_URL"),
            ("my-app", "INVALID_REPO_URL"),
            ("", "INVALID_REPO_URL"),
            ("--upload-pack=touch /x", "INVALID_REPO_URL"),
            ("https://", "INVALID_REPO_URL"),
            ("ssh://-oProxyCommand=x/y", "INVALID_REPO_URL"),
            ("ext::sh -c x", "INVALID_REPO_URL"),
            ("ext::sh", "REPO_SCHEME_NOT_ALLOWED"),
            ("git://github.com/a/b", "REPO_SCHEME_NOT_ALLOWED"),
            ("file:///etc", "REPO_SCHEME_NOT_ALLOWED"),
            ("javascript:alert(1)", "REPO_SCHEME_NOT_ALLOWED"),
            ("https://user:pw@github.com/a/b", "REPO_URL_HAS_CREDENTIALS"),
            ("https://ghp_token@github.com/a/b", "REPO_URL_HAS_CREDENTIALS"),
            ("ssh://git:pw@github.com/a/b", "REPO_URL_HAS_CREDENTIALS"),
        ] {
            assert_eq!(code_of(repo_url(url, false)), expected, "{url}");
        }
        assert_eq!(code_of(repo_url("file:///srv/repo", true)), "ok");
        assert_eq!(code_of(repo_url("file://server/repo", true)), "INVALID_REPO_URL");
    }

    #[tokio::test]
    async fn private_addresses_are_refused_however_they_are_written() {
        for url in [
            "http://127.0.0.1/x",
            "http://127.1/x",
            "http://0x7f000001/x",
            "http://2130706433/x",
            "http://0/x",
            "http://10.0.0.1/x",
            "http://172.16.0.1/x",
            "http://192.168.1.1/x",
            "http://169.254.169.254/latest",
            "http://100.64.0.1/x",
            "http://[::1]/x",
            "http://[::ffff:127.0.0.1]/x",
            "http://[fe80::1]/x",
            "http://[fc00::1]/x",
            "http://[64:ff9b::7f00:1]/x",
            "http://[2002:7f00:1::]/x",
            "http://localhost/x",
            "http://LOCALHOST./x",
            "http://a.localhost/x",
            "http://ghost.railway.internal/x",
            "ssh://git@127.0.0.1/x",
            "ssh://git@0x7f.1/x",
        ] {
            assert_eq!(code_of(private_host(url).await), "REPO_HOST_NOT_ALLOWED", "{url}");
        }
        for url in ["http://8.8.8.8/x", "http://[2606:4700::1111]/x"] {
            assert_eq!(code_of(private_host(url).await), "ok", "{url}");
        }
    }

    #[test]
    fn branches_follow_gits_rules() {
        for good in ["main", "feature/login", "v1.2", "a-b_c", "users/ada/x"] {
            assert_eq!(code_of(branch("branch", good)), "ok", "{good}");
        }
        for bad in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "a b",
            "a~1",
            "a:b",
            "x.lock",
            "a/.b",
            "/a",
            "a/",
            "@",
            "a@{1}",
            "a\u{7}",
        ] {
            assert_eq!(code_of(branch("branch", bad)), "INVALID_BRANCH", "{bad}");
        }
    }

    #[test]
    fn directories_stay_inside() {
        for (path, expected) in [
            ("apps/web", "ok"),
            (".", "ok"),
            ("/etc", "INVALID_VALUE"),
            ("a/../b", "INVALID_VALUE"),
            ("", "INVALID_VALUE"),
        ] {
            assert_eq!(code_of(directory("rootDirectory", path)), expected, "{path}");
        }
    }
}
