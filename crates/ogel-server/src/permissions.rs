//! Who may do what: one row per operation. Handlers ask it (`rule::UPDATE_PROJECT.permit(role)?`), `GET
//! organizations/{id}/roles` and docs/permissions.md show it, and `tests/it/authorization.rs` tries every row.

use crate::error::Failure;
use ogel_api::{
    error::{Error, ErrorCode},
    organizations::{Role, RoleDescription, RoleList},
};
use std::fmt::Write as _;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub operation: &'static str,
    /// The least role that may.
    pub role: Role,
}

macro_rules! rules {
    ($($name:ident = $operation:literal, $role:ident;)+) => {
        /// The rows by name.
        pub mod rule {
            use super::{Role, Rule};
            $(pub const $name: Rule = Rule { operation: $operation, role: Role::$role };)+
        }

        /// All of it, in the order it is shown.
        pub const RULES: &[Rule] = &[$(rule::$name),+];
    };
}

rules! {
    GET_ORGANIZATION = "get_organization", Viewer;
    LIST_MEMBERS = "list_members", Viewer;
    GET_MEMBER = "get_member", Viewer;
    LIST_ROLES = "list_roles", Viewer;
    UPDATE_ORGANIZATION = "update_organization", Admin;
    GET_AUDIT_LOG = "get_audit_log", Admin;
    UPDATE_MEMBER = "update_member", Admin;
    REMOVE_MEMBER = "remove_member", Admin;
    GET_BILLING = "get_billing", Admin;
    GET_SUBSCRIPTION = "get_subscription", Admin;
    PREVIEW_SUBSCRIPTION = "preview_subscription", Admin;
    GET_USAGE = "get_usage", Admin;
    LIST_INVOICES = "list_invoices", Admin;
    GET_INVOICE = "get_invoice", Admin;
    GET_BUDGET = "get_budget", Admin;
    SET_BUDGET = "set_budget", Owner;
    DELETE_BUDGET = "delete_budget", Owner;
    CHANGE_SUBSCRIPTION = "change_subscription", Owner;
    CREATE_PORTAL_SESSION = "create_portal_session", Owner;
    LIST_INVITATIONS = "list_invitations", Admin;
    CREATE_INVITATION = "create_invitation", Admin;
    RESEND_INVITATION = "resend_invitation", Admin;
    REVOKE_INVITATION = "revoke_invitation", Admin;
    DELETE_ORGANIZATION = "delete_organization", Owner;
    RESTORE_ORGANIZATION = "restore_organization", Owner;
    GET_PROJECT = "get_project", Viewer;
    CREATE_PROJECT = "create_project", Developer;
    UPDATE_PROJECT = "update_project", Developer;
    DELETE_PROJECT = "delete_project", Admin;
    RESTORE_PROJECT = "restore_project", Admin;
    TRANSFER_PROJECT = "transfer_project", Admin;
    CREATE_DEPLOYMENT = "create_deployment", Developer;
    REDEPLOY_DEPLOYMENT = "redeploy_deployment", Developer;
    CANCEL_DEPLOYMENT = "cancel_deployment", Developer;
    DELETE_DEPLOYMENT = "delete_deployment", Developer;
    PROMOTE_DEPLOYMENT = "promote_deployment", Developer;
    CREATE_WEBHOOK = "create_webhook", Admin;
    DELETE_WEBHOOK = "delete_webhook", Admin;
    GET_WEBHOOK = "get_webhook", Developer;
    GET_WEBHOOK_DELIVERY = "get_webhook_delivery", Developer;
    LIST_WEBHOOK_DELIVERIES = "list_webhook_deliveries", Developer;
    LIST_WEBHOOKS = "list_webhooks", Developer;
    REDELIVER_WEBHOOK_DELIVERY = "redeliver_webhook_delivery", Admin;
    ROTATE_WEBHOOK_SECRET = "rotate_webhook_secret", Admin;
    TEST_WEBHOOK = "test_webhook", Admin;
    UPDATE_WEBHOOK = "update_webhook", Admin;
    CREATE_SITE = "create_site", Developer;
    UPDATE_SITE = "update_site", Developer;
    DELETE_SITE = "delete_site", Developer;
    CREATE_DOMAIN = "create_domain", Developer;
    UPDATE_DOMAIN = "update_domain", Developer;
    VERIFY_DOMAIN = "verify_domain", Developer;
    DELETE_DOMAIN = "delete_domain", Developer;
}

fn rank(role: Role) -> u8 {
    match role {
        Role::Owner => 3,
        Role::Admin => 2,
        Role::Developer => 1,
        Role::Viewer | Role::Unrecognized => 0,
    }
}

impl Rule {
    pub fn allows(self, held: Role) -> bool {
        rank(held) >= rank(self.role)
    }

    /// 403 unless `held` is enough. For things the caller can see: those they cannot are 404 before this.
    pub(crate) fn permit(self, held: Role) -> Result<(), Failure> {
        if self.allows(held) {
            return Ok(());
        }
        let needed = self.role;
        let message = format!(
            "this takes the role `{needed}`, and you are `{held}`; an owner of the organization can change that"
        );
        Err(Error::new(ErrorCode::Forbidden, message).into())
    }
}

fn description(role: Role) -> &'static str {
    match role {
        Role::Owner => "everything, deleting the organization and making owners included",
        Role::Admin => "everything but deleting the organization, and what only owners may do to owners",
        Role::Developer => "projects and deployments",
        Role::Viewer | Role::Unrecognized => "look, but not change",
    }
}

/// What `GET organizations/{id}/roles` says.
pub(crate) fn roles() -> RoleList {
    let role = |role: &Role| RoleDescription {
        role: *role,
        description: description(*role).to_owned(),
        operations: RULES.iter().filter(|rule| rule.allows(*role)).map(|rule| rule.operation.to_owned()).collect(),
    };
    RoleList { roles: Role::ALL.iter().map(role).collect() }
}

/// docs/permissions.md.
pub fn page() -> String {
    let mut page = String::from(
        "# Permissions\n\nMade by `ogeld permissions`; do not edit. What a member of an organization may do, by role. Who is no \
         member gets 404. An API key may do what its person may, within its scopes.\n\n",
    );
    for role in Role::ALL {
        let _ = writeln!(page, "- `{role}`: {}", description(*role));
    }
    page.push_str("\n| operation |");
    for role in Role::ALL {
        let _ = write!(page, " {role} |");
    }
    page.push_str("\n|---|---|---|---|---|\n");
    for rule in RULES {
        let _ = write!(page, "| `{}` |", rule.operation);
        for role in Role::ALL {
            page.push_str(if rule.allows(*role) { " yes |" } else { " – |" });
        }
        page.push('\n');
    }
    page
}
