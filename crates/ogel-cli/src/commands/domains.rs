//! `ogel domains`: list, add, verify, rm.

use crate::{
    Context, Result,
    args::{Confirmation, DomainsCommand},
    confirm::confirm,
    failure::{Exit, Failure},
    lookup,
};
use ogel_api::{
    domains::{DnsRecord, Domain, DomainStatus, NewDomain},
    id::DomainId,
};

pub(crate) async fn run(context: &Context, command: DomainsCommand) -> Result {
    match command {
        DomainsCommand::List { project } => list(context, project.as_deref()).await,
        DomainsCommand::Add { domain, project } => add(context, domain, project.as_deref()).await,
        DomainsCommand::Verify { id } => verify(context, &id).await,
        DomainsCommand::Rm { id, confirmation } => remove(context, &id, &confirmation).await,
    }
}

async fn list(context: &Context, project: Option<&str>) -> Result {
    let client = context.client()?;
    let project = lookup::project(context, &client, project).await?;
    let domains = lookup::all(context, async |page| {
        client.list_domains(project.id, &page).await.map(|list| (list.domains, list.pagination))
    });
    let domains = domains.await?;
    let row = |one: &Domain<'_>| vec![one.domain.to_string(), one.status.to_string(), one.id.to_string()];
    lookup::show(context, &domains, "No domains; `ogel domains add NAME` adds one", &["DOMAIN", "STATUS", "ID"], row)
}

async fn add(context: &Context, domain: String, project: Option<&str>) -> Result {
    let client = context.client()?;
    let project = lookup::project(context, &client, project).await?;
    let new = NewDomain { project_id: project.id, domain, site_id: None };
    let made = client.create_domain(&new).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("Added {}; have DNS say {}", made.domain, either(&made.expected)));
    context.output.note(&format!("`ogel domains verify {}` looks whether it does", made.id));
    if context.output.json { context.output.json(&made) } else { context.output.data(&made.id.to_string()) }
}

async fn verify(context: &Context, id: &str) -> Result {
    let id = parse(id)?;
    let client = context.client()?;
    let domain = client.verify_domain(id).await.map_err(|error| context.explain(error))?;
    if domain.status != DomainStatus::Verified {
        let message = format!("`{}` does not point here yet", domain.domain);
        let seen = if domain.observed.is_empty() { "nothing".to_owned() } else { either(&domain.observed) };
        let failure = Failure::new(Exit::Failed, "DOMAIN_PENDING", message);
        return Err(failure
            .detail(format!("DNS says {seen}"))
            .hint(format!("have it say {}", either(&domain.expected))));
    }
    context.output.note(&format!("{} is verified", domain.domain));
    if context.output.json { context.output.json(&domain) } else { Ok(()) }
}

async fn remove(context: &Context, id: &str, confirmation: &Confirmation) -> Result {
    let id = parse(id)?;
    confirm(context, confirmation, &format!("{id} shows nothing of yours then. Remove it?")).await?;
    context.client()?.delete_domain(id).await.map_err(|error| context.explain(error))?;
    context.output.note(&format!("Removed {id}"));
    if context.output.json { context.output.json(&serde_json::json!({ "id": id })) } else { Ok(()) }
}

/// `A 127.0.0.1 or AAAA ::1`
fn either(records: &[DnsRecord<'_>]) -> String {
    let words: Vec<String> = records.iter().map(|record| format!("{} {}", record.kind, record.value)).collect();
    words.join(" or ")
}

fn parse(id: &str) -> Result<DomainId> {
    id.parse().map_err(|error: ogel_api::id::IdError| {
        Failure::usage(error.to_string()).hint("`ogel domains list` shows the ids")
    })
}
