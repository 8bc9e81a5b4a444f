//! Studio's database behind one concrete [`Store`]: SQLite (embedded default) and PostgreSQL.
//!
//! SQL stands only here, one text for both databases. Refuses HTTP and wire types: callers get rows and [`StoreError`].
//! Time and ids always come in as arguments. Reads and writes of what belongs to somebody take a [`Viewer`].
//!
//! # Layout
//! - `pool.rs`: connecting, migrating, `on_read!`/`on_write!`; `reading.rs`: reads that nobody waits for; `viewer.rs`: who may see what; `page.rs`: keyset pages
//! - `words.rs`: columns to fields; `error.rs`: what can go wrong
//! - one file per noun

mod accounts;
mod api_keys;
mod audit;
mod budgets;
mod build_logs;
mod change;
mod daily;
mod deployments;
mod device_logins;
mod error;
mod events;
mod ghost;
mod ghost_events;
mod idempotency;
mod identity_changes;
mod invitations;
mod invoices;
mod limits;
mod mails;
mod members;
mod object_changes;
mod objects;
mod operations;
mod organizations;
mod page;
mod pool;
mod production;
mod projects;
mod reading;
mod reconciliation;
mod sealed;
mod sessions;
mod statements;
mod studio;
mod studio_database;
mod subscriptions;
mod usage;
mod users;
mod viewer;
mod webhooks;
mod words;
mod work;

pub use accounts::Membership;
pub use api_keys::{ApiKey, KeyChange, KeyUse, NextSecret};
pub use audit::{Act, Actor, AuditFilter, AuditRecord, Entry};
pub use budgets::{Budget, BudgetAlert, Owner};
pub use build_logs::{BuildLog, LogChunk};
pub use change::{Expected, Outcome, Refusal};
pub use daily::DailyCount;
pub use deployments::{Caps, Deployment, DeploymentFilter, NewDeployment, Progress};
pub use device_logins::{DeviceLogin, DeviceStatus, NextTokens, Poll, Refreshed};
pub use error::{Cap, StoreError};
pub use events::DeploymentEvent;
pub use ghost::GhostProject;
pub use idempotency::{Begin, IdempotentUse, KeptAnswer, KeyHold};
pub use identity_changes::{IdentityFeed, IdentityNews};
pub use invitations::{Invitation, NewInvitation, Resent};
pub use invoices::{Billable, Invoice, InvoiceLine, PaymentChange, PaymentOutcome};
pub use limits::LimitOverride;
pub use mails::Mail;
pub use members::Member;
pub use object_changes::{ObjectChange, ObjectOutcome, ObjectStep};
pub use objects::{GhostObject, ObjectKind};
pub use operations::{Ending, NewOperation, Operation};
pub use organizations::Organization;
pub use page::{Page, PageRequest};
pub use pool::{Store, StoreConfig, from_primary};
pub use production::Promotion;
pub use projects::{Project, Purge};
pub use reconciliation::{Compared, Comparison, Finding};
pub use sealed::{SealedColumn, SealedId, SealedRow};
pub use sessions::{Session, SessionUse};
pub use statements::{Statement, StatementLog};
pub use studio_database::{StudioDatabase, StudioRow, StudioTables};
pub use subscriptions::{PlanChange, PlanSpan};
pub use usage::{UsageSum, Used, hour_of};
pub use users::User;
pub use viewer::Viewer;
pub use webhooks::{Attempt, Attempted, NewDelivery, OutboxEvent, Verdict, Webhook, WebhookChange, WebhookDelivery};
pub(crate) use webhooks::{Emission, EmissionScope};
pub use work::{Hold, Job, NewJob, QueueFigures};

type Result<T, E = StoreError> = std::result::Result<T, E>;
