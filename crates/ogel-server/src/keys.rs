//! `ogeld keys`: which key seals what, and everything sealed anew with the first one while servers go on.
//!
//! [`SEALED`] is the one list of columns that hold sealed values; a test reads the whole database and fails when there is
//! one more. Each value is opened and sealed under the same context, one statement each, and not at all when it has
//! changed meanwhile: there is nothing to lock, stopping loses nothing, and starting again goes on.

use crate::{
    config::{Config, ConfigError},
    pipeline,
    resources::deployments,
    run::{self, Doing as _, StartError},
    secrets::{SealError, Sealer},
    world::{Entropy, World},
};
use ogel_api::id::{DeploymentId, ProjectId, WebhookId};
use ogel_store::{SealedColumn, SealedId, Store, StoreError};
use std::{collections::BTreeMap, fmt::Write as _};
use uuid::Uuid;

/// A column of sealed values, and what each is bound to.
pub(crate) struct Sealed {
    pub(crate) column: SealedColumn,
    context: fn(&SealedId) -> String,
}

impl Sealed {
    /// Texts in rows that a UUID names.
    const fn new(
        table: &'static str,
        id: &'static str,
        column: &'static str,
        context: fn(&SealedId) -> String,
    ) -> Self {
        Self { column: SealedColumn::new(table, id, column), context }
    }
}

/// Every sealed value there is. A new kind is a row here.
pub(crate) const SEALED: &[Sealed] = &[
    Sealed::new("ogel_projects", "project_id", "ogel_api_key", |id| crate::bridge::key_context(ProjectId(uuid(id)))),
    Sealed::new("deployments", "id", "env", |id| deployments::env_context(DeploymentId(uuid(id)))),
    Sealed::new("webhooks", "id", "secret", |id| crate::hooks::deliver::secret_context(WebhookId(uuid(id)))),
    Sealed::new("webhooks", "id", "previous_secret", |id| crate::hooks::deliver::secret_context(WebhookId(uuid(id)))),
    Sealed::new("mails", "id", "sealed_text", |id| crate::mail::context(uuid(id))),
    Sealed {
        column: SealedColumn::of_hashes("idempotency_keys", "scope_hash", "body"),
        context: |id| match id {
            SealedId::Hash(hash) => pipeline::answer_context(hash),
            SealedId::Uuid(_) => String::new(),
        },
    },
];

/// The columns of [`SEALED`].
pub fn columns() -> impl Iterator<Item = &'static SealedColumn> {
    SEALED.iter().map(|sealed| &sealed.column)
}

fn uuid(id: &SealedId) -> Uuid {
    match id {
        SealedId::Uuid(id) => *id,
        SealedId::Hash(_) => Uuid::nil(),
    }
}

/// Why keys cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot use `secrets.encryption_key` and the keys beside it")]
    Keys(#[from] SealError),
    #[error("the database failed; what is sealed anew stays so, run it again")]
    Store(#[from] StoreError),
}

/// What became of one column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    pub table: &'static str,
    pub column: &'static str,
    /// Sealed anew.
    pub resealed: u64,
    /// What none of the keys opens, at the end.
    pub unreadable: u64,
    /// What was sealed with another key meanwhile: a server still does.
    pub remaining: u64,
}

/// Rows read at a time.
const BATCH: u32 = 200;
/// Looks at a column until nothing new shows up, but not for ever.
const MOST_PASSES: u32 = 10;

/// Seals everything anew that the first key did not seal.
pub async fn rotate(store: &Store, sealer: &Sealer) -> Result<Vec<Rotated>, StoreError> {
    let mut report = Vec::new();
    for sealed in SEALED {
        report.push(rotate_column(store, sealer, sealed).await?);
    }
    Ok(report)
}

async fn rotate_column(store: &Store, sealer: &Sealer, sealed: &Sealed) -> Result<Rotated, StoreError> {
    let (column, prefix) = (&sealed.column, sealer.prefix());
    let mut report = Rotated { table: column.table, column: column.column, ..Rotated::default() };
    for _ in 0..MOST_PASSES {
        let (mut after, mut unreadable, mut seen) = (None, 0, 0);
        loop {
            let rows = store.sealed_otherwise(column, &prefix, after.as_ref(), BATCH).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id.clone());
            for row in &rows {
                seen += 1;
                let context = (sealed.context)(&row.id);
                let anew = sealer.open(&context, &row.value).and_then(|plain| sealer.seal(&context, &plain));
                match anew {
                    Ok(anew) => report.resealed += u64::from(store.reseal(column, row, &anew).await?),
                    Err(error) => {
                        unreadable += 1;
                        tracing::warn!(%error, table = column.table, column = column.column, "a sealed value cannot be read");
                    }
                }
            }
        }
        (report.unreadable, report.remaining) = (unreadable, seen - unreadable);
        if report.remaining == 0 {
            break;
        }
    }
    Ok(report)
}

/// The keys and the database that `config` names.
async fn open(config: &Config) -> Result<(Store, Sealer), KeysError> {
    let sealer = sealer(config)?;
    let store = run::open_store(config).await?;
    store.migrate().await.doing("cannot migrate the database")?;
    Ok((store, sealer))
}

/// What `config` seals and opens with.
pub(crate) fn sealer(config: &Config) -> Result<Sealer, KeysError> {
    let keys = config.secrets.keys()?;
    Ok(Sealer::new(keys.iter().map(crate::config::Secret::expose), World::system().entropy)?)
}

/// `ogeld keys new`
pub fn new() -> String {
    Sealer::new_key(&Entropy::System) + "\n"
}

/// `ogeld keys list`: a line per key, with how much it has sealed; never a key itself.
pub async fn list(config: &Config) -> Result<String, KeysError> {
    let (store, sealer) = open(config).await?;
    let ids = sealer.key_ids();
    let mut counts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Sealed { column, .. } in SEALED {
        for (prefix, count) in store.count_sealed(column).await? {
            let id = prefix.strip_prefix("v1.").and_then(|rest| rest.strip_suffix('.')).unwrap_or("(not sealed)");
            let line = format!("{count} in {}.{}", column.table, column.column);
            counts.entry(id.to_owned()).or_default().push(line);
        }
    }
    store.close().await;
    let mut page = String::new();
    for (place, id) in ids.iter().enumerate() {
        let role = if place == 0 { "seals" } else { "opens" };
        let held = counts.remove(id).unwrap_or_else(|| vec!["nothing".to_owned()]);
        let _ = writeln!(page, "{id}  {role}    {}", held.join(", "));
    }
    for (id, held) in counts {
        let _ = writeln!(page, "{id}  MISSING  {}", held.join(", "));
    }
    Ok(page)
}

/// `ogeld keys rotate`: what was done, and whether all of it could be.
pub async fn rotate_all(config: &Config) -> Result<(String, bool), KeysError> {
    let (store, sealer) = open(config).await?;
    let report = rotate(&store, &sealer).await?;
    store.close().await;
    let mut page = String::new();
    for row in &report {
        let Rotated { table, column, resealed, unreadable, remaining } = row;
        let _ =
            writeln!(page, "{table}.{column}: {resealed} sealed anew, {unreadable} unreadable, {remaining} remaining");
    }
    let is_done = report.iter().all(|row| row.unreadable == 0 && row.remaining == 0);
    let _ = match is_done {
        true => writeln!(page, "everything is sealed with {}", sealer.key_ids()[0]),
        false => writeln!(
            page,
            "not everything: give every server the new key first, keep the old ones behind it, run this again"
        ),
    };
    Ok((page, is_done))
}
