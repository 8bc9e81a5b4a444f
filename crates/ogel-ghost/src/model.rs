//! Ghost's documents, as far as we use them. Fields we do not know are skipped, a word we do not know becomes
//! `Unrecognized`, and an empty string is Ghost's way to say that there is nothing.
//! Next: `calls.rs`, which returns them.

mod objects;

pub use objects::{CreateDomain, DnsRecordDoc, DomainDoc, Page, SiteDoc, SiteFields};

use crate::config::Secret;
use chrono::{DateTime, Utc};
use ogel_api::{builds::LogLine, deployments::DeploymentStatus};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GhostUser {
    #[serde(rename = "$id")]
    pub id: String,
    #[serde(default)]
    pub email: String,
    #[serde(default)]
    pub name: String,
    #[serde(rename = "$createdAt", default, deserialize_with = "time")]
    pub created_at: Option<DateTime<Utc>>,
}

/// A token that acts as one account, for 15 minutes.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Jwt {
    pub jwt: String,
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jwt(…)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GhostProject {
    #[serde(rename = "$id")]
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub region: String,
    #[serde(rename = "$createdAt", default, deserialize_with = "time")]
    pub created_at: Option<DateTime<Utc>>,
}

/// A project's key. Its secret is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ProjectKey {
    #[serde(rename = "$id")]
    pub id: String,
    pub secret: Secret,
}

/// What to deploy, under an id of the caller's choice.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateDeployment {
    pub deployment_id: String,
    pub repo_url: String,
    /// Empty: the repository's default branch.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub branch: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_sha: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_directory: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentDoc {
    #[serde(rename = "$id")]
    pub id: String,
    #[serde(default)]
    pub project_id: String,
    pub build_id: String,
    pub status: DeploymentStatus,
    #[serde(default)]
    pub repo_url: String,
    #[serde(default, deserialize_with = "text")]
    pub branch: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub commit_sha: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub commit_message: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub commit_author: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub framework: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub preview_url: Option<String>,
    /// Whether it is the one served on the project's domains.
    #[serde(default)]
    pub active: bool,
    /// In seconds.
    #[serde(default)]
    pub build_duration: Option<f64>,
    #[serde(default, deserialize_with = "text")]
    pub error: Option<String>,
    #[serde(rename = "$createdAt", default, deserialize_with = "time")]
    pub created_at: Option<DateTime<Utc>>,
    #[serde(rename = "$updatedAt", default, deserialize_with = "time")]
    pub updated_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "time")]
    pub completed_at: Option<DateTime<Utc>>,
}

/// Which deployments to list, newest first. Empty fields do not filter.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListDeployments<'a> {
    pub limit: Option<u32>,
    /// The id of the last deployment seen.
    pub cursor: Option<&'a str>,
    pub status: Option<DeploymentStatus>,
    pub branch: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct DeploymentPage {
    pub total: u64,
    pub documents: Vec<DeploymentDoc>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDoc {
    #[serde(rename = "$id")]
    pub id: String,
    #[serde(default)]
    pub deployment_id: String,
    #[serde(default)]
    pub project_id: String,
    pub status: DeploymentStatus,
    #[serde(default)]
    pub steps: Vec<BuildStep>,
    /// In seconds.
    #[serde(default)]
    pub build_duration: Option<f64>,
    #[serde(default, deserialize_with = "text")]
    pub error: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "time")]
    pub completed_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildStep {
    pub name: String,
    pub status: DeploymentStatus,
    #[serde(default, deserialize_with = "time")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(default, deserialize_with = "time")]
    pub completed_at: Option<DateTime<Utc>>,
}

/// Lines of a build's log, oldest first; `total` counts the whole log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LogLines {
    pub total: u64,
    pub lines: Vec<LogLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Health {
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Version {
    pub version: String,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let parse = |text: String| DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc());
    text(deserializer)?.map(parse).transpose().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_with_strange_words_and_fields_still_decodes() {
        let document: DeploymentDoc = serde_json::from_str(
            r#"{"$id":"d1","buildId":"b1","status":"superseded","branch":"","commitSha":null,"buildDuration":3,
                "$createdAt":"2026-11-23T05:23:46.694+00:00","completedAt":"","moonPhase":{"full":true}}"#,
        )
        .unwrap();
        assert_eq!(document.status, DeploymentStatus::Unrecognized);
        assert_eq!((document.branch, document.commit_sha, document.completed_at), (None, None, None));
        assert_eq!(document.created_at.map(|at| at.timestamp_millis()), Some(1_795_411_426_694));
        assert_eq!(document.build_duration, Some(3.0));
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let key: ProjectKey = serde_json::from_str(r#"{"$id":"k","secret":"hunter2"}"#).unwrap();
        let jwt: Jwt = serde_json::from_str(r#"{"jwt":"hunter2"}"#).unwrap();
        assert!(!format!("{key:?}{jwt:?}").contains("hunter2"));
        assert_eq!(key.secret.expose(), "hunter2");
    }

    #[test]
    fn what_is_not_set_is_not_sent() {
        let body = CreateDeployment { deployment_id: "d".to_owned(), repo_url: "u".to_owned(), ..Default::default() };
        assert_eq!(serde_json::to_string(&body).unwrap(), r#"{"deploymentId":"d","repoUrl":"u"}"#);
    }
}
