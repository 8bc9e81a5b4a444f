//! The harness: a Ghost in a directory of its own, repositories made on the spot, and waiting with a deadline.

use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use http::{Method, StatusCode};
use ogel_ghost_local::{Config, LocalGhost};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

pub(crate) const KEY: &str = "platform-key-of-the-tests";
pub(crate) const PATIENCE: Duration = Duration::from_secs(50);

/// A git repository in a directory that goes away with it.
pub(crate) struct Repo {
    dir: TempDir,
}

impl Repo {
    pub(crate) fn new(files: &[(&str, &str)]) -> Repo {
        let repo = Repo { dir: tempfile::tempdir().unwrap() };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo.commit("first", files);
        repo
    }

    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.test"]).args(args);
        let output = command.current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.dir.path().display())
    }
}

pub(crate) struct Ghost {
    pub(crate) inner: LocalGhost,
    pub(crate) http: reqwest::Client,
}

pub(crate) fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir, KEY);
    config.allow_file_urls = true;
    config.allow_private_hosts = true;
    config.inherit_env = std::env::vars_os().collect();
    config
}

pub(crate) fn http() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    let none = reqwest::redirect::Policy::none();
    reqwest::Client::builder().timeout(PATIENCE).redirect(none).no_proxy().build().unwrap()
}

/// A Ghost with the usual settings and the project `shop`, in a directory of its own.
pub(crate) async fn ghost() -> (Ghost, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let ghost = ghost_with(config(dir.path())).await;
    ghost.make_project("shop").await;
    (ghost, dir)
}

pub(crate) async fn ghost_with(config: Config) -> Ghost {
    Ghost { inner: LocalGhost::start(config).await.unwrap(), http: http() }
}

impl Ghost {
    /// A call with the platform's key.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        self.call_as(&[("x-appwrite-key", KEY), ("x-appwrite-project", "console")], method, path, body).await
    }

    pub(crate) async fn call_as(
        &self,
        headers: &[(&str, &str)],
        method: Method,
        path: &str,
        body: Value,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.inner.api_url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(crate) async fn make_project(&self, id: &str) {
        let body = json!({ "projectId": id, "name": id, "region": "default" });
        let (status, body) = self.call(Method::POST, "/v1/projects", body).await;
        assert_eq!(status, 201, "{body}");
    }

    /// Creates a deployment in `shop` and answers it.
    pub(crate) async fn deploy(&self, id: &str, repo: &Repo, extra: Value) -> Value {
        let mut body = json!({ "deploymentId": id, "repoUrl": repo.url(), "branch": "main" });
        body.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap_or_default());
        let (status, body) = self.call(Method::POST, "/v1/projects/shop/deployments", body).await;
        assert_eq!(status, 202, "{body}");
        assert_eq!(body["status"], "pending");
        body
    }

    pub(crate) async fn deployment(&self, id: &str) -> Value {
        self.get(&format!("/v1/projects/shop/deployments/{id}")).await
    }

    /// Waits until the deployment has one of the statuses.
    pub(crate) async fn wait(&self, id: &str, statuses: &[&str]) -> Value {
        until(&format!("{id} to be {statuses:?}"), || async {
            let deployment = self.deployment(id).await;
            statuses.contains(&deployment["status"].as_str().unwrap()).then_some(deployment)
        })
        .await
    }

    pub(crate) async fn finished(&self, id: &str) -> Value {
        self.wait(id, &["success", "failed", "canceled"]).await
    }

    pub(crate) async fn succeeded(&self, id: &str) -> Value {
        let deployment = self.finished(id).await;
        assert_eq!(deployment["status"], "success", "{deployment}\n{:#?}", self.lines(&deployment).await);
        deployment
    }

    /// The whole log of a deployment's build, as (stream, text).
    pub(crate) async fn lines(&self, deployment: &Value) -> Vec<(String, String)> {
        let page = self.get(&format!("/v1/builds/{}/logs?limit=10000", deployment["buildId"].as_str().unwrap())).await;
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        page["lines"].as_array().unwrap().iter().map(|line| (text(line, "stream"), text(line, "text"))).collect()
    }

    /// One request to the preview server, path sent as it is. Answers status line and headers in lower case, and the body.
    pub(crate) async fn preview(&self, host: &str, path: &str, headers: &str) -> (u16, String, String) {
        self.preview_by("GET", host, path, headers).await
    }

    pub(crate) async fn preview_by(
        &self,
        method: &str,
        host: &str,
        path: &str,
        headers: &str,
    ) -> (u16, String, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(self.inner.preview_addr()).await.unwrap();
        let port = self.inner.preview_addr().port();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    pub(crate) async fn realtime(&self, headers: &[(&'static str, &str)]) -> Socket {
        let address = self.inner.api_addr();
        let mut request = format!("ws://{address}/v1/realtime").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let mut socket = Socket(socket);
        assert_eq!(socket.frame().await.unwrap()["type"], "connected");
        socket
    }

    pub(crate) async fn subscribed(&self, channels: &[&str]) -> Socket {
        let mut socket = self.realtime(&[("x-appwrite-key", KEY), ("x-appwrite-project", "console")]).await;
        socket.send(json!({ "type": "subscribe", "channels": channels })).await;
        let answer = socket.frame().await.unwrap();
        assert_eq!(answer["data"]["success"], true, "{answer}");
        socket
    }
}

pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next JSON frame, or `None` once the socket has ended.
    pub(crate) async fn frame(&mut self) -> Option<Value> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(text.as_str()).unwrap()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a frame in time")
    }
}

/// Polls until `look` finds something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Command lines of living processes that contain `marker`.
pub(crate) fn processes_with(marker: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(marker)).collect()
}
