//! `ogel deployments`: list, get, cancel, redeploy, promote, rollback.

use crate::{
    Context, Result, age,
    args::{DeploymentsCommand, ListArgs},
    failure::Failure,
    lookup, table,
};
use ogel_api::{
    deployments::{Deployment, DeploymentStatus, Promotion, Redeploy},
    id::{DeploymentId, ProjectId},
    page::MAX_LIMIT,
};
use ogel_client::{Client, DeploymentQuery, PageQuery};

pub(crate) async fn run(context: &Context, command: DeploymentsCommand) -> Result {
    match command {
        DeploymentsCommand::List(args) => list(context, args).await,
        DeploymentsCommand::Get { id } => get(context, &id).await,
        DeploymentsCommand::Cancel { id } => cancel(context, &id).await,
        DeploymentsCommand::Redeploy { id, latest } => redeploy(context, &id, latest).await,
        DeploymentsCommand::Promote { id, reason } => promote(context, &id, reason).await,
        DeploymentsCommand::Rollback { id, reason } => roll_back(context, &id, reason).await,
    }
}

async fn list(context: &Context, args: ListArgs) -> Result {
    let client = context.client()?;
    let project_id = match args.project {
        Some(name) => Some(project_id(context, &client, &name).await?),
        None => None,
    };
    let mut query =
        DeploymentQuery { project_id, status: args.status, branch: args.branch, page: PageQuery::default() };
    let wanted = args.limit as usize;
    let mut deployments: Vec<Deployment> = Vec::new();
    let has_more = loop {
        query.page.limit = u32::try_from(wanted - deployments.len()).ok().map(|left| left.min(MAX_LIMIT));
        let page = client.list_deployments(&query).await.map_err(|error| context.explain(error))?;
        deployments.extend(page.deployments);
        query.page.cursor = page.pagination.next_cursor.filter(|_| page.pagination.has_more);
        if query.page.cursor.is_none() || deployments.len() >= wanted {
            break query.page.cursor.is_some();
        }
    };
    if context.output.json {
        return context.output.json(&deployments);
    }
    if deployments.is_empty() {
        context.output.note("No deployments; `ogel deploy` makes one");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = deployments.iter().map(|one| row(one, context.environment.now_ms)).collect();
    context.output.data(&table::render(&["ID", "STATUS", "BRANCH", "COMMIT", "CREATED", "PREVIEW"], &rows))?;
    if has_more {
        context.output.note(&format!("There are more; `--limit {}` shows them", wanted * 2));
    }
    Ok(())
}

/// An id needs no look-up: the list itself says 404 if it is not the caller's.
async fn project_id(context: &Context, client: &Client, name: &str) -> Result<ProjectId> {
    match name.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(lookup::project(context, client, Some(name)).await?.id),
    }
}

fn row(deployment: &Deployment, now_ms: i64) -> Vec<String> {
    let preview = match deployment.status {
        DeploymentStatus::Success => deployment.preview_url.clone(),
        _ => None,
    };
    vec![
        deployment.id.to_string(),
        deployment.status.to_string(),
        deployment.branch.clone(),
        short(deployment.commit_sha.as_deref()),
        age::relative(deployment.created_at, now_ms),
        preview.unwrap_or_else(|| "-".to_owned()),
    ]
}

async fn get(context: &Context, id: &str) -> Result {
    let id = parse(id)?;
    let client = context.client()?;
    let deployment = client.get_deployment(id).await.map_err(|error| context.explain(error))?;
    if context.output.json {
        return context.output.json(&deployment);
    }
    let now_ms = context.environment.now_ms;
    let mut pairs = vec![
        ("id", deployment.id.to_string()),
        ("status", deployment.status.to_string()),
        ("project", deployment.project_id.to_string()),
        ("build", deployment.build_id.to_string()),
        ("repository", deployment.repo_url.clone()),
        ("branch", deployment.branch.clone()),
        ("commit", short(deployment.commit_sha.as_deref())),
    ];
    pairs.extend(
        deployment.commit_message.and_then(|text| text.lines().next().map(|line| ("message", line.to_owned()))),
    );
    pairs.extend(deployment.framework.map(|framework| ("framework", framework)));
    pairs.extend(deployment.preview_url.map(|url| ("preview", url)));
    if deployment.active {
        pairs.push(("production", "yes".to_owned()));
    }
    if !deployment.tags.is_empty() {
        pairs.push(("tags", deployment.tags.join(", ")));
    }
    pairs.push(("created", age::relative(deployment.created_at, now_ms)));
    pairs.extend(deployment.completed_at.map(|at| ("completed", age::relative(at, now_ms))));
    pairs.extend(deployment.error.iter().flat_map(|error| error.lines()).map(|line| ("error", line.to_owned())));
    context.output.data(&table::pairs(&pairs))
}

async fn cancel(context: &Context, id: &str) -> Result {
    let id = parse(id)?;
    let client = context.client()?;
    let deployment = client.cancel_deployment(id).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("Canceled {id}"));
    if context.output.json { context.output.json(&deployment) } else { Ok(()) }
}

async fn redeploy(context: &Context, id: &str, latest: bool) -> Result {
    let id = parse(id)?;
    let client = context.client()?;
    let made = client.redeploy_deployment(id, &Redeploy { latest }).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("Deploying {id} again; `ogel logs --follow {}` shows how it goes", made.id));
    if context.output.json { context.output.json(&made) } else { context.output.data(&made.id.to_string()) }
}

async fn promote(context: &Context, id: &str, reason: Option<String>) -> Result {
    let id = parse(id)?;
    let client = context.client()?;
    let row = client.promote_deployment(id, &Promotion { reason }).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("{id} is in production"));
    if context.output.json { context.output.json(&row) } else { Ok(()) }
}

async fn roll_back(context: &Context, id: &str, reason: Option<String>) -> Result {
    let id = parse(id)?;
    let client = context.client()?;
    let row = client.rollback_deployment(id, &Promotion { reason }).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("Production is back at {id}"));
    if context.output.json { context.output.json(&row) } else { Ok(()) }
}

pub(crate) fn parse(id: &str) -> Result<DeploymentId> {
    id.parse().map_err(|error: ogel_api::id::IdError| {
        Failure::usage(error.to_string()).hint("`ogel deployments list` shows the ids")
    })
}

/// The first 7 digits of a commit.
pub(crate) fn short(commit: Option<&str>) -> String {
    commit.map_or_else(|| "-".to_owned(), |commit| commit.chars().take(7).collect())
}
