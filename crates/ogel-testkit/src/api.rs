//! One caller of the API: a token, and requests that come back as status, headers and JSON.

use crate::eventually;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// Cheap to clone.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    /// `http://127.0.0.1:PORT/api/v2`
    pub base: String,
    pub token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `Null` when there was no body; text when it was no JSON.
    pub body: Value,
}

impl Answer {
    /// Fails the test unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// Fails the test unless it is our envelope with this status and code; answers with `error`.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Value {
        let error = self.body["error"].clone();
        assert_eq!((self.status.as_u16(), error["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert!(error["requestId"].as_str().unwrap().starts_with("req_"), "{error}");
        assert_eq!(error["requestId"].as_str(), self.headers["x-request-id"].to_str().ok());
        assert_eq!(error["traceId"].as_str().unwrap().len(), 32);
        assert!(error["retryable"].is_boolean() && error["message"].as_str().unwrap().len() > 5, "{error}");
        error
    }
}

impl Api {
    /// A caller of the server at `base`, which ends with `/api/v2`.
    pub fn new(base: String, token: Option<String>) -> Self {
        Self { client: crate::http_client(), base, token }
    }

    /// The same place with another credential.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// The same caller at another server.
    pub fn at(&self, base: String) -> Self {
        Self { base, ..self.clone() }
    }

    /// A request to be filled in by hand.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        Answer { status, headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    /// Makes a project in the caller's only organization; answers with its id.
    pub async fn project(&self, name: &str) -> String {
        let project = self.post("/projects", serde_json::json!({ "name": name })).await.expect(201);
        project["id"].as_str().unwrap().to_owned()
    }

    /// Deploys, with what `more` adds to the body.
    pub async fn deploy(&self, project: &str, repo_url: &str, more: Value) -> Value {
        self.ask_to_deploy(project, repo_url, more).await.expect(201)
    }

    /// The same where Ghost may have it only after the answer, such as with a second of patience on a busy machine.
    pub async fn deploy_in_time(&self, project: &str, repo_url: &str, more: Value) -> Value {
        let answer = self.ask_to_deploy(project, repo_url, more).await;
        assert!(matches!(answer.status.as_u16(), 201 | 202), "{} {}", answer.status, answer.body);
        assert_eq!(answer.body.get("operationId").is_some(), answer.status == 202, "only a 202 names one");
        answer.body
    }

    async fn ask_to_deploy(&self, project: &str, repo_url: &str, more: Value) -> Answer {
        let mut body = serde_json::json!({ "projectId": project, "repoUrl": repo_url });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.post("/deployments", body).await
    }

    /// The deployment once Ghost builds it.
    pub async fn building(&self, id: &Value) -> Value {
        self.once("the build runs", id, &["building"]).await
    }

    /// The deployment once it has ended.
    pub async fn ended(&self, id: &Value) -> Value {
        self.once("the deployment ends", id, &["success", "failed", "canceled"]).await
    }

    async fn once(&self, what: &str, id: &Value, statuses: &[&str]) -> Value {
        let id = id.as_str().unwrap();
        eventually(what, || async move {
            let deployment = self.get(&format!("/deployments/{id}")).await.expect(200);
            statuses.contains(&deployment["status"].as_str().unwrap_or_default()).then_some(deployment)
        })
        .await
    }
}
