//! The end of a build: find the output directory, check that it stays inside the clone, move it to where previews are
//! served from. Refuses an output that is missing, empty of files, or larger than a sane site. Next: `preview.rs`.

use std::path::{Path, PathBuf};

use crate::detect::Plan;
use crate::pipeline::inside;
use crate::state::App;

const MAX_FILES: usize = 200_000;

/// What was published.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) directory: String,
    pub(crate) files: usize,
    /// Exactly one page, at the top, and no 404 page: a single-page application.
    pub(crate) single_html: bool,
}

/// Moves the output of the build in `project` to the deployment's place. Errors are fit for the deployment's `error`.
pub(crate) async fn publish(
    app: &App,
    source: &Path,
    project: &Path,
    plan: &Plan,
    deployment_id: &str,
) -> Result<Published, String> {
    let target = app.output_dir(deployment_id);
    let (source, project) = (source.to_path_buf(), project.to_path_buf());
    let (outputs, hint) = (plan.outputs.clone(), plan.hint);
    let work = tokio::task::spawn_blocking(move || move_output(&source, &project, &outputs, hint, &target));
    work.await.map_err(|_| "the output could not be published".to_owned())?
}

fn move_output(
    source: &Path,
    project: &Path,
    outputs: &[String],
    hint: &str,
    target: &Path,
) -> Result<Published, String> {
    // A page is what makes a directory the output; any directory with files will do if none has one.
    let found = |output: &&String| project.join(output).join("index.html").is_file();
    let any = |output: &&String| outputs.len() == 1 || (output.as_str() != "." && project.join(output).is_dir());
    let Some(directory) = outputs.iter().find(found).or_else(|| outputs.iter().find(any)) else {
        let names = outputs.iter().map(|output| format!("`{output}`")).collect::<Vec<_>>().join(", ");
        return Err(format!("the build made no output: none of {names} exists{hint}; set outputDirectory"));
    };
    let from = inside(project, directory)
        .map_err(|reason| format!("the build made no output: outputDirectory {reason}{hint}"))?;
    let source = source.canonicalize().map_err(|error| format!("the clone cannot be read: {error}"))?;
    if !from.starts_with(&source) {
        return Err(format!("outputDirectory `{directory}` leads out of the repository"));
    }
    // History and packages are not part of a site.
    for private in [".git", "node_modules"] {
        let path = from.join(private);
        if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            std::fs::remove_dir_all(&path).map_err(|error| format!("`{private}` could not be left out: {error}"))?;
        }
    }
    let (files, pages) = count(&from)?;
    if files == 0 {
        return Err(format!("the build made no output: `{directory}` has no files{hint}"));
    }
    let single_html = pages == 1 && from.join("index.html").is_file();
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent).map_err(|error| format!("the output could not be kept: {error}"))?;
    }
    // Left by a crash between a deletion and the removal of its files.
    if target.exists() {
        std::fs::remove_dir_all(target).map_err(|error| format!("the output could not be kept: {error}"))?;
    }
    std::fs::rename(&from, target).map_err(|error| format!("the output could not be kept: {error}"))?;
    Ok(Published { directory: directory.clone(), files, single_html })
}

/// Files and HTML pages below `root`, symlinks not followed.
fn count(root: &Path) -> Result<(usize, usize), String> {
    let (mut files, mut pages) = (0, 0);
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        let entries = std::fs::read_dir(&dir).map_err(|error| format!("the output cannot be read: {error}"))?;
        for entry in entries {
            let entry = entry.map_err(|error| format!("the output cannot be read: {error}"))?;
            let kind = entry.file_type().map_err(|error| format!("the output cannot be read: {error}"))?;
            if kind.is_dir() {
                open.push(entry.path());
                continue;
            }
            files += 1;
            pages += usize::from(entry.path().extension().is_some_and(|extension| extension == "html"));
            if files > MAX_FILES {
                return Err(format!("the output has more than {MAX_FILES} files"));
            }
        }
    }
    Ok((files, pages))
}

/// Removes a directory and what is in it; it may be gone already.
pub(crate) async fn remove_dir(path: PathBuf) {
    match tokio::fs::remove_dir_all(&path).await {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, path = %path.display(), "a directory could not be removed"),
    }
}
