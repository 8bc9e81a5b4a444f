//! Builds and their logs: a page of numbered lines, or a stream of frames that can be resumed from any line.

use crate::{
    deployments::DeploymentStatus,
    id::{BuildId, DeploymentId, ProjectId},
    page::Pagination,
    string_enum::string_enum,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The work behind one deployment.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    pub id: BuildId,
    pub deployment_id: DeploymentId,
    pub project_id: ProjectId,
    pub status: DeploymentStatus,
    #[schema(required)]
    pub error: Option<String>,
    pub created_at: Timestamp,
    #[schema(required)]
    pub completed_at: Option<Timestamp>,
    /// From `createdAt` to `completedAt`.
    #[schema(required)]
    pub duration_ms: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BuildList {
    pub builds: Vec<Build>,
    pub pagination: Pagination,
}

string_enum! {
    /// Where a line came from.
    pub enum LogStream {
        Stdout = "stdout",
        Stderr = "stderr",
        /// The build system itself.
        System = "system",
    }
}

/// One line of a build's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Counted from 1, without holes unless a `gap` frame says so.
    pub n: u64,
    pub at: Timestamp,
    pub stream: LogStream,
    /// Without the line end; colours are kept as ANSI sequences.
    pub text: String,
}

/// `GET builds/{id}/logs` as JSON.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    pub lines: Vec<LogLine>,
    /// `nextCursor` is the number of the page's last line: pass it as `after`.
    pub pagination: Pagination,
}

/// One message of a log stream: the same JSON in a WebSocket text frame and in the `data` of a server-sent event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum LogFrame {
    /// A line.
    Log(LogLine),
    /// The build's status, at the start and whenever it changes.
    Status { status: DeploymentStatus },
    /// The lines `from` to `to` (both included) are lost.
    Gap { from: u64, to: u64 },
    /// The build is over and every line was sent; the stream closes after it.
    End { status: DeploymentStatus },
    /// A kind of frame this build does not know; skip it.
    #[serde(other)]
    Unrecognized,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_documented_form_and_unknown_ones_are_skipped() {
        let line = r#"{"type":"log","n":1,"at":"2026-11-22T10:00:03.120Z","stream":"stdout","text":"hi"}"#;
        let frame: LogFrame = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&frame).unwrap(), line);
        let end = LogFrame::End { status: DeploymentStatus::Success };
        assert_eq!(serde_json::to_string(&end).unwrap(), r#"{"type":"end","status":"success"}"#);
        assert_eq!(
            serde_json::from_str::<LogFrame>(r#"{"type":"weather","sun":true}"#).unwrap(),
            LogFrame::Unrecognized
        );
        assert_eq!(
            serde_json::from_str::<LogFrame>(r#"{"type":"status","status":"superseded"}"#).unwrap(),
            LogFrame::Status { status: DeploymentStatus::Unrecognized }
        );
    }
}
