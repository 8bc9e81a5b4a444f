//! What the nouns that are kept by Ghost share: their lists' parameters, cursors and pages, and the ids of what is made.

use super::shared::{NO_CURSOR, OTHER_LIST, cursor_failure};
use crate::{
    caller::Caller,
    error::Result,
    extract::{Parameters, invalid_field, parameter},
    objects,
    state::App,
};
use axum::http::HeaderMap;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ogel_api::{
    error::{Error, ErrorCode},
    id::{Id as _, ProjectId},
    page::{DEFAULT_LIMIT, MAX_LIMIT, Pagination},
};
use ogel_store::{GhostObject, ObjectKind};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use uuid::Uuid;

/// `projectId`, `limit` and `cursor`.
pub(crate) struct ListParameters {
    project_id: Option<ProjectId>,
    pub(crate) limit: u32,
    cursor: Option<Uuid>,
}

impl Default for ListParameters {
    fn default() -> Self {
        Self { project_id: None, limit: DEFAULT_LIMIT, cursor: None }
    }
}

impl Parameters for ListParameters {
    const KNOWN: &'static [&'static str] = &["projectId", "limit", "cursor"];
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "projectId" => self.project_id = Some(parameter(value)?),
            "limit" => match value.parse() {
                Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => self.limit = limit,
                _ => return Err(format!("`limit` takes a whole number from 1 to {MAX_LIMIT}")),
            },
            // What makes no sense is told as such where the list it should belong to is known.
            _ => self.cursor = Some(decode(value).unwrap_or(Uuid::nil())),
        }
        Ok(())
    }
}

impl ListParameters {
    /// Ghost keeps these by project, so there is no list over all of them.
    pub(crate) fn project(&self) -> Result<ProjectId> {
        self.project_id.ok_or_else(|| {
            let message = "`projectId` is missing";
            let fix = Some("add it; `GET projects` lists yours");
            invalid_field(ErrorCode::MissingField, "query.projectId", message, fix)
        })
    }

    /// The last object of the page before.
    pub(crate) async fn after(
        &self,
        app: &App,
        project: ProjectId,
        kind: ObjectKind,
    ) -> Result<Option<Arc<GhostObject>>> {
        match self.cursor {
            None => Ok(None),
            Some(id) if id.is_nil() => Err(cursor_failure(NO_CURSOR)),
            Some(id) => match objects::find(app, id, kind).await? {
                Some(object) if object.project_id == project => Ok(Some(object)),
                // Also one of somebody else's, which must not be told apart.
                _ => Err(cursor_failure(OTHER_LIST)),
            },
        }
    }

    /// How many to ask Ghost for: one more tells whether there is another page, but Ghost gives out no more than
    /// [`MAX_LIMIT`].
    pub(crate) fn fetch(&self) -> u32 {
        (self.limit + 1).min(MAX_LIMIT)
    }

    /// Cuts what came to a page, and says whether there is another one; `None` where only asking for it would tell.
    pub(crate) fn cut<T>(&self, documents: &mut Vec<T>, total: u64) -> Option<bool> {
        let limit = self.limit as usize;
        if documents.len() > limit {
            documents.truncate(limit);
            return Some(true);
        }
        match (documents.len() == limit && self.limit == MAX_LIMIT, self.cursor) {
            (false, _) => Some(false),
            (true, None) => Some(total > limit as u64),
            (true, Some(_)) => None,
        }
    }
}

/// A cursor is our own id of the last object, in other letters: nobody should be tempted to build one.
fn encode(id: Uuid) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(id.as_bytes())
}

fn decode(cursor: &str) -> Option<Uuid> {
    let mut bytes = [0; 18];
    let length = BASE64_URL_SAFE_NO_PAD.decode_slice(cursor, &mut bytes).ok()?;
    Uuid::from_slice(&bytes[..length]).ok()
}

/// What the wire says of a page that ends with `last`.
pub(crate) fn pagination(last: Option<Uuid>, has_more: bool) -> Pagination {
    Pagination { next_cursor: last.filter(|_| has_more).map(encode), has_more }
}

/// The id of what a POST makes. With an `Idempotency-Key` the same request always makes the same one: should the first
/// attempt have failed after Ghost had done the work, the second finds it instead of making another.
pub(crate) fn made_id(app: &App, caller: &Caller, headers: &HeaderMap, body: &impl Serialize) -> Result<Uuid> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(app.world.uuid()) };
    let body = serde_json::to_vec(body).map_err(Error::internal)?;
    let mut hasher = Sha256::new();
    for part in [caller.user.id.uuid().as_bytes(), key.as_bytes(), &body] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    let bytes = hash[..16].try_into().map_err(|_| Error::internal("a hash is longer than an id"))?;
    Ok(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_were_and_nothing_else_does() {
        let id = Uuid::from_u128(7);
        assert_eq!(decode(&encode(id)), Some(id));
        for bad in ["", "x", "no such thing", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAA"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_page_knows_whether_there_is_another_one_or_that_it_does_not_know() {
        let cut = |limit, cursor: Option<Uuid>, came: usize, total| {
            let mut documents = vec![(); came];
            let list = ListParameters { limit, cursor, ..ListParameters::default() };
            (list.cut(&mut documents, total), documents.len())
        };
        assert_eq!(cut(2, None, 3, 9), (Some(true), 2));
        assert_eq!(cut(2, None, 2, 2), (Some(false), 2));
        assert_eq!(cut(100, None, 100, 100), (Some(false), 100));
        assert_eq!(cut(100, None, 100, 101), (Some(true), 100));
        assert_eq!(cut(100, Some(Uuid::max()), 100, 200), (None, 100));
        assert_eq!(cut(100, Some(Uuid::max()), 40, 140), (Some(false), 40));
    }
}
