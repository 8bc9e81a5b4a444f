//! Lists: `{"deployments":[…],"pagination":{"nextCursor":…,"hasMore":…}}`, newest first, 20 a page unless asked, 100 at most.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Rows a page has when `limit` is not given.
pub const DEFAULT_LIMIT: u32 = 20;
/// The largest `limit`.
pub const MAX_LIMIT: u32 = 100;

/// Lines a page of a build's log has when `limit` is not given.
pub const DEFAULT_LOG_LIMIT: u32 = 100;
/// The largest `limit` of a page of a build's log.
pub const MAX_LOG_LIMIT: u32 = 1000;

/// Where the next page starts, if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pagination {
    /// Pass it back as `cursor`, with the same filters; `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// Whether another page exists.
    pub has_more: bool,
}
