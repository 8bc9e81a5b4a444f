//! Sites and domains, borrowed from the answer they came in ([`crate::Answer`]).

use crate::answer::Shape;
use chrono::DateTime;
use ogel_api::{domains::DomainStatus, time::Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

/// Newest first; `total` counts the whole list.
#[derive(Clone, Debug, Deserialize)]
pub struct Page<T> {
    pub total: u64,
    pub documents: Vec<T>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteDoc<'a> {
    #[serde(rename = "$id", borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub framework: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub repo_url: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub production_branch: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub root_directory: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub install_command: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub build_command: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    pub output_directory: Option<Cow<'a, str>>,
    #[serde(rename = "$createdAt")]
    pub created_at: Timestamp,
    #[serde(rename = "$updatedAt")]
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DomainDoc<'a> {
    #[serde(rename = "$id", borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub domain: Cow<'a, str>,
    /// Ghost's id of the site it belongs to.
    #[serde(borrow, default, deserialize_with = "text")]
    pub site_id: Option<Cow<'a, str>>,
    pub status: DomainStatus,
    #[serde(borrow, default)]
    pub expected: Vec<DnsRecordDoc<'a>>,
    #[serde(borrow, default)]
    pub observed: Vec<DnsRecordDoc<'a>>,
    #[serde(default, deserialize_with = "time")]
    pub checked_at: Option<Timestamp>,
    #[serde(rename = "$createdAt")]
    pub created_at: Timestamp,
    #[serde(rename = "$updatedAt")]
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DnsRecordDoc<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    pub value: Cow<'a, str>,
}

impl Shape for SiteDoc<'static> {
    type As<'a> = SiteDoc<'a>;
}
impl Shape for Page<SiteDoc<'static>> {
    type As<'a> = Page<SiteDoc<'a>>;
}
impl Shape for DomainDoc<'static> {
    type As<'a> = DomainDoc<'a>;
}
impl Shape for Page<DomainDoc<'static>> {
    type As<'a> = Page<DomainDoc<'a>>;
}

/// A site to be made or changed. What is `None` is not named; an inner `None` clears the field.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteFields<'a> {
    /// Of the caller's choice; only when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo_url: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub production_branch: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_directory: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_command: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_command: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_directory: Option<Option<&'a str>>,
}

/// A domain to be made, under an id of the caller's choice.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateDomain<'a> {
    pub domain_id: &'a str,
    pub domain: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_id: Option<&'a str>,
}

/// serde borrows a `Cow` only where it stands alone.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let text = Option::<Text<'de>>::deserialize(deserializer)?;
    Ok(text.map(|Text(text)| text).filter(|text| !text.is_empty()))
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let parse = |text: Cow<'de, str>| DateTime::parse_from_rfc3339(&text).map(|at| at.to_utc().into());
    text(deserializer)?.map(parse).transpose().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_borrowed_from_the_answer_unless_they_are_escaped() {
        let json = r#"{"total":1,"documents":[{"$id":"web","name":"W\u00e9b","framework":"vite","repoUrl":"","buildCommand":null,
            "projectId":"p","$createdAt":"2026-11-23T05:23:46.694+00:00","$updatedAt":"2026-11-23T05:23:46.694+00:00","moon":{}}]}"#;
        let page: Page<SiteDoc<'_>> = serde_json::from_str(json).unwrap();
        let site = &page.documents[0];
        assert!(matches!((&site.id, &site.framework), (Cow::Borrowed("web"), Some(Cow::Borrowed("vite")))), "{site:?}");
        assert_eq!((&*site.name, &site.repo_url, &site.build_command), ("Wéb", &None, &None));
        assert_eq!(site.created_at.to_string(), "2026-11-23T05:23:46.694Z");
    }

    #[test]
    fn what_is_not_named_is_not_sent_and_what_is_cleared_is_null() {
        let fields = SiteFields { name: Some("n"), framework: Some(None), ..SiteFields::default() };
        assert_eq!(serde_json::to_string(&fields).unwrap(), r#"{"name":"n","framework":null}"#);
    }
}
