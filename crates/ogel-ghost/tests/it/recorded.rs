//! Answers recorded from a real server, read by the client.

use crate::{
    ctx, ghost,
    scripted::{Reply, Scripted},
};
use ogel_api::error::ErrorCode;
use serde_json::Value;

struct Recorded(Vec<Value>);

impl Recorded {
    fn load() -> Self {
        Self(serde_json::from_str(include_str!("../fixtures/recorded-answers.json")).unwrap())
    }

    /// A Ghost that gives this recorded answer to everything.
    fn replay(&self, name: &str) -> Scripted {
        let found = self.0.iter().find(|recorded| recorded["name"] == name);
        let recorded = found.unwrap_or_else(|| panic!("`{name}` is not recorded"));
        let body = match &recorded["body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let mut text = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", recorded["status"], body.len());
        for header in recorded["headers"].as_array().unwrap() {
            text.push_str(&format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap()));
        }
        text.push_str(&format!("\r\n{body}"));
        Scripted::new(move |_| Reply::Raw(text.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn recorded_failures_mean_what_they_should() {
    use ErrorCode::*;
    let recorded = Recorded::load();
    let safe = |text: &'static str| Some(text);
    for (name, kind, code, shown) in [
        ("01-04-console-login-wrong-password", "user_invalid_credentials", UpstreamAuth, None),
        ("01-08-account-without-cookie", "general_unauthorized_scope", UpstreamAuth, None),
        ("03-03-project-create-duplicate", "project_already_exists", Conflict, None),
        (
            "03-09-project-create-missing-name",
            "general_argument_invalid",
            ValidationFailed,
            safe("Param \"name\" is not optional."),
        ),
        ("03-13-project-get-unknown", "project_not_found", NotFound, None),
        ("04-05b-key-expired-use", "project_key_expired", UpstreamAuth, None),
        ("05-02-user-create-duplicate", "user_already_exists", Conflict, None),
        ("05-06-user-create-bad-key", "user_unauthorized", UpstreamAuth, None),
        ("06-05-user-jwt-unknown-user", "user_not_found", NotFound, None),
        ("06-11-account-with-tampered-jwt", "user_jwt_invalid", UpstreamAuth, None),
        ("06-12-account-jwt-and-key", "user_key_and_session_set", UpstreamAuth, None),
        ("07-02-method-not-allowed", "general_route_not_found", UpstreamError, None),
        ("07-03-root", "ogel_invalid_response", UpstreamEmpty, None),
        ("08-health-queue-builds-threshold0", "health_queue_size_exceeded", UpstreamBusy, None),
        ("09-40-deployment-body-over-12MiB", "ogel_invalid_response", PayloadTooLarge, None),
        ("09-46-deployment-get-unknown", "deployment_not_found", NotFound, None),
        ("10-03-site-create-duplicate", "general_unknown", UpstreamError, None),
        ("11-18-visit-function-host-no-build", "ogel_invalid_response", UpstreamInvalidResponse, None),
        (
            "12-10-document-invalid-structure",
            "document_invalid_structure",
            ValidationFailed,
            safe("Invalid document structure: Missing required attribute \"title\""),
        ),
        ("14-13b-disabled-api-guest-locale", "general_api_disabled", UpstreamError, None),
        (
            "15-06-build-fail-activate",
            "build_not_ready",
            Conflict,
            safe("Build with the requested ID is building and not ready for execution."),
        ),
        // A success, but not Ghost's: a site answered.
        ("15-16-visit-function-host", "ogel_invalid_response", UpstreamInvalidResponse, None),
        ("20-02-strict-login-wrong-11", "general_rate_limit_exceeded", UpstreamBusy, None),
    ] {
        let error = ghost(&recorded.replay(name)).get_project(ctx(), "p1").await.unwrap_err();
        assert_eq!((error.kind.as_str(), error.code), (kind, code), "{name}");
        assert_eq!(error.public_message.as_deref(), shown, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn recorded_documents_are_read() {
    let recorded = Recorded::load();
    let project = ghost(&recorded.replay("03-12-project-get")).get_project(ctx(), "gw-test").await.unwrap();
    assert_eq!((project.id.as_str(), project.name.as_str()), ("gw-test", "Gateway Test 2"));
    assert_eq!(project.created_at.map(|at| at.timestamp()), Some(1_795_411_390));
    let user = ghost(&recorded.replay("05-18-user-labels")).create_user(ctx(), "alice", "", "").await.unwrap();
    assert_eq!((user.id.as_str(), user.name.as_str()), ("alice", "Alice"));
    let key = ghost(&recorded.replay("04-01-key-create-all")).create_project_key(ctx(), "p", "k", &[]).await.unwrap();
    assert_eq!(key.secret.expose(), "redacted");
    assert_eq!(
        ghost(&recorded.replay("01-10-console-account-jwt")).mint_jwt(ctx(), "u").await.unwrap().jwt,
        "redacted"
    );
    assert_eq!(ghost(&recorded.replay("01-01-health-version-anon")).version(ctx()).await.unwrap().version, "1.8.1");
}
