//! The clone: system `git`, shallow, at a branch or a commit. Refuses prompts, the machine's git configuration, hooks,
//! transports that were not asked for, redirects to elsewhere, and (unless allowed) hosts that resolve to private
//! addresses. Next: `repo.rs` for what may be named, `exec.rs` for how it runs.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use url::Host;

use crate::exec::{self, Bounds, End};
use crate::pipeline::Failure;
use crate::repo::{RepoUrl, is_private};

const LOOKUP: Duration = Duration::from_secs(10);
const INSPECT: Duration = Duration::from_secs(30);

/// What was checked out.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) sha: String,
    pub(crate) author: String,
    pub(crate) message: String,
    /// None when a commit was asked for, not a branch.
    pub(crate) branch: Option<String>,
}

/// Clones `repo` into `into`. An empty branch, or `HEAD`, is the default branch.
pub(crate) async fn clone(
    bounds: &Bounds,
    repo: &RepoUrl,
    branch: &str,
    commit: Option<&str>,
    build_dir: &Path,
    into: &Path,
) -> Result<Commit, Failure> {
    let git = Git { bounds, repo, build_dir, env: env(bounds, build_dir), pin: pin(bounds, repo).await? };
    let url = repo.url().as_str();
    let target = into.as_os_str();
    match commit {
        None => {
            let mut args: Vec<&OsStr> =
                ["clone", "--quiet", "--depth=1", "--single-branch", "--no-tags"].map(OsStr::new).to_vec();
            let chosen = format!("--branch={branch}");
            if !is_default(branch) {
                args.push(chosen.as_ref());
            }
            args.extend([OsStr::new("--"), url.as_ref(), target]);
            let (end, tail) = git.run(&args, build_dir).await;
            if !succeeded(&end) {
                if tail.iter().any(|line| line.contains("Remote branch") && line.contains("not found")) {
                    return Err(Failure::Failed(format!("branch `{branch}` does not exist in the repository")));
                }
                return Err(git.failure("the repository could not be cloned", end, &tail));
            }
        }
        Some(sha) => {
            git.must("the clone could not be prepared", &["init", "--quiet", "--"].map(OsStr::new), Some(target))
                .await?;
            git.must_in("the clone could not be prepared", &["remote", "add", "--", "origin", url], into).await?;
            // Servers may refuse to give a single commit (and cannot know a shortened one): then everything is fetched.
            let full = sha.len() >= 40;
            let shallow = full
                && succeeded(
                    &git.run(&["fetch", "--depth=1", "--no-tags", "origin", sha].map(OsStr::new), into).await.0,
                );
            git.stopped()?;
            if !shallow {
                let all = ["fetch", "origin", "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
                git.must_in("the repository could not be fetched", &all, into).await?;
            }
            let (end, tail) = git.run(&["checkout", "--quiet", "--detach", sha].map(OsStr::new), into).await;
            match end {
                End::Exited(status) if status.success() => {}
                End::Exited(_) => {
                    return Err(Failure::Failed(format!("commit `{sha}` does not exist in the repository")));
                }
                end => return Err(git.failure("the commit could not be checked out", end, &tail)),
            }
        }
    }
    let commit = git.inspect(into).await?;
    // The address may carry a token, and the build can read the clone's configuration.
    git.must_in("the clone could not be prepared", &["remote", "remove", "origin"], into).await?;
    Ok(commit)
}

pub(crate) fn is_default(branch: &str) -> bool {
    branch.is_empty() || branch == "HEAD"
}

struct Git<'a> {
    bounds: &'a Bounds,
    repo: &'a RepoUrl,
    build_dir: &'a Path,
    env: Vec<(OsString, OsString)>,
    /// `host:port:address`: what was checked is what is connected to.
    pin: Option<String>,
}

impl Git<'_> {
    fn args<'b>(&self, args: &[&'b OsStr]) -> Vec<OsString>
    where
        Self: 'b,
    {
        let mut all: Vec<OsString> = [
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "credential.helper=",
            "-c",
            "advice.detachedHead=false",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "gc.auto=0",
            "-c",
            "http.lowSpeedLimit=1",
            "-c",
            "http.lowSpeedTime=60",
        ]
        .map(OsString::from)
        .to_vec();
        if !self.bounds.app.config.allow_private_hosts {
            all.extend(["-c", "http.followRedirects=false"].map(OsString::from));
        }
        if let Some(pin) = &self.pin {
            all.extend(["-c".into(), format!("http.curloptResolve={pin}").into()]);
        }
        all.extend(args.iter().map(OsString::from));
        all
    }

    async fn run(&self, args: &[&OsStr], cwd: &Path) -> (End, Vec<String>) {
        self.bounds.log.begin_command().await;
        let hide = self.repo.secrets();
        let end = exec::run(self.bounds, "git", &self.args(args), cwd, &self.env, &hide).await;
        (end, self.bounds.log.tail().await)
    }

    async fn must(&self, what: &str, args: &[&OsStr], last: Option<&OsStr>) -> Result<(), Failure> {
        let args: Vec<&OsStr> = args.iter().copied().chain(last).collect();
        let (end, tail) = self.run(&args, self.build_dir).await;
        if succeeded(&end) { Ok(()) } else { Err(self.failure(what, end, &tail)) }
    }

    async fn must_in(&self, what: &str, args: &[&str], cwd: &Path) -> Result<(), Failure> {
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        let (end, tail) = self.run(&args, cwd).await;
        if succeeded(&end) { Ok(()) } else { Err(self.failure(what, end, &tail)) }
    }

    fn stopped(&self) -> Result<(), Failure> {
        if self.bounds.stop.is_cancelled() { Err(Failure::Stopped) } else { Ok(()) }
    }

    fn failure(&self, what: &str, end: End, tail: &[String]) -> Failure {
        crate::pipeline::failure(self.bounds, what, "git", end, tail)
    }

    /// Reads the commit without a line in the log.
    async fn inspect(&self, clone: &Path) -> Result<Commit, Failure> {
        let mut command = Command::new("git");
        command.args(self.args(&["log", "-1", "--format=%H%x00%an%x00%s%x00%D"].map(OsStr::new)));
        command.current_dir(clone).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(INSPECT, command.output()).await;
        let text = match output {
            Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
            _ => return Err(Failure::Failed("the repository has no commits".to_owned())),
        };
        let mut fields = text.trim_end().splitn(4, '\0');
        let mut field = |max: usize| fields.next().unwrap_or_default().chars().take(max).collect::<String>();
        let (sha, author, message, names) = (field(64), field(200), field(500), field(2000));
        let branch = names.split(", ").find_map(|name| name.strip_prefix("HEAD -> ")).map(str::to_owned);
        Ok(Commit { sha, author, message, branch })
    }
}

fn succeeded(end: &End) -> bool {
    matches!(end, End::Exited(status) if status.success())
}

fn env(bounds: &Bounds, build_dir: &Path) -> Vec<(OsString, OsString)> {
    let mut env = exec::base_env(&bounds.app, build_dir);
    let protocols = if bounds.app.config.allow_file_urls { "https:http:ssh:git:file" } else { "https:http:ssh:git" };
    for (name, value) in [
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_SYSTEM", "/dev/null"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ALLOW_PROTOCOL", protocols),
        ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new -oConnectTimeout=20"),
        ("GIT_LFS_SKIP_SMUDGE", "1"),
        // Messages are matched, so they must be in one language.
        ("LC_ALL", "C"),
    ] {
        env.push((name.into(), value.into()));
    }
    env
}

/// Resolves the host once, refuses private addresses, and says where to connect, so that a name cannot change its mind
/// between the check and the clone.
async fn pin(bounds: &Bounds, repo: &RepoUrl) -> Result<Option<String>, Failure> {
    let app = &bounds.app;
    let Some(Host::Domain(host)) = repo.url().host() else { return Ok(None) };
    if app.config.allow_private_hosts || host.is_empty() {
        return Ok(None);
    }
    let port = repo.url().port_or_known_default().unwrap_or(match repo.url().scheme() {
        "ssh" => 22,
        _ => 9418,
    });
    let proxied = app.config.inherit_env.iter().any(|(name, value)| {
        !value.is_empty()
            && name.to_str().is_some_and(|name| {
                matches!(name.to_ascii_lowercase().as_str(), "https_proxy" | "http_proxy" | "all_proxy")
            })
    });
    let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<IpAddr> = match found {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        // Behind a proxy the names of the outside may be unknown here; the proxy decides then.
        _ if proxied => return Ok(None),
        _ => return Err(Failure::Failed(format!("the host `{host}` of the repository could not be found"))),
    };
    if addresses.iter().any(|address| is_private(*address)) {
        return Err(Failure::Failed(format!(
            "the host `{host}` of the repository is on a private address, which is not allowed"
        )));
    }
    let http = matches!(repo.url().scheme(), "http" | "https");
    Ok(addresses.first().filter(|_| http).map(|address| match address {
        IpAddr::V4(address) => format!("{host}:{port}:{address}"),
        IpAddr::V6(address) => format!("{host}:{port}:[{address}]"),
    }))
}
