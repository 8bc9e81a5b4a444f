//! Domains: names under which a project's deployment in production is served, once DNS says so. Kept by the deployment
//! backend; texts are borrowed where they can be, because the server passes these on without keeping them.

use crate::{
    id::{DomainId, ProjectId, SiteId},
    page::Pagination,
    sites::named,
    string_enum::string_enum,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use utoipa::ToSchema;

string_enum! {
    /// Whether a domain is served.
    pub enum DomainStatus {
        /// DNS does not point here, or was not asked yet.
        Pending = "pending",
        Verified = "verified",
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewDomain {
    pub project_id: ProjectId,
    /// A host name such as `www.example.com`.
    pub domain: String,
    /// The site it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_id: Option<SiteId>,
}

/// What to change: a field that is left out stays. The name itself never changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateDomain {
    /// `null` makes it belong to no site.
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SiteId>)]
    pub site_id: Option<Option<SiteId>>,
}

/// A record of DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DnsRecord<'a> {
    /// `A`, `AAAA`, `CNAME`, …
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    pub name: Cow<'a, str>,
    pub value: Cow<'a, str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Domain<'a> {
    pub id: DomainId,
    pub project_id: ProjectId,
    pub domain: Cow<'a, str>,
    #[schema(required)]
    pub site_id: Option<SiteId>,
    pub status: DomainStatus,
    /// One of these must be what DNS answers.
    pub expected: Vec<DnsRecord<'a>>,
    /// What DNS answered at `checkedAt`.
    pub observed: Vec<DnsRecord<'a>>,
    /// When it was last verified; `null` before the first time.
    #[schema(required)]
    pub checked_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DomainList<'a> {
    pub domains: Vec<Domain<'a>>,
    pub pagination: Pagination,
}
