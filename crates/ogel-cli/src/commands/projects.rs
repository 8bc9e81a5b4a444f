//! `ogel projects`: list and create.

use crate::{Context, Result, age, args::ProjectsCommand, lookup};
use ogel_api::projects::{NewProject, Project, RestoreProject, TransferProject};

pub(crate) async fn run(context: &Context, command: ProjectsCommand) -> Result {
    match command {
        ProjectsCommand::List => list(context).await,
        ProjectsCommand::Transfer { project, organization } => transfer(context, &project, &organization).await,
        ProjectsCommand::Restore { id, slug } => restore(context, &id, slug).await,
        ProjectsCommand::Create { name, organization, slug } => create(context, name, organization, slug).await,
    }
}

async fn list(context: &Context) -> Result {
    let client = context.client()?;
    let projects = lookup::all(context, async |page| {
        client.list_projects(&page).await.map(|list| (list.projects, list.pagination))
    });
    let projects = projects.await?;
    let row = |project: &Project| {
        let created = age::relative(project.created_at, context.environment.now_ms);
        vec![project.slug.clone(), project.name.clone(), project.id.to_string(), created]
    };
    let none = "No projects yet; `ogel projects create NAME` makes one";
    lookup::show(context, &projects, none, &["SLUG", "NAME", "ID", "CREATED"], row)
}

async fn create(context: &Context, name: String, organization: Option<String>, slug: Option<String>) -> Result {
    let client = context.client()?;
    let organization_id = match organization {
        Some(name) => Some(lookup::organization(context, &client, &name).await?),
        None => None,
    };
    let new = NewProject { name, organization_id, slug };
    let project = client.create_project(&new).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("Created project {}", project.slug));
    if context.output.json { context.output.json(&project) } else { context.output.data(&project.id.to_string()) }
}

async fn transfer(context: &Context, project: &str, organization: &str) -> Result {
    let client = context.client()?;
    let organization_id = lookup::organization(context, &client, organization).await?;
    let to = TransferProject { organization_id, slug: None };
    let moved = client.transfer_project(project, &to).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("Moved {} to {organization}", moved.slug));
    if context.output.json { context.output.json(&moved) } else { Ok(()) }
}

async fn restore(context: &Context, id: &str, slug: Option<String>) -> Result {
    let client = context.client()?;
    let back = client.restore_project(id, &RestoreProject { slug }).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("Restored project {}", back.slug));
    if context.output.json { context.output.json(&back) } else { Ok(()) }
}
