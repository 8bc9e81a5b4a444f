//! Whose eyes a query looks through. Every statement about organizations, projects or deployments that is made for
//! somebody holds one of these conditions itself: there is no moment between looking and doing in which a membership
//! could end. What the viewer may not see does not exist for them.

use ogel_api::id::{OrganizationId, ProjectId, UserId};

/// A person, narrowed to one organization or project where their API key is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Viewer {
    pub user: UserId,
    pub organization: Option<OrganizationId>,
    pub project: Option<ProjectId>,
}

/// Joins the viewer's membership `m` to `projects`. The viewer is `$1`, `$2` and `$3`. What is deleted is seen by none.
macro_rules! sees_project {
    () => {
        concat!($crate::viewer::sees_any_project!(), " AND projects.deleted_at IS NULL ")
    };
}

/// The same, and deleted ones too.
macro_rules! sees_any_project {
    () => {
        " JOIN organization_members m ON m.organization_id = projects.organization_id AND m.user_id = $1 \
         AND ($2 IS NULL OR projects.organization_id = $2) AND ($3 IS NULL OR projects.id = $3) "
    };
}

/// Joins the viewer's membership `m` to `organizations`. A key bound to a project sees that project's only. What is
/// deleted is seen by none.
macro_rules! sees_organization {
    () => {
        concat!($crate::viewer::sees_any_organization!(), " AND organizations.deleted_at IS NULL ")
    };
}

/// The same, and deleted ones too.
macro_rules! sees_any_organization {
    () => {
        " JOIN organization_members m ON m.organization_id = organizations.id AND m.user_id = $1 \
         AND ($2 IS NULL OR organizations.id = $2) \
         AND ($3 IS NULL OR EXISTS (SELECT 1 FROM projects p WHERE p.id = $3 AND p.organization_id = organizations.id)) "
    };
}

/// Binds `$1`, `$2` and `$3`.
macro_rules! seen_by {
    ($query:expr, $viewer:expr) => {
        $query.bind($viewer.user.0).bind($viewer.organization.map(|id| id.0)).bind($viewer.project.map(|id| id.0))
    };
}
pub(crate) use {seen_by, sees_any_organization, sees_any_project, sees_organization, sees_project};
