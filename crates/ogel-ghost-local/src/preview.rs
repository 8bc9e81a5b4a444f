//! Serves what builds made: `d-<id>.localhost` is one deployment, `p-<project>.localhost` and every verified domain are
//! the project's active one. `/about` finds `about`, `about.html`, then `about/index.html` (after a redirect to
//! `about/`, so that relative links work). What is not there is `404.html` with status 404; only a single-page build
//! (one page, no `404.html`, a framework such as Vite) answers unknown paths without an extension with its page.
//! Refuses `..`, dot files (but `.well-known`), symlinks that lead out of the output, directory listings, and every
//! method but GET and HEAD. Files are streamed. Next: `publish.rs`, which puts the files here.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, IF_NONE_MATCH, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use crate::state::App;

const CHUNK_BYTES: usize = 64 << 10;

pub(crate) fn site(app: Arc<App>) -> Router {
    Router::new().fallback(serve).with_state(app)
}

/// What a host name stands for.
#[derive(sqlx::FromRow)]
struct Served {
    id: String,
    spa: bool,
}

async fn serve(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, HEAD")], "method not allowed\n").into_response();
    }
    let host = request.uri().host().or_else(|| request.headers().get(HOST)?.to_str().ok()).unwrap_or_default();
    let served = match find(&app, host).await {
        Ok(Some(served)) => served,
        Ok(None) => return plain(StatusCode::NOT_FOUND, "nothing is deployed at this address\n"),
        Err(error) => {
            tracing::error!(%error, "a preview could not be looked up");
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "the preview could not be looked up\n");
        }
    };
    let root = app.output_dir(&served.id);
    let Some(path) = safe_path(request.uri().path()) else { return plain(StatusCode::NOT_FOUND, "not found\n") };
    let wanted = request.uri().path();
    let found = {
        let (root, wanted_dir, spa) = (root.clone(), wanted.ends_with('/'), served.spa);
        tokio::task::spawn_blocking(move || resolve(&root, &path, wanted_dir, spa)).await
    };
    match found {
        Ok(Found::File(file, status)) => send(&served.id, &file, status, request.method(), request.headers()).await,
        Ok(Found::Directory) => {
            // Only the path is given back, and never one that starts with two slashes: those would name a host.
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            let target = format!("/{}/{query}", wanted.trim_matches('/'));
            (StatusCode::PERMANENT_REDIRECT, [(LOCATION, target)]).into_response()
        }
        Ok(Found::Nothing) | Err(_) => plain(StatusCode::NOT_FOUND, "not found\n"),
    }
}

async fn find(app: &App, host: &str) -> Result<Option<Served>, sqlx::Error> {
    let host = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|c| c.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let label =
        host.strip_suffix(".localhost").or_else(|| host.strip_suffix(app.preview.host.as_str())?.strip_suffix('.'));
    if let Some(id) = label.and_then(|label| label.strip_prefix("d-")) {
        return sqlx::query_as("SELECT id, spa FROM deployments WHERE id = $1 AND status = 'success'")
            .bind(id)
            .fetch_optional(&app.db)
            .await;
    }
    if let Some(project_id) = label.and_then(|label| label.strip_prefix("p-")) {
        return sqlx::query_as(
            "SELECT d.id, d.spa FROM projects p JOIN deployments d ON d.id = p.active_deployment_id WHERE p.id = $1",
        )
        .bind(project_id)
        .fetch_optional(&app.db)
        .await;
    }
    sqlx::query_as(
        "SELECT d.id, d.spa FROM domains x JOIN projects p ON p.id = x.project_id \
         JOIN deployments d ON d.id = p.active_deployment_id WHERE x.domain = $1 AND x.status = 'verified'",
    )
    .bind(host)
    .fetch_optional(&app.db)
    .await
}

/// The path below the output, or nothing if it tries to be anywhere else.
fn safe_path(raw: &str) -> Option<PathBuf> {
    let decoded = percent_decode_str(raw).decode_utf8().ok()?;
    let mut path = PathBuf::new();
    for part in decoded.split('/').filter(|part| !part.is_empty()) {
        let hidden = part.starts_with('.') && part != ".well-known";
        if hidden || part.contains(['\\', '\0']) {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

#[derive(Debug, PartialEq)]
enum Found {
    File(PathBuf, StatusCode),
    Directory,
    Nothing,
}

fn resolve(root: &Path, path: &Path, wanted_dir: bool, spa: bool) -> Found {
    let Ok(root) = root.canonicalize() else { return Found::Nothing };
    // After every symlink is followed, the file must still be below the output.
    let file = |path: PathBuf| {
        let path = path.canonicalize().ok()?;
        (path.starts_with(&root) && path.is_file()).then_some(path)
    };
    let full = root.join(path);
    let index = file(full.join("index.html"));
    if wanted_dir || path.as_os_str().is_empty() {
        if let Some(index) = index {
            return Found::File(index, StatusCode::OK);
        }
    } else {
        let mut html = full.clone().into_os_string();
        html.push(".html");
        if let Some(found) = file(full.clone()).or_else(|| file(html.into())) {
            return Found::File(found, StatusCode::OK);
        }
        if index.is_some() {
            return Found::Directory;
        }
    }
    if let Some(page) = file(root.join("404.html")) {
        return Found::File(page, StatusCode::NOT_FOUND);
    }
    let is_asset = path.file_name().is_some_and(|name| name.to_string_lossy().contains('.'));
    match file(root.join("index.html")) {
        Some(page) if spa && !is_asset => Found::File(page, StatusCode::OK),
        _ => Found::Nothing,
    }
}

async fn send(id: &str, path: &Path, status: StatusCode, method: &Method, headers: &HeaderMap) -> Response {
    let opened = async {
        let file = File::open(path).await?;
        let meta = file.metadata().await?;
        io::Result::Ok((file, meta))
    };
    let (file, meta) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(%error, "a preview file could not be opened");
            return plain(StatusCode::NOT_FOUND, "not found\n");
        }
    };
    let modified = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let etag = format!("\"{id}-{:x}-{:x}\"", meta.len(), modified.as_nanos());
    let matches = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
    });
    let common = [(ETAG, etag), (CACHE_CONTROL, "public, max-age=0, must-revalidate".to_owned())];
    if status == StatusCode::OK && matches {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let described = [
        (CONTENT_TYPE, content_type(path).to_owned()),
        (CONTENT_LENGTH, meta.len().to_string()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    let body = if method == Method::HEAD { Body::empty() } else { Body::from_stream(chunks(file)) };
    (status, common, described, body).into_response()
}

fn chunks(file: File) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    futures_util::stream::try_unfold(file, |mut file| async move {
        let mut buffer = bytes::BytesMut::with_capacity(CHUNK_BYTES);
        let read = file.read_buf(&mut buffer).await?;
        Ok((read > 0).then(|| (buffer.freeze(), file)))
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, text).into_response()
}

fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" | "cjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_climb_or_hide_are_refused() {
        for bad in ["/../x", "/%2e%2e/x", "/a/..%2f..%2fx", "/.env", "/a\\b", "/%00", "/.git/config", "/%ff"] {
            assert_eq!(safe_path(bad), None, "{bad}");
        }
        assert_eq!(safe_path("/.well-known//x%20y"), Some(PathBuf::from(".well-known/x y")));
    }
}
