//! Sites: the settings of what a project publishes. Kept by the deployment backend; texts are borrowed where they can be,
//! because the server passes these on without keeping them.

use crate::{
    id::{ProjectId, SiteId},
    page::Pagination,
    time::Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

/// What a site is made of. Only `projectId` and `name` are needed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSite {
    pub project_id: ProjectId,
    /// 1 to 100 characters.
    pub name: String,
    /// Detected at each deployment when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// Where git clones from, as in a deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo_url: Option<String>,
    /// The branch that production is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub production_branch: Option<String>,
    /// The folder of the repository that holds the site, without `..`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub install_command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_command: Option<String>,
    /// The folder the build writes, seen from `rootDirectory`, without `..`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_directory: Option<String>,
}

/// What to change: a field that is left out stays, `null` clears it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateSite {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub framework: Option<Option<String>>,
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub repo_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub production_branch: Option<Option<String>>,
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub root_directory: Option<Option<String>>,
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub install_command: Option<Option<String>>,
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub build_command: Option<Option<String>>,
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub output_directory: Option<Option<String>>,
}

/// A field that is there, be it `null`.
pub(crate) fn named<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Site<'a> {
    pub id: SiteId,
    pub project_id: ProjectId,
    pub name: Cow<'a, str>,
    #[schema(required)]
    pub framework: Option<Cow<'a, str>>,
    #[schema(required)]
    pub repo_url: Option<Cow<'a, str>>,
    #[schema(required)]
    pub production_branch: Option<Cow<'a, str>>,
    #[schema(required)]
    pub root_directory: Option<Cow<'a, str>>,
    #[schema(required)]
    pub install_command: Option<Cow<'a, str>>,
    #[schema(required)]
    pub build_command: Option<Cow<'a, str>>,
    #[schema(required)]
    pub output_directory: Option<Cow<'a, str>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SiteList<'a> {
    pub sites: Vec<Site<'a>>,
    pub pagination: Pagination,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_and_what_is_null_are_told_apart() {
        let change: UpdateSite = serde_json::from_str(r#"{"framework":null,"buildCommand":"make"}"#).unwrap();
        assert_eq!((change.framework, change.build_command), (Some(None), Some(Some("make".to_owned()))));
        assert_eq!(change.repo_url, None);
        let sent = UpdateSite { repo_url: Some(None), ..UpdateSite::default() };
        assert_eq!(serde_json::to_string(&sent).unwrap(), r#"{"repoUrl":null}"#);
    }
}
