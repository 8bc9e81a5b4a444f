//! Running the command, and the answers most scripts share.

use crate::server::{Reply, Seen, Server};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Stdio};
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

pub const PROJECT: &str = "proj_01h455vb4pex5vsknk084sn02q";
pub const DEPLOYMENT: &str = "dpl_01h455vb4pex5vsknk084sn02q";
pub const DOMAIN: &str = "dom_01h455vb4pex5vsknk084sn02q";
pub const BUILD: &str = "bld_01h455vb4pex5vsknk084sn02q";
/// So long ago that an age has the same width for decades.
const AT: &str = "2000-01-01T00:00:00.000Z";

/// A user's machine: a home with nothing in it.
pub struct Ogel {
    pub home: TempDir,
    api_url: Option<String>,
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// stdout, which must be one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Ogel {
    /// Logged in to nothing.
    pub fn new() -> Self {
        Self { home: TempDir::new().unwrap(), api_url: None }
    }

    /// `OGEL_API_URL` and `OGEL_TOKEN` are set.
    pub fn at(server: &Server) -> Self {
        Self { api_url: Some(server.url.clone()), ..Self::new() }
    }

    pub fn config(&self) -> PathBuf {
        self.home.path().join(".config/ogel/config.toml")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ogel"));
        for variable in ["OGEL_API_URL", "OGEL_TOKEN", "OGEL_CONFIG_DIR", "XDG_CONFIG_HOME"] {
            command.env_remove(variable);
        }
        // The browser and the keyring of whoever runs the tests are theirs.
        command.env("CI", "true").env("OGEL_TOKEN_STORE", "file");
        if let Some(url) = &self.api_url {
            command.env("OGEL_API_URL", url).env("OGEL_TOKEN", "ogel_env");
        }
        command.env("HOME", self.home.path()).current_dir(self.home.path());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub async fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args).spawn().unwrap()).await
    }

    pub async fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        ran(child).await
    }
}

pub async fn ran(child: Child) -> Ran {
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub fn project(slug: &str) -> Value {
    json!({"id": PROJECT, "organizationId": "org_01h455vb4pex5vsknk084sn02q", "name": "Shop", "slug": slug,
           "createdAt": AT, "updatedAt": AT})
}

pub fn deployment(status: &str) -> Value {
    let is_over = !matches!(status, "pending" | "building");
    json!({
        "id": DEPLOYMENT, "projectId": PROJECT, "buildId": BUILD, "status": status, "repoUrl": "https://h.org/a/shop",
        "branch": "main", "commitSha": "abcdef1234567890", "commitMessage": "First", "framework": "vite",
        "previewUrl": "http://shop.localhost:8787/", "createdBy": null, "tags": [], "createdAt": AT,
        "active": false, "promotedAt": null,
        "error": (status == "failed").then_some("`npm run build` ended with 2\nmissing script: build"),
        "completedAt": is_over.then_some(AT),
    })
}

pub fn domain(status: &str) -> Value {
    let record = json!({"type": "A", "name": "shop.test", "value": "192.0.2.1"});
    json!({
        "id": DOMAIN, "projectId": PROJECT, "domain": "shop.test", "siteId": null, "status": status,
        "expected": [record], "observed": [], "checkedAt": null, "createdAt": AT, "updatedAt": AT,
    })
}

pub fn site() -> Value {
    json!({
        "id": "site_01h455vb4pex5vsknk084sn02q", "projectId": PROJECT, "name": "Web", "framework": "vite",
        "repoUrl": null, "productionBranch": null, "rootDirectory": null, "installCommand": null, "buildCommand": null,
        "outputDirectory": null, "createdAt": AT, "updatedAt": AT,
    })
}

pub fn page(name: &str, rows: &[Value]) -> Value {
    json!({name: rows, "pagination": {"nextCursor": null, "hasMore": false}})
}

pub fn session() -> Value {
    json!({
        "user": {"id": "usr_01h455vb4pex5vsknk084sn02q", "email": "ada@example.com", "name": "Ada", "createdAt": AT,
                 "updatedAt": AT},
        "method": "apiKey", "scopes": ["users:read", "deployments:write"], "organizations": [], "sessionId": null, "sessionKind": null,
        "apiKeyId": "key_01h455vb4pex5vsknk084sn02q", "expiresAt": null,
    })
}

/// What a healthy server answers: one project, a deployment that has `status` when asked for, no log.
pub fn healthy(seen: &Seen, status: &str) -> Reply {
    match seen.operation().as_str() {
        "GET projects" => Reply::Json(200, page("projects", &[project("shop")])),
        "GET projects/shop" => Reply::Json(200, project("shop")),
        "POST deployments" => Reply::Json(201, deployment("pending")),
        "GET deployments" => Reply::Json(200, page("deployments", &[deployment(status)])),
        "GET auth/session" => Reply::Json(200, session()),
        operation if operation == format!("GET deployments/{DEPLOYMENT}") => Reply::Json(200, deployment(status)),
        operation if operation == format!("POST deployments/{DEPLOYMENT}/cancel") => {
            Reply::Json(200, deployment("canceled"))
        }
        operation if operation == format!("POST deployments/{DEPLOYMENT}/redeploy") => {
            Reply::Json(201, deployment("pending"))
        }
        operation if operation == format!("POST deployments/{DEPLOYMENT}/promote") => {
            Reply::Json(200, deployment("success"))
        }
        operation if operation == format!("POST deployments/{DEPLOYMENT}/rollback") => {
            Reply::Json(200, deployment("success"))
        }
        "GET domains" => Reply::Json(200, page("domains", &[domain("pending")])),
        "POST domains" => Reply::Json(201, domain("pending")),
        operation if operation == format!("POST domains/{DOMAIN}/verify") => Reply::Json(200, domain("verified")),
        operation if operation == format!("DELETE domains/{DOMAIN}") => Reply::Text(204, ""),
        "GET sites" => Reply::Json(200, page("sites", &[site()])),
        operation if operation == format!("GET builds/{BUILD}/logs") => Reply::Json(200, page("lines", &[])),
        _ => Reply::Error(404, "ROUTE_NOT_FOUND", 0),
    }
}

/// The stream's path, asked for as a stream.
pub fn is_stream(seen: &Seen) -> bool {
    seen.path.ends_with("/logs") && seen.header("upgrade").is_some()
}
