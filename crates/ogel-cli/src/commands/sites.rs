//! `ogel sites`: list.

use crate::{Context, Result, age, args::SitesCommand, lookup};
use ogel_api::sites::Site;

pub(crate) async fn run(context: &Context, command: SitesCommand) -> Result {
    let SitesCommand::List { project } = command;
    let client = context.client()?;
    let project = lookup::project(context, &client, project.as_deref()).await?;
    let sites = lookup::all(context, async |page| {
        client.list_sites(project.id, &page).await.map(|list| (list.sites, list.pagination))
    });
    let sites = sites.await?;
    let row = |site: &Site<'_>| {
        let text = |text: &Option<_>| text.as_deref().unwrap_or("-").to_owned();
        let created = age::relative(site.created_at, context.environment.now_ms);
        vec![site.name.to_string(), text(&site.framework), text(&site.production_branch), site.id.to_string(), created]
    };
    lookup::show(context, &sites, "No sites", &["NAME", "FRAMEWORK", "BRANCH", "ID", "CREATED"], row)
}
