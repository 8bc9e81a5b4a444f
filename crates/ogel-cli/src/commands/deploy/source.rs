//! What is deployed: a folder of this machine, as the `file://` URL of its repository, or a URL as it is.

use crate::{Context, Result, args::DeployArgs, commands::deployments::short, failure::Failure, git::Checkout};
use std::path::Path;
use url::Url;

pub(crate) struct Source {
    pub(crate) repo_url: String,
    pub(crate) branch: Option<String>,
    /// Sent when there is no branch to name.
    pub(crate) commit_sha: Option<String>,
    pub(crate) root_directory: Option<String>,
    pub(crate) is_local: bool,
    /// Where a local repository came from.
    pub(crate) origin: Option<String>,
    name: String,
    /// The commit as far as it is known here.
    commit: Option<String>,
}

impl Source {
    /// Looks at the folder, if it is one, and warns of changes that stay behind.
    pub(crate) fn find(context: &Context, args: &DeployArgs) -> Result<Self> {
        if args.source.contains("://") {
            return Ok(Self::remote(args));
        }
        if !Path::new(&args.source).exists()
            && let Some(url) = from_scp_form(&args.source)
        {
            return Err(Failure::usage(format!("`{}` is not a URL", args.source)).hint(format!("write it as `{url}`")));
        }
        let checkout = Checkout::at(Path::new(&args.source), args.branch.as_deref())?;
        if checkout.n_changes > 0 {
            let changes = if checkout.n_changes == 1 { "change is" } else { "changes are" };
            context.output.warn(&format!(
                "{} uncommitted {changes} left out: the last commit ({}) is what is deployed",
                checkout.n_changes,
                short(Some(&checkout.commit))
            ));
        }
        Self::local(args, checkout)
    }

    fn remote(args: &DeployArgs) -> Self {
        let path = Url::parse(&args.source).map_or_else(|_| args.source.clone(), |url| url.path().to_owned());
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(&path);
        Self {
            repo_url: args.source.clone(),
            branch: args.branch.clone(),
            commit_sha: None,
            root_directory: args.root_directory.clone(),
            is_local: false,
            origin: None,
            name: name.trim_end_matches(".git").to_owned(),
            commit: None,
        }
    }

    fn local(args: &DeployArgs, checkout: Checkout) -> Result<Self> {
        let folder = checkout.toplevel.file_name().unwrap_or(checkout.toplevel.as_os_str());
        let name = folder.to_string_lossy().trim_end_matches(".git").to_owned();
        let root_directory = match (&checkout.subfolder, &args.root_directory) {
            (Some(subfolder), Some(below)) => Some(format!("{subfolder}/{}", below.trim_start_matches("./"))),
            (subfolder, below) => subfolder.as_ref().or(below.as_ref()).cloned(),
        };
        Ok(Self {
            repo_url: checkout.url()?,
            commit_sha: checkout.branch.is_none().then(|| checkout.commit.clone()),
            origin: checkout.origin(),
            branch: checkout.branch,
            root_directory,
            is_local: true,
            name,
            commit: Some(checkout.commit),
        })
    }

    /// `shop main@abc1234`
    pub(crate) fn label(&self) -> String {
        let mut label = self.name.clone();
        if let Some(folder) = self.root_directory.as_deref().filter(|_| self.is_local) {
            label = format!("{label}/{folder}");
        }
        match (&self.branch, &self.commit) {
            (Some(branch), Some(commit)) => format!("{label} {branch}@{}", short(Some(commit))),
            (None, Some(commit)) => format!("{label} @{}", short(Some(commit))),
            (Some(branch), None) => format!("{label} {branch}"),
            (None, None) => label,
        }
    }
}

/// `git@host:owner/repository`, which git takes and URLs do not.
fn from_scp_form(text: &str) -> Option<String> {
    let (host, path) = text.split_once(':')?;
    let is_host = !host.is_empty() && !host.contains(['/', '\\', ' ']) && host.contains(['@', '.']);
    (is_host && !path.is_empty()).then(|| format!("ssh://{host}/{}", path.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_scp_is_recognised() {
        assert_eq!(from_scp_form("git@h.org:a/b.git").as_deref(), Some("ssh://git@h.org/a/b.git"));
        for other in ["folder", "./a:b", "C:\\x", "git@h:"] {
            assert_eq!(from_scp_form(other), None, "{other}");
        }
    }
}
