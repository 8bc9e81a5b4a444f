//! People.

use crate::{
    Act, Entry, Expected, Organization, Outcome, Project, Refusal, Result, Store, audit::audited, change::is_expected,
    pool::on_read, words::row,
};
use chrono::{DateTime, Utc};
use ogel_api::{audit::AuditAction, id::UserId, organizations::Role};

#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// Lower case, except for people who were there before us.
    pub email: String,
    pub name: String,
    /// None for people who log in elsewhere.
    pub password_hash: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// One more with every change.
    pub row_version: i64,
}
row!(User { id, email, name, password_hash, created_at, updated_at, row_version });

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A Studio that was there before us may have left these empty, and may still do so.
macro_rules! columns {
    () => {
        "id, COALESCE(email, '') AS email, COALESCE(name, '') AS name, password_hash, \
         COALESCE(created_at, '1970-01-01T00:00:00+00:00') AS created_at, \
         COALESCE(updated_at, '1970-01-01T00:00:00+00:00') AS updated_at, row_version"
    };
}

impl Store {
    /// Person, organization, ownership and perhaps a first project: all or nothing.
    pub async fn sign_up(
        &self,
        act: &Act,
        user: &User,
        organization: &Organization,
        project: Option<&Project>,
    ) -> Result<Outcome<()>> {
        Ok(audited!(self, act, tx => {
            let held: i64 = sqlx::query_scalar(crate::organizations::SLUG_HELD)
                .bind(&organization.slug)
                .bind(organization.id.0)
                .bind(act.at)
                .fetch_one(&mut *tx)
                .await?;
            sqlx::query("INSERT INTO users (id, email, name, password_hash, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(user.id.0)
                .bind(user.email.to_lowercase())
                .bind(&user.name)
                .bind(&user.password_hash)
                .bind(user.created_at)
                .bind(user.updated_at)
                .execute(&mut *tx)
                .await?;
            sqlx::query(crate::organizations::INSERT)
                .bind(organization.id.0)
                .bind(&organization.name)
                .bind(&organization.slug)
                .bind(organization.plan.as_str())
                .bind(organization.created_at)
                .bind(organization.updated_at)
                .execute(&mut *tx)
                .await?;
            sqlx::query(crate::organizations::INSERT_MEMBER)
                .bind(organization.id.0)
                .bind(user.id.0)
                .bind(Role::Owner.as_str())
                .bind(organization.created_at)
                .execute(&mut *tx)
                .await?;
            if let Some(project) = project {
                sqlx::query(crate::projects::INSERT)
                    .bind(project.id.0)
                    .bind(project.organization_id.0)
                    .bind(&project.name)
                    .bind(&project.slug)
                    .bind(project.created_at)
                    .bind(project.updated_at)
                    .execute(&mut *tx)
                    .await?;
            }
            let mut entries = vec![organization.made()];
            entries.extend(project.map(Project::made));
            if held > 0 { Err(Refusal::SlugHeld) } else { Ok(((), entries)) }
        }))
    }

    pub async fn user(&self, id: UserId) -> Result<Option<User>> {
        Ok(on_read!(self, db => sqlx::query_as(concat!("SELECT ", columns!(), " FROM users WHERE id = $1"))
            .bind(id.0).fetch_optional(db).await?))
    }

    /// Upper and lower case are the same.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        let email = email.to_lowercase();
        Ok(on_read!(self, db => sqlx::query_as(concat!("SELECT ", columns!(), " FROM users WHERE lower(email) = $1"))
            .bind(&email).fetch_optional(db).await?))
    }

    /// What is `None` stays as it is.
    pub async fn update_user(
        &self,
        act: &Act,
        id: UserId,
        name: Option<&str>,
        expected: &Expected,
    ) -> Result<Outcome<User>> {
        let outcome = audited!(self, act, tx => {
            let before: Option<User> = sqlx::query_as(concat!(
                "UPDATE users SET row_version = row_version + 1 WHERE id = $1 AND ", is_expected!("users", "$2"),
                " RETURNING ", columns!()))
                .bind(id.0).bind(expected.text()).fetch_all(&mut *tx).await?.pop();
            match before {
                None => Err(Refusal::Stale),
                Some(before) => {
                    let after: User = sqlx::query_as(concat!(
                        "UPDATE users SET name = COALESCE($2, name), updated_at = $3 WHERE id = $1 RETURNING ", columns!()))
                        .bind(id.0).bind(name).bind(act.at)
                        .fetch_all(&mut *tx).await?.pop().ok_or(sqlx::Error::RowNotFound)?;
                    let entry = Entry::new(None, AuditAction::UserUpdated, id)
                        .changed("name", &before.name, &after.name);
                    Ok((after, vec![entry]))
                }
            }
        });
        if matches!(outcome, Err(Refusal::Stale)) && self.user(id).await?.is_none() {
            return Ok(Err(Refusal::NotFound));
        }
        Ok(outcome)
    }
}
