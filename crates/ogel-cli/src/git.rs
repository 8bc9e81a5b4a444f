//! What there is to deploy in a local folder, asked from the system's `git`.

use crate::{
    Result,
    failure::{Exit, Failure},
};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use url::Url;

/// The last commit of a branch in a repository on this machine.
#[derive(Debug)]
pub(crate) struct Checkout {
    /// What git clones from: the folder with the `.git`, or a bare repository.
    pub(crate) toplevel: PathBuf,
    /// The asked-for folder, seen from there, `/` between its parts; `None` for the toplevel itself.
    pub(crate) subfolder: Option<String>,
    /// `None` when HEAD names a commit instead of a branch.
    pub(crate) branch: Option<String>,
    /// All 40 (or 64) digits.
    pub(crate) commit: String,
    /// Files that differ from the commit, or are not in it.
    pub(crate) n_changes: usize,
}

impl Checkout {
    /// Looks at `path`, and at `branch` instead of the one checked out if given.
    /// Fails with the next step if it is no repository, or has no commit or no such branch.
    pub(crate) fn at(path: &Path, branch: Option<&str>) -> Result<Self> {
        if !path.is_dir() {
            let what = if path.exists() { "is not a folder" } else { "does not exist" };
            return Err(Failure::usage(format!("`{}` {what}", path.display()))
                .hint("name a folder of a git repository, or a URL such as `https://github.com/owner/repository`"));
        }
        let is_bare = text(path, &["rev-parse", "--is-bare-repository"], no_repository)? == "true";
        let place = if is_bare { "--absolute-git-dir" } else { "--show-toplevel" };
        let toplevel = PathBuf::from(text(path, &["rev-parse", place], no_repository)?);
        let prefix = text(path, &["rev-parse", "--show-prefix"], no_repository)?;
        let subfolder = Some(prefix.trim_end_matches('/').to_owned()).filter(|prefix| !prefix.is_empty());

        let current = optional(path, &["symbolic-ref", "--quiet", "--short", "HEAD"])?;
        let commit = match branch {
            Some(branch) => commit_of(path, branch)?,
            None => text(path, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], no_commit)?,
        };
        let is_current = branch.is_none_or(|branch| Some(branch) == current.as_deref());
        let n_changes = if is_bare || !is_current {
            0
        } else {
            text(path, &["status", "--porcelain"], |_, said| unexpected(said))?.lines().count()
        };
        Ok(Self { toplevel, subfolder, branch: branch.map(str::to_owned).or(current), commit, n_changes })
    }

    /// `file://…`
    pub(crate) fn url(&self) -> Result<String> {
        Url::from_file_path(&self.toplevel)
            .map(String::from)
            .map_err(|()| Failure::usage(format!("`{}` cannot be written as a URL", self.toplevel.display())))
    }

    /// Where it came from, for the hint that the server cannot read this machine.
    pub(crate) fn origin(&self) -> Option<String> {
        optional(&self.toplevel, &["remote", "get-url", "origin"]).ok().flatten()
    }
}

/// The commit of a branch or tag that a clone of this repository would find.
fn commit_of(path: &Path, branch: &str) -> Result<String> {
    for kind in ["heads", "tags"] {
        let name = format!("refs/{kind}/{branch}^{{commit}}");
        if let Some(commit) = optional(path, &["rev-parse", "--verify", "--quiet", &name])? {
            return Ok(commit);
        }
    }
    let remote = format!("refs/remotes/origin/{branch}^{{commit}}");
    let failure = Failure::usage(format!("this repository has no branch `{branch}`"));
    if optional(path, &["rev-parse", "--verify", "--quiet", &remote])?.is_some() {
        return Err(failure.hint(format!("origin has it: run `git branch {branch} origin/{branch}`")));
    }
    let known = optional(path, &["for-each-ref", "--format=%(refname:short)", "--count=10", "refs/heads"])?;
    Err(match known.filter(|known| !known.is_empty()) {
        Some(known) => failure.hint(format!("it has: {}", known.lines().collect::<Vec<_>>().join(", "))),
        None => failure,
    })
}

/// What git prints, without the last line end; `explain` makes a failure of what it says when it does not succeed.
fn text(path: &Path, args: &[&str], explain: impl Fn(&Path, &str) -> Failure) -> Result<String> {
    let output = git(path, args)?;
    if !output.status.success() {
        return Err(explain(path, String::from_utf8_lossy(&output.stderr).trim()));
    }
    printed(path, output)
}

/// The same for questions whose answer may be no.
fn optional(path: &Path, args: &[&str]) -> Result<Option<String>> {
    let output = git(path, args)?;
    if output.status.success() { printed(path, output).map(Some) } else { Ok(None) }
}

fn printed(path: &Path, output: Output) -> Result<String> {
    let mut text = String::from_utf8(output.stdout)
        .map_err(|_| Failure::usage(format!("the path of `{}` is not UTF-8, which no URL can say", path.display())))?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}

fn git(path: &Path, args: &[&str]) -> Result<Output> {
    let mut command = Command::new("git");
    // Set inside hooks, where they would make git look at another repository than the one named.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"] {
        command.env_remove(variable);
    }
    // Its messages are compared below. Reading the status must not take a lock from an editor's git.
    command.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
    command.arg("-C").arg(path).args(args).stdin(Stdio::null());
    command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            Failure::new(Exit::Failed, "GIT_MISSING", "`git` is not installed").hint("install it, or deploy a URL")
        }
        _ => unexpected(&error.to_string()),
    })
}

fn no_repository(path: &Path, said: &str) -> Failure {
    if !said.contains("not a git repository") {
        return unexpected(said);
    }
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let failure =
        Failure::new(Exit::Usage, "NOT_A_REPOSITORY", format!("`{}` is not a git repository", path.display()));
    failure
        .hint("run `git init && git add -A && git commit -m \"First commit\"` in it, or name another folder or a URL")
}

fn no_commit(_: &Path, _: &str) -> Failure {
    Failure::new(Exit::Usage, "NO_COMMIT", "the repository has no commit yet, so there is nothing to deploy")
        .hint("run `git add -A && git commit -m \"First commit\"`")
}

fn unexpected(said: &str) -> Failure {
    Failure::new(Exit::Failed, "GIT", format!("git failed: {}", said.lines().next().unwrap_or("it did not say why")))
}
