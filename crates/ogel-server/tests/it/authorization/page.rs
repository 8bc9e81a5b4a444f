//! docs/authorization.md: what everybody was answered, as one table.

use super::cases::Open;
use std::{fmt::Write as _, path::Path};

/// Who tries, weakest first. Who has a role has it in the organization that the thing named belongs to.
pub(super) const COLUMNS: [&str; 10] = [
    "anonymous",
    "expired session",
    "revoked session",
    "key without the scope",
    "key of another project",
    "stranger",
    "viewer",
    "developer",
    "admin",
    "owner",
];

/// One operation's.
pub(super) struct Row {
    operation: &'static str,
    scope: &'static str,
    statuses: Vec<u16>,
}

impl Row {
    pub(super) fn of(operation: &'static str, scope: &'static str) -> Self {
        Self { operation, scope, statuses: Vec::new() }
    }

    pub(super) fn push(&mut self, status: u16) {
        self.statuses.push(status);
    }
}

const HEAD: &str = "# Authorization\n\n\
    Made by `tests/it/authorization.rs` of `ogel-server`, which asks the running service for each cell; do not edit. `OGEL_BLESS=1 cargo test \
    --workspace --locked --test it -- authorization` writes it anew.\n\n\
    What each caller gets for each operation on the things of one organization, tried with a sound request. 401: log in. 403: a role or a \
    scope is missing. 404: there is no such thing, or it is not the caller's to know of. Anything else means that the caller is let in: \
    409, 400 and 429 are the operation's own answers in this set-up. `viewer` to `owner` are members with that role; the key without the \
    scope is the owner's with every other scope (with one scope where none is needed), the key of another project the owner's with all \
    of them. What has no thing in its path is done to the caller's own account.\n\n";

fn render(rows: &[Row], open: &[Open]) -> String {
    let mut page = HEAD.to_owned();
    let _ = writeln!(page, "| operation | scope | {} |", COLUMNS.join(" | "));
    let _ = writeln!(page, "|---|---|{}", "---|".repeat(COLUMNS.len()));
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|row| row.operation);
    for row in rows {
        let scope = if row.scope.is_empty() { "–".to_owned() } else { format!("`{}`", row.scope) };
        let statuses: Vec<_> = row.statuses.iter().map(u16::to_string).collect();
        let _ = writeln!(page, "| `{}` | {scope} | {} |", row.operation, statuses.join(" | "));
    }
    page.push_str(
        "\nThese take no caller: everybody may call them, and a credential that does not hold is no hindrance. `issue_token` was tried \
         with a token that proves nothing, `receive_stripe_event` where no signing secret is set.\n\n| operation | why |\n|---|---|\n",
    );
    for Open { operation, why, .. } in open {
        let _ = writeln!(page, "| `{operation}` | {why} |");
    }
    page
}

/// Fails unless the page in the repository says the same.
pub(super) fn keep(rows: &[Row], open: &[Open]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/authorization.md");
    let page = render(rows, open);
    if std::env::var_os("OGEL_BLESS").is_some() {
        std::fs::write(&path, page).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let stale = page.lines().filter(|line| !kept.lines().any(|known| known == *line));
    let stale = stale.collect::<Vec<_>>().join("\n");
    assert!(page == kept, "docs/authorization.md is stale; write it anew with `OGEL_BLESS=1`. What is new:\n{stale}");
}
