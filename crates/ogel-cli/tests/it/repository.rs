//! Real git repositories in temporary folders.

use std::{path::Path, process::Command};
use tempfile::TempDir;

pub fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false", "-C"])
        .arg(folder)
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A folder `my shop` with one commit on `main`: `index.html` and `web/page.html`.
pub fn repository() -> (TempDir, std::path::PathBuf) {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().canonicalize().unwrap().join("my shop");
    std::fs::create_dir_all(folder.join("web")).unwrap();
    git(&folder, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(folder.join("index.html"), "hi").unwrap();
    std::fs::write(folder.join("web/page.html"), "hi").unwrap();
    git(&folder, &["add", "--all"]);
    git(&folder, &["commit", "--quiet", "--message=First"]);
    (parent, folder)
}
