//! Pages of the smaller lists: `limit` and `cursor` (the last id of the page before), newest first.
//! Refuses limits over 100. Next: `sites.rs`.

use http::StatusCode;
use serde::Deserialize;

use crate::deployments::read_number;
use crate::error::{ApiError, ApiResult};

/// Query of a list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// What a list query is bound to: rows older than `before`.
pub(crate) struct Page {
    pub(crate) limit: i64,
    pub(crate) before: i64,
}

impl PageQuery {
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref().filter(|cursor| !cursor.is_empty())
    }

    pub(crate) fn unknown_cursor(&self) -> ApiError {
        let message = format!("Cursor '{}' could not be found", self.cursor().unwrap_or_default());
        ApiError::new(StatusCode::BAD_REQUEST, "general_cursor_not_found", message)
    }

    /// `cursor` is the order number of the row the cursor names.
    pub(crate) fn page(&self, cursor: Option<i64>) -> ApiResult<Page> {
        let limit = read_number("limit", self.limit.as_deref(), 25, 100)?.max(1);
        Ok(Page { limit, before: cursor.unwrap_or(i64::MAX) })
    }
}
