//! `ogel orgs`, `ogel members`, `ogel invite`, `ogel audit-log`: organizations and who belongs to them.

use crate::{
    Context, Result, age,
    args::{AuditLogArgs, InviteCommand, MembersArgs, MembersCommand, OrgsCommand},
    confirm::confirm,
    failure::{Exit, Failure},
    lookup,
};
use ogel_api::{
    id::{InvitationId, OrganizationId},
    organizations::{Member, NewInvitation, NewOrganization, Organization, Role, UpdateMember},
    page::MAX_LIMIT,
};
use ogel_client::{Client, PageQuery};
use serde_json::json;

pub(crate) async fn orgs(context: &Context, command: OrgsCommand) -> Result {
    let client = context.client()?;
    match command {
        OrgsCommand::List => {
            let list = lookup::organizations(context, &client).await?;
            let none = "You belong to no organization; `ogel orgs create NAME` makes one";
            lookup::show(context, &list, none, &["SLUG", "NAME", "ROLE", "PLAN", "ID"], |one| {
                let (role, plan) = (one.role.to_string(), one.plan.to_string());
                vec![one.slug.clone(), one.name.clone(), role, plan, one.id.to_string()]
            })
        }
        OrgsCommand::Create { name, slug } => {
            let new = NewOrganization { name, slug };
            let made = client.create_organization(&new).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("Created organization {}", made.slug));
            one(context, &made)
        }
        OrgsCommand::Delete { organization, confirmation } => {
            let id = lookup::organization(context, &client, &organization).await?;
            confirm(context, &confirmation, &format!("Delete the organization {organization}?")).await?;
            client.delete_organization(id).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("Deleted; `ogel orgs restore {id}` brings it back for a while"));
            done(context, &id.to_string())
        }
        OrgsCommand::Restore { id } => {
            let id: OrganizationId = id.parse().map_err(|error| Failure::usage(format!("{error}")))?;
            let back = client.restore_organization(id).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("Restored organization {}", back.slug));
            one(context, &back)
        }
    }
}

fn one(context: &Context, organization: &Organization) -> Result {
    if context.output.json {
        context.output.json(organization)
    } else {
        context.output.data(&organization.id.to_string())
    }
}

fn done(context: &Context, id: &str) -> Result {
    if context.output.json { context.output.json(&json!({ "id": id })) } else { Ok(()) }
}

fn role(word: &str) -> Result<Role> {
    word.parse().map_err(|error| Failure::usage(format!("{error}")))
}

pub(crate) async fn members(context: &Context, args: MembersArgs) -> Result {
    let client = context.client()?;
    let id = lookup::organization_or_only(context, &client, args.organization.as_deref()).await?;
    match args.command {
        MembersCommand::List => {
            let list = all_members(context, &client, id).await?;
            lookup::show(context, &list, "No members", &["EMAIL", "NAME", "ROLE", "JOINED", "ID"], |one| {
                let joined = age::relative(one.joined_at, context.environment.now_ms);
                vec![one.email.clone(), one.name.clone(), one.role.to_string(), joined, one.user_id.to_string()]
            })
        }
        MembersCommand::Role { member, role: word } => {
            let (user, change) = (member_id(context, &client, id, &member).await?, UpdateMember { role: role(&word)? });
            let changed = client.update_member(id, &user, &change).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("{} is {} now", changed.email, changed.role));
            if context.output.json { context.output.json(&changed) } else { Ok(()) }
        }
        MembersCommand::Remove { member, confirmation } => {
            let user = member_id(context, &client, id, &member).await?;
            confirm(context, &confirmation, &format!("{member} loses access at once. End the membership?")).await?;
            client.remove_member(id, &user).await.map_err(|error| context.explain(error))?;
            context.output.note("Removed");
            done(context, &user)
        }
        MembersCommand::Leave { confirmation } => {
            confirm(context, &confirmation, "You lose access at once. End your membership?").await?;
            client.remove_member(id, "me").await.map_err(|error| context.explain(error))?;
            context.output.note("You do not belong to it any more");
            done(context, "me")
        }
    }
}

async fn all_members(context: &Context, client: &Client, id: OrganizationId) -> Result<Vec<Member>> {
    let members = lookup::all(context, async |page| {
        client.list_members(id, &page).await.map(|list| (list.members, list.pagination))
    });
    members.await
}

/// People write addresses, the API takes ids.
async fn member_id(context: &Context, client: &Client, id: OrganizationId, member: &str) -> Result<String> {
    if !member.contains('@') {
        return Ok(member.to_owned());
    }
    let list = all_members(context, client, id).await?;
    let found = list.iter().find(|one| one.email.eq_ignore_ascii_case(member));
    let found = found.map(|one| one.user_id.to_string());
    found.ok_or_else(|| {
        Failure::new(Exit::NotFound, "NOT_FOUND", format!("no member has the address `{member}`"))
            .hint("`ogel members list` shows them")
    })
}

pub(crate) async fn invite(context: &Context, organization: Option<&str>, command: InviteCommand) -> Result {
    let client = context.client()?;
    if let InviteCommand::Accept { invitation } = &command {
        let joined = client.accept_invitation(invitation).await.map_err(|error| context.explain(error))?;
        context.output.note(&format!("You belong to {} now, as {}", joined.name, joined.role));
        return one(context, &joined);
    }
    let id = lookup::organization_or_only(context, &client, organization).await?;
    let parse = |text: &str| text.parse::<InvitationId>().map_err(|error| Failure::usage(format!("{error}")));
    match command {
        InviteCommand::Accept { .. } => Ok(()),
        InviteCommand::Send { email, role: word, days } => {
            let new = NewInvitation { email, role: role(&word)?, expires_in_days: days };
            let made = client.invite(id, &new).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("Invited {} as {}", made.email, made.role));
            if context.output.json { context.output.json(&made) } else { context.output.data(&made.id.to_string()) }
        }
        InviteCommand::List => {
            let list = lookup::all(context, async |page| {
                client.list_invitations(id, &page).await.map(|list| (list.invitations, list.pagination))
            });
            let list = list.await?;
            let none = "No invitations; `ogel invite send EMAIL` makes one";
            lookup::show(context, &list, none, &["EMAIL", "ROLE", "MAIL", "UNTIL", "ID"], |one| {
                let until = one.expires_at.to_string();
                vec![one.email.clone(), one.role.to_string(), one.mail.to_string(), until, one.id.to_string()]
            })
        }
        InviteCommand::Resend { id: invitation } => {
            let sent =
                client.resend_invitation(id, parse(&invitation)?).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("Sent again to {}", sent.email));
            if context.output.json { context.output.json(&sent) } else { Ok(()) }
        }
        InviteCommand::Revoke { id: invitation } => {
            client.revoke_invitation(id, parse(&invitation)?).await.map_err(|error| context.explain(error))?;
            context.output.note("Revoked");
            done(context, &invitation)
        }
    }
}

pub(crate) async fn audit_log(context: &Context, args: AuditLogArgs) -> Result {
    let client = context.client()?;
    let id = lookup::organization_or_only(context, &client, args.organization.as_deref()).await?;
    let wanted = args.limit as usize;
    let mut page = PageQuery::default();
    let mut entries = Vec::new();
    loop {
        page.limit = u32::try_from(wanted - entries.len()).ok().map(|left| left.min(MAX_LIMIT));
        let list = client.audit_log(id, &page).await.map_err(|error| context.explain(error))?;
        entries.extend(list.entries);
        page.cursor = list.pagination.next_cursor.filter(|_| list.pagination.has_more);
        if page.cursor.is_none() || entries.len() >= wanted {
            break;
        }
    }
    lookup::show(context, &entries, "No entries", &["WHEN", "WHO", "ACTION", "TARGET", "FROM"], |one| {
        let who = one.actor.name.clone().unwrap_or_else(|| one.actor.r#type.to_string());
        let when = age::relative(one.created_at, context.environment.now_ms);
        vec![when, who, one.action.to_string(), one.target.clone(), one.ip.clone().unwrap_or_default()]
    })
}
