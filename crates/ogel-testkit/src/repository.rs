//! A git repository made of a few files, to be deployed by its `file://` URL.

use std::{path::Path, process::Command};
use tempfile::TempDir;

/// Removed when dropped.
pub struct Repository {
    folder: TempDir,
}

impl Repository {
    /// One commit on `main` with these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit(files, "First commit");
        repository
    }

    /// A page without a build.
    pub fn of_a_page(html: &str) -> Self {
        Self::new(&[("index.html", html)])
    }

    /// Adds files and commits them; answers with the commit's hash.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (name, text) in files {
            let path = self.folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self) -> String {
        url::Url::from_directory_path(self.folder.path()).unwrap().as_str().trim_end_matches('/').to_owned()
    }
}
