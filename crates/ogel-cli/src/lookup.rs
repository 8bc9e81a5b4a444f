//! Names to things: projects and organizations by id, slug, or because there is only one. And lists, page by page.

use crate::{
    Context, Result,
    failure::{Exit, Failure},
    table,
};
use ogel_api::{
    id::OrganizationId,
    organizations::Organization,
    page::{MAX_LIMIT, Pagination},
    projects::{Project, ProjectList},
};
use ogel_client::{Client, ClientError, PageQuery};
use serde::Serialize;

/// Everything of a list. `fetch` asks for one page of it.
pub(crate) async fn all<T>(
    context: &Context,
    fetch: impl AsyncFn(PageQuery) -> Result<(Vec<T>, Pagination), ClientError>,
) -> Result<Vec<T>> {
    let mut page = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    let mut everything = Vec::new();
    loop {
        let (rows, pagination) = fetch(page.clone()).await.map_err(|error| context.explain(error))?;
        everything.extend(rows);
        page.cursor = pagination.next_cursor.filter(|_| pagination.has_more);
        if page.cursor.is_none() {
            return Ok(everything);
        }
    }
}

/// The end of a command that lists: JSON, a table, or for people the sentence `none` where there is nothing.
pub(crate) fn show<T: Serialize>(
    context: &Context,
    things: &[T],
    none: &str,
    head: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> Result {
    if context.output.json {
        return context.output.json(&things);
    }
    if things.is_empty() {
        context.output.note(none);
        return Ok(());
    }
    let rows: Vec<_> = things.iter().map(row).collect();
    context.output.data(&table::render(head, &rows))
}

/// The project called `name`, or the only one there is.
pub(crate) async fn project(context: &Context, client: &Client, name: Option<&str>) -> Result<Project> {
    if let Some(name) = name {
        return client.get_project(name).await.map_err(|error| {
            let is_missing = error.status() == Some(http::StatusCode::NOT_FOUND);
            let failure = context.explain(error);
            if is_missing { failure.hint("`ogel projects list` shows yours") } else { failure }
        });
    }
    let page = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    let ProjectList { mut projects, .. } = client.list_projects(&page).await.map_err(|error| context.explain(error))?;
    if projects.len() > 1 {
        let mut failure = Failure::usage("there are several projects; name the one to use");
        for project in projects.iter().take(20) {
            failure = failure.detail(format!("{}  {}", project.slug, project.name));
        }
        return Err(failure.hint(format!("add `--project {}`", projects[0].slug)));
    }
    projects.pop().ok_or_else(|| {
        Failure::new(Exit::NotFound, "NO_PROJECT", "there is no project yet")
            .hint("`ogel projects create NAME` makes one")
    })
}

/// Every organization of the caller's.
pub(crate) async fn organizations(context: &Context, client: &Client) -> Result<Vec<Organization>> {
    all(context, async |page| client.list_organizations(&page).await.map(|list| (list.organizations, list.pagination)))
        .await
}

/// The organization called `name`, or the only one there is.
pub(crate) async fn organization_or_only(
    context: &Context,
    client: &Client,
    name: Option<&str>,
) -> Result<OrganizationId> {
    if let Some(name) = name {
        return organization(context, client, name).await;
    }
    match &organizations(context, client).await?[..] {
        [only] => Ok(only.id),
        [] => Err(Failure::new(Exit::NotFound, "NO_ORGANIZATION", "you belong to no organization")),
        several => {
            let mut failure = Failure::usage("there are several organizations; name the one to use");
            for organization in several.iter().take(20) {
                failure = failure.detail(format!("{}  {}", organization.slug, organization.name));
            }
            Err(failure.hint(format!("add `--organization {}`", several[0].slug)))
        }
    }
}

/// The organization with the id or slug `name`.
pub(crate) async fn organization(context: &Context, client: &Client, name: &str) -> Result<OrganizationId> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let organizations = organizations(context, client).await?;
    if let Some(found) = organizations.iter().find(|organization| organization.slug == name) {
        return Ok(found.id);
    }
    let slugs: Vec<&str> = organizations.iter().take(20).map(|organization| organization.slug.as_str()).collect();
    let failure = Failure::new(Exit::NotFound, "NOT_FOUND", format!("there is no organization `{name}` of yours"));
    Err(failure.hint(format!("yours are: {}", slugs.join(", "))))
}
