//! `ogel sites`: list.

use crate::{Context, Result, age, args::SitesCommand, lookup, table};
use ogel_api::page::MAX_LIMIT;
use ogel_client::PageQuery;

pub(crate) async fn run(context: &Context, command: SitesCommand) -> Result {
    let SitesCommand::List { project } = command;
    let client = context.client()?;
    let project = lookup::project(context, &client, project.as_deref()).await?;
    let mut page = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };
    let mut sites = Vec::new();
    loop {
        let list = client.list_sites(project.id, &page).await.map_err(|error| context.explain(error))?;
        sites.extend(list.sites);
        page.cursor = list.pagination.next_cursor.filter(|_| list.pagination.has_more);
        if page.cursor.is_none() {
            break;
        }
    }
    if context.output.json {
        return context.output.json(&sites);
    }
    if sites.is_empty() {
        context.output.note("No sites");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = sites
        .iter()
        .map(|site| {
            let text = |text: &Option<_>| text.as_deref().unwrap_or("-").to_owned();
            let created = age::relative(site.created_at, context.environment.now_ms);
            vec![
                site.name.to_string(),
                text(&site.framework),
                text(&site.production_branch),
                site.id.to_string(),
                created,
            ]
        })
        .collect();
    context.output.data(&table::render(&["NAME", "FRAMEWORK", "BRANCH", "ID", "CREATED"], &rows))
}
