//! Which of Ghost's sites and domains has which id of ours. A mapping never changes: it is made once, and goes with the
//! object or its project (`object_changes.rs`). Says nothing about who may see an object: that is decided by its project.

use crate::{
    Result, Store,
    pool::{on_read, on_write},
    words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{error::UnknownWord, id::ProjectId};
use std::str::FromStr;
use uuid::Uuid;

/// What Ghost keeps for us under an id of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    Site,
    Domain,
}

impl ObjectKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Domain => "domain",
        }
    }
}

impl FromStr for ObjectKind {
    type Err = UnknownWord;
    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "site" => Ok(Self::Site),
            "domain" => Ok(Self::Domain),
            _ => Err(UnknownWord { word: word.to_owned(), known: vec!["site", "domain"] }),
        }
    }
}

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhostObject {
    pub id: Uuid,
    pub project_id: ProjectId,
    pub kind: ObjectKind,
    pub ghost_id: String,
}
row!(GhostObject, columns of "ghost_objects" { id, project_id, kind, ghost_id });

impl Store {
    pub async fn ghost_object(&self, id: Uuid) -> Result<Option<GhostObject>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!("SELECT ", columns!(), " FROM ghost_objects WHERE id = $1"))
            .bind(id).fetch_optional(db).await?))
    }

    /// Those of the project's mappings that name one of `ghost_ids`; one statement.
    pub async fn ghost_objects(
        &self,
        project: ProjectId,
        kind: ObjectKind,
        ghost_ids: &[&str],
    ) -> Result<Vec<GhostObject>> {
        if ghost_ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(on_read!(self, db => {
            let mut query = sqlx::QueryBuilder::new(concat!("SELECT ", columns!(), " FROM ghost_objects WHERE project_id = "));
            query.push_bind(project.0).push(" AND kind = ").push_bind(kind.as_str()).push(" AND ghost_id IN (");
            let mut list = query.separated(", ");
            for ghost_id in ghost_ids {
                list.push_bind(*ghost_id);
            }
            query.push(")");
            query.build_query_as().fetch_all(db).await?
        }))
    }

    /// Gives each of Ghost's ids the id of ours beside it, unless it has one; answers with what stayed. One statement,
    /// in which no id of Ghost's may stand twice.
    pub async fn map_ghost_objects(
        &self,
        project: ProjectId,
        kind: ObjectKind,
        pairs: &[(Uuid, &str)],
        now: DateTime<Utc>,
    ) -> Result<Vec<GhostObject>> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        Ok(on_write!(self, db => {
            let mut query = sqlx::QueryBuilder::new("INSERT INTO ghost_objects (id, project_id, kind, ghost_id, created_at) ");
            query.push_values(pairs, |mut row, (id, ghost_id)| {
                row.push_bind(*id).push_bind(project.0).push_bind(kind.as_str()).push_bind(*ghost_id).push_bind(now);
            });
            query.push(concat!(
                " ON CONFLICT (project_id, kind, ghost_id) DO UPDATE SET ghost_id = excluded.ghost_id RETURNING ",
                columns!()
            ));
            query.build_query_as().fetch_all(db).await?
        }))
    }
}
