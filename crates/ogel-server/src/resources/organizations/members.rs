//! Who belongs to an organization, and as what.

use super::{refuse_project_key, visible};
use crate::{
    caller::{Allowed, scope},
    error::Result,
    extract::{Json, NoParameters, Path, PathPair, Query, Versioned, invalid_field},
    permissions::{self, rule},
    pipeline::IfMatch,
    resources::shared::{self, Paged, refused},
    state::App,
};
use axum::{extract::State, http::StatusCode};
use ogel_api::{
    error::{Error, ErrorCode},
    id::{IdError, OrganizationId, UserId},
    organizations::{Member, MemberList, Role, RoleList, UpdateMember},
};
use std::str::FromStr;

fn wire(row: &ogel_store::Member) -> Member {
    Member {
        user_id: row.user_id,
        name: row.name.clone(),
        email: row.email.clone(),
        role: row.role,
        joined_at: row.created_at.into(),
    }
}

/// How a path names a member.
pub(super) enum MemberRef {
    Id(UserId),
    Me,
}

impl FromStr for MemberRef {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "me" { Ok(Self::Me) } else { text.parse().map(Self::Id) }
    }
}

impl MemberRef {
    fn id(&self, caller: &crate::caller::Caller) -> UserId {
        match self {
            Self::Id(id) => *id,
            Self::Me => caller.user.id,
        }
    }
}

/// A role a caller may name.
pub(super) fn known(role: Role) -> Result<Role> {
    if role != Role::Unrecognized {
        return Ok(role);
    }
    let words = Role::ALL.iter().map(|role| role.as_str()).collect::<Vec<_>>().join("`, `");
    let message = format!("`role` takes one of `{words}`");
    Err(invalid_field(ErrorCode::InvalidValue, "body.role", &message, None))
}

/// The members of an organization, newest first.
#[utoipa::path(get, path = "/organizations/{id}/members", operation_id = "list_members", tag = "organizations",
    params(("id" = OrganizationId, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = MemberList)), security(("bearer" = [])))]
pub(super) async fn list_members(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsRead>,
    Path(id): Path<OrganizationId>,
    Query(Paged(query)): Query<Paged>,
) -> Result<Json<MemberList>> {
    let viewer = &caller.caller.viewer;
    let (_, role) = visible(&app, viewer, id).await?;
    rule::LIST_MEMBERS.permit(role)?;
    refuse_project_key(viewer)?;
    let page = app.store.members(viewer, id, &query.request("")?).await?;
    let pagination = shared::pagination(&page, "");
    Ok(Json(MemberList { members: page.rows.iter().map(wire).collect(), pagination }))
}

/// One member; `me` is the caller.
#[utoipa::path(get, path = "/organizations/{id}/members/{user}", operation_id = "get_member", tag = "organizations",
    params(("id" = OrganizationId, Path), ("user" = String, Path, description = "A user id, or `me`")),
    responses((status = 200, body = Member)), security(("bearer" = [])))]
pub(super) async fn get_member(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsRead>,
    PathPair(id, user): PathPair<OrganizationId, MemberRef>,
    _: Query<NoParameters>,
) -> Result<Versioned<Member>> {
    let viewer = &caller.caller.viewer;
    let (_, role) = visible(&app, viewer, id).await?;
    rule::GET_MEMBER.permit(role)?;
    refuse_project_key(viewer)?;
    let user = user.id(&caller.caller);
    let row = app.store.member(viewer, id, user).await?.ok_or_else(|| Error::not_found("member", user))?;
    Ok(Versioned(row.row_version, wire(&row)))
}

/// Gives a member another role. Takes the role admin; only owners make owners or change one. The last owner stays one:
/// 409 `LAST_OWNER`.
#[utoipa::path(patch, path = "/organizations/{id}/members/{user}", operation_id = "update_member", tag = "organizations",
    params(("id" = OrganizationId, Path), ("user" = String, Path, description = "A user id, or `me`"),
        ("If-Match" = Option<String>, Header)),
    request_body = UpdateMember, responses((status = 200, body = Member)), security(("bearer" = [])))]
pub(super) async fn update_member(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    PathPair(id, user): PathPair<OrganizationId, MemberRef>,
    IfMatch(expected): IfMatch,
    Json(body): Json<UpdateMember>,
) -> Result<Versioned<Member>> {
    let viewer = &caller.caller.viewer;
    let (_, role) = visible(&app, viewer, id).await?;
    rule::UPDATE_MEMBER.permit(role)?;
    refuse_project_key(viewer)?;
    let (user, to) = (user.id(&caller.caller), known(body.role)?);
    let may = |mine, theirs| {
        rule::UPDATE_MEMBER.allows(mine) && (mine == Role::Owner || ![theirs, to].contains(&Role::Owner))
    };
    let outcome = app.store.change_role(&caller.act(&app), viewer, id, (user, to), &expected, may).await?;
    let row = outcome.map_err(|refusal| refused(refusal, "member", user))?;
    app.callers.forget(user);
    Ok(Versioned(row.row_version, wire(&row)))
}

/// Ends a membership, and with it the member's keys for this organization. Everybody may leave (`me`); to remove others takes
/// the role admin, and owners are removed by owners only. The last owner stays: 409 `LAST_OWNER`.
#[utoipa::path(delete, path = "/organizations/{id}/members/{user}", operation_id = "remove_member", tag = "organizations",
    params(("id" = OrganizationId, Path), ("user" = String, Path, description = "A user id, or `me`"),
        ("If-Match" = Option<String>, Header)),
    responses((status = 204, description = "Removed")), security(("bearer" = [])))]
pub(super) async fn remove_member(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsWrite>,
    PathPair(id, user): PathPair<OrganizationId, MemberRef>,
    IfMatch(expected): IfMatch,
    _: Query<NoParameters>,
) -> Result<StatusCode> {
    let viewer = &caller.caller.viewer;
    let (_, role) = visible(&app, viewer, id).await?;
    refuse_project_key(viewer)?;
    let user = user.id(&caller.caller);
    let leaves = user == viewer.user;
    if !leaves {
        rule::REMOVE_MEMBER.permit(role)?;
    }
    let may =
        |mine, theirs| leaves || rule::REMOVE_MEMBER.allows(mine) && (mine == Role::Owner || theirs != Role::Owner);
    let outcome = app.store.remove_member(&caller.act(&app), viewer, id, user, &expected, may).await?;
    outcome.map_err(|refusal| refused(refusal, "member", user))?;
    app.callers.forget(user);
    Ok(StatusCode::NO_CONTENT)
}

/// The roles there are, and which operations each allows.
#[utoipa::path(get, path = "/organizations/{id}/roles", operation_id = "list_roles", tag = "organizations",
    params(("id" = OrganizationId, Path)), responses((status = 200, body = RoleList)), security(("bearer" = [])))]
pub(super) async fn list_roles(
    State(app): State<App>,
    caller: Allowed<scope::OrganizationsRead>,
    Path(id): Path<OrganizationId>,
    _: Query<NoParameters>,
) -> Result<Json<RoleList>> {
    let (_, role) = visible(&app, &caller.caller.viewer, id).await?;
    rule::LIST_ROLES.permit(role)?;
    Ok(Json(permissions::roles()))
}
