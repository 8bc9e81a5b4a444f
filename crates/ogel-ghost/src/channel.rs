//! The names of Ghost's realtime channels. Next: `realtime.rs`.

/// Every line of a build's log.
pub fn build_logs(build_id: &str) -> String {
    format!("builds.{build_id}.logs")
}

/// Every change of a project's deployments.
pub fn project_deployments(project_id: &str) -> String {
    format!("projects.{project_id}.deployments")
}

/// What a channel's payloads are.
pub(crate) enum Topic<'a> {
    BuildLogs { build_id: &'a str },
    Deployments,
}

pub(crate) fn topic(channel: &str) -> Option<Topic<'_>> {
    if let Some(build_id) = channel.strip_prefix("builds.").and_then(|rest| rest.strip_suffix(".logs")) {
        return Some(Topic::BuildLogs { build_id });
    }
    let is_deployments = channel.starts_with("projects.") && channel.ends_with(".deployments");
    is_deployments.then_some(Topic::Deployments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_topics_agree() {
        assert!(matches!(topic(&build_logs("b.1")), Some(Topic::BuildLogs { build_id: "b.1" })));
        assert!(matches!(topic(&project_deployments("p")), Some(Topic::Deployments)));
        assert!(topic("account").is_none());
    }
}
