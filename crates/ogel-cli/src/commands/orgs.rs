//! `ogel orgs`, `ogel members`, `ogel invite`, `ogel audit-log`: organizations and who belongs to them.

use crate::{
    Context, Result, age,
    args::{AuditLogArgs, InviteCommand, MembersArgs, MembersCommand, OrgsCommand},
    failure::Failure,
    lookup, table,
};
use ogel_api::{
    id::{InvitationId, OrganizationId},
    organizations::{NewInvitation, NewOrganization, Organization, Role, UpdateMember},
    page::MAX_LIMIT,
};
use ogel_client::{Client, PageQuery};
use serde_json::json;

/// Longer lists are what `ogel api` is for.
const PAGE: PageQuery = PageQuery { cursor: None, limit: Some(MAX_LIMIT) };

pub(crate) async fn orgs(context: &Context, command: OrgsCommand) -> Result {
    let client = context.client()?;
    match command {
        OrgsCommand::List => {
            let list = client.list_organizations(&PAGE).await.map_err(|error| context.explain(error))?.organizations;
            if context.output.json {
                return context.output.json(&list);
            }
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|one| {
                    vec![
                        one.slug.clone(),
                        one.name.clone(),
                        one.role.to_string(),
                        one.plan.to_string(),
                        one.id.to_string(),
                    ]
                })
                .collect();
            context.output.data(&table::render(&["SLUG", "NAME", "ROLE", "PLAN", "ID"], &rows))
        }
        OrgsCommand::Create { name, slug } => {
            let new = NewOrganization { name, slug };
            let made = client.create_organization(&new).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("Created organization {}", made.slug));
            one(context, &made)
        }
        OrgsCommand::Delete { organization } => {
            let id = lookup::organization(context, &client, &organization).await?;
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
            let list = client.list_members(id, &PAGE).await.map_err(|error| context.explain(error))?.members;
            if context.output.json {
                return context.output.json(&list);
            }
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|one| {
                    let joined = age::relative(one.joined_at, context.environment.now_ms);
                    vec![one.email.clone(), one.name.clone(), one.role.to_string(), joined, one.user_id.to_string()]
                })
                .collect();
            context.output.data(&table::render(&["EMAIL", "NAME", "ROLE", "JOINED", "ID"], &rows))
        }
        MembersCommand::Role { member, role: word } => {
            let (user, change) = (member_id(context, &client, id, &member).await?, UpdateMember { role: role(&word)? });
            let changed = client.update_member(id, &user, &change).await.map_err(|error| context.explain(error))?;
            context.output.note(&format!("{} is {} now", changed.email, changed.role));
            if context.output.json { context.output.json(&changed) } else { Ok(()) }
        }
        MembersCommand::Remove { member } => {
            let user = member_id(context, &client, id, &member).await?;
            client.remove_member(id, &user).await.map_err(|error| context.explain(error))?;
            context.output.note("Removed");
            done(context, &user)
        }
        MembersCommand::Leave => {
            client.remove_member(id, "me").await.map_err(|error| context.explain(error))?;
            context.output.note("You do not belong to it any more");
            done(context, "me")
        }
    }
}

/// People write addresses, the API takes ids.
async fn member_id(context: &Context, client: &Client, id: OrganizationId, member: &str) -> Result<String> {
    if !member.contains('@') {
        return Ok(member.to_owned());
    }
    let list = client.list_members(id, &PAGE).await.map_err(|error| context.explain(error))?.members;
    let found = list.iter().find(|one| one.email.eq_ignore_ascii_case(member));
    let found = found.map(|one| one.user_id.to_string());
    found.ok_or_else(|| {
        Failure::usage(format!("no member has the address `{member}`")).hint("`ogel members list` shows them")
    })
}

pub(crate) async fn invite(context: &Context, organization: Option<&str>, command: InviteCommand) -> Result {
    let client = context.client()?;
    if let InviteCommand::Accept { token } = &command {
        let joined = client.accept_invitation(token).await.map_err(|error| context.explain(error))?;
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
            let list = client.list_invitations(id, &PAGE).await.map_err(|error| context.explain(error))?.invitations;
            if context.output.json {
                return context.output.json(&list);
            }
            let rows: Vec<Vec<String>> = list
                .iter()
                .map(|one| {
                    let until = one.expires_at.to_string();
                    vec![one.email.clone(), one.role.to_string(), one.mail.to_string(), until, one.id.to_string()]
                })
                .collect();
            context.output.data(&table::render(&["EMAIL", "ROLE", "MAIL", "UNTIL", "ID"], &rows))
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
    let page = PageQuery { cursor: None, limit: Some(args.limit) };
    let entries = client.audit_log(id, &page).await.map_err(|error| context.explain(error))?.entries;
    if context.output.json {
        return context.output.json(&entries);
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|one| {
            let who = one.actor.name.clone().unwrap_or_else(|| one.actor.r#type.to_string());
            let when = age::relative(one.created_at, context.environment.now_ms);
            vec![when, who, one.action.to_string(), one.target.clone(), one.ip.clone().unwrap_or_default()]
        })
        .collect();
    context.output.data(&table::render(&["WHEN", "WHO", "ACTION", "TARGET", "FROM"], &rows))
}
