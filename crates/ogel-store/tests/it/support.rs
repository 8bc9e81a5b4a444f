//! A fresh database for each case, people to fill it with, and `on_both!`, which makes two tests of each case.

use chrono::{DateTime, Utc};
use ogel_api::{
    auth::SessionKind,
    id::{ApiKeyId, BuildId, DeploymentId, OrganizationId, ProjectId, SessionId, UserId},
    organizations::Plan,
};
use ogel_store::{
    Act, Actor, ApiKey, Caps, Deployment, Expected, Hold, NewDeployment, Organization, Page, PageRequest, PlanChange,
    Project, Session, Store, StoreConfig, User, Viewer,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use std::{
    collections::HashSet,
    future::Future,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use uuid::Uuid;

/// Each `async fn` becomes a module with `on_sqlite` and `on_postgres`.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($bench:ident: Bench) $body:block)+) => { $(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn case($bench: Bench) $body

            #[tokio::test]
            async fn on_sqlite() {
                $crate::support::run($crate::support::Bench::sqlite().await, case).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                $crate::support::run($crate::support::Bench::postgres().await, case).await;
            }
        }
    )+ };
}
pub(crate) use on_both;

/// Runs the case, and takes the database away however it ended.
pub(crate) async fn run<F: Future<Output = ()> + Send + 'static>(bench: Bench, case: impl FnOnce(Bench) -> F) {
    let outcome = tokio::spawn(case(bench.clone())).await;
    bench.end().await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

#[derive(Clone)]
enum Place {
    Sqlite(Arc<tempfile::TempDir>),
    Postgres { server: String, name: String },
}

/// A database of the case's own, migrated unless it was made `bare`.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) store: Store,
    url: String,
    place: Place,
}

impl Bench {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("studio.db").display());
        let store = Store::connect(&config(&url)).await.unwrap();
        store.migrate().await.unwrap();
        Self { store, url, place: Place::Sqlite(Arc::new(folder)) }
    }

    pub(crate) async fn postgres() -> Self {
        let bench = Self::bare_postgres().await;
        bench.store.migrate().await.unwrap();
        bench
    }

    /// Without any tables, for what a database that is not ours looks like.
    pub(crate) async fn bare_postgres() -> Self {
        let server = postgres_url();
        let name = format!("ogel_store_{}_{}", std::process::id(), number());
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        let (before, _) = server.rsplit_once('/').unwrap();
        let url = format!("{before}/{name}");
        let store = Store::connect(&config(&url)).await.unwrap();
        Self { store, url, place: Place::Postgres { server, name } }
    }

    pub(crate) async fn end(self) {
        self.store.close().await;
        if let Place::Postgres { server, name } = &self.place {
            execute(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }

    /// Another process's view of the same database.
    pub(crate) async fn another_store(&self) -> Store {
        Store::connect(&config(&self.url)).await.unwrap()
    }

    /// One that has a single connection to read with.
    pub(crate) async fn narrow_store(&self) -> Store {
        Store::connect(&StoreConfig { max_connections: 1, ..config(&self.url) }).await.unwrap()
    }

    /// One whose statements may not take long.
    pub(crate) async fn hasty_store(&self) -> Store {
        let statement_timeout = Duration::from_millis(200);
        Store::connect(&StoreConfig { statement_timeout, ..config(&self.url) }).await.unwrap()
    }

    /// The same database with no more rights than `role` has.
    pub(crate) async fn store_as(&self, role: &str) -> Store {
        Store::connect(&config(&format!("{}?options=-crole%3D{role}", self.url))).await.unwrap()
    }

    /// Past the store, as somebody else's program would.
    pub(crate) async fn raw(&self, sql: &str) {
        let sql = match &self.place {
            Place::Postgres { .. } => format!("SET search_path = platform; {sql}"),
            Place::Sqlite(_) => sql.to_owned(),
        };
        execute(&self.url, &sql).await;
    }

    /// Like [`Self::raw`], with the transaction left open. PostgreSQL only.
    pub(crate) async fn begin(&self, sql: &str) -> Open {
        let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
        let sql = format!("SET search_path = platform; BEGIN; {sql}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        Open(connection)
    }

    /// Whether a statement in this database does. PostgreSQL only.
    pub(crate) async fn is_waiting_for_a_lock(&self) -> bool {
        let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock')";
        sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap()
    }

    /// A number from the database.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        if let Place::Sqlite(_) = &self.place {
            let options: sqlx::sqlite::SqliteConnectOptions = self.url.parse().unwrap();
            return sqlx::query_scalar(sql).fetch_one(&mut options.connect().await.unwrap()).await.unwrap();
        }
        let options: sqlx::postgres::PgConnectOptions = self.url.parse().unwrap();
        let mut connection = options.options([("search_path", "platform")]).connect().await.unwrap();
        let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    }

    /// Returns once so many statements wait for a lock, or `or` says so. PostgreSQL only.
    pub(crate) async fn until_waiting(&self, statements: i64, or: impl Fn() -> bool) {
        let sql =
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        for _ in 0..3000 {
            if or() || self.number(sql).await >= statements {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{statements} statements never waited");
    }

    /// The SQLite file; `None` on PostgreSQL.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Sqlite(folder) => Some(folder.path().join("studio.db")),
            Place::Postgres { .. } => None,
        }
    }

    /// Somebody with an organization and a project.
    pub(crate) async fn person(&self) -> Person {
        let user = user();
        let organization = organization();
        let project = project(&organization);
        self.store.sign_up(&act(&user, 0), &user, &organization, Some(&project)).await.unwrap().unwrap();
        Person { user, organization, project }
    }

    pub(crate) async fn organization_of(&self, person: &Person) -> Organization {
        let made = organization();
        self.store.create_organization(&act(&person.user, 0), &made, person.user.id).await.unwrap().unwrap();
        made
    }

    pub(crate) async fn project_in(&self, organization: &Organization) -> Project {
        let made = project(organization);
        self.store.create_project(&due(0), &made).await.unwrap().unwrap();
        made
    }

    /// Lets somebody belong to a person's organization.
    pub(crate) async fn join(&self, owner: &Person, guest: &Person, role: &str) {
        let (left, right) = if self.file().is_some() { ("x'", "'") } else { ("'", "'") };
        let (to, who) = (owner.organization.id.0.simple(), guest.user.id.0.simple());
        self.raw(&format!(
            "INSERT INTO organization_members (organization_id, user_id, role, created_at) \
             VALUES ({left}{to}{right}, {left}{who}{right}, '{role}', '{}')",
            at(0).to_rfc3339(),
        ))
        .await;
    }

    pub(crate) async fn deployment_of(&self, person: &Person) -> Deployment {
        self.store.create_deployment(&deployment(person)).await.unwrap()
    }
}

/// A transaction of another program.
pub(crate) struct Open(sqlx::PgConnection);

impl Open {
    pub(crate) async fn commit(mut self) {
        sqlx::raw_sql("COMMIT").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

pub(crate) fn config(url: &str) -> StoreConfig {
    let (acquire_timeout, statement_timeout) = (Duration::from_secs(30), Duration::from_secs(15));
    StoreConfig { url: url.to_owned(), max_connections: 5, acquire_timeout, statement_timeout, read_url: String::new() }
}

async fn execute(url: &str, sql: &str) {
    if url.starts_with("sqlite:") {
        let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "only whoever starts the tests knows where their PostgreSQL is")]
fn postgres_url() -> String {
    std::env::var("OGEL_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!("set OGEL_TEST_POSTGRES_URL, or run `cargo ci`, which starts a PostgreSQL of its own")
    })
}

pub(crate) struct Person {
    pub(crate) user: User,
    pub(crate) organization: Organization,
    pub(crate) project: Project,
}

impl Person {
    pub(crate) fn viewer(&self) -> Viewer {
        Viewer { user: self.user.id, organization: None, project: None }
    }

    pub(crate) fn bound_to_organization(&self, id: OrganizationId) -> Viewer {
        Viewer { organization: Some(id), ..self.viewer() }
    }

    pub(crate) fn bound_to_project(&self, id: ProjectId) -> Viewer {
        Viewer { project: Some(id), ..self.viewer() }
    }
}

fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A UUID nobody else has.
pub(crate) fn id() -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(number()))
}

/// A hash nobody else has.
pub(crate) fn hash() -> [u8; 32] {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&number().to_be_bytes());
    hash
}

/// A word nobody else has.
pub(crate) fn word() -> String {
    format!("w{}", number())
}

/// So many seconds after the tests' noon.
pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// Somebody's doing, so many seconds after noon.
pub(crate) fn act(user: &User, seconds: i64) -> Act {
    Act { actor: Actor::User(user.id), ..due(seconds) }
}

/// The platform's own doing.
pub(crate) fn due(seconds: i64) -> Act {
    // An act with several entries takes the ids after its own too.
    Act::by_the_system(Uuid::from_u128(id().as_u128() << 8), at(seconds))
}

/// The row that everybody may change.
pub(crate) fn any() -> Expected {
    Expected::any()
}

pub(crate) fn user() -> User {
    User {
        id: UserId(id()),
        email: format!("{}@example.test", word()),
        name: "Ada".to_owned(),
        password_hash: Some("$argon2id$".to_owned()),
        created_at: at(0),
        updated_at: at(0),
        row_version: 1,
    }
}

/// The person's organization changes to `plan`.
pub(crate) fn plan_change(person: &Person, plan: Plan, at: DateTime<Utc>) -> PlanChange {
    let act = Act { at, ..act(&person.user, 0) };
    PlanChange { id: id(), organization: person.organization.id, plan, act }
}

pub(crate) fn organization() -> Organization {
    Organization {
        id: OrganizationId(id()),
        name: "Analytical".to_owned(),
        slug: word(),
        plan: Plan::Free,
        created_at: at(0),
        updated_at: at(0),
        row_version: 1,
        deleted_at: None,
    }
}

pub(crate) fn project(organization: &Organization) -> Project {
    Project {
        id: ProjectId(id()),
        organization_id: organization.id,
        name: "Engine".to_owned(),
        slug: word(),
        created_at: at(0),
        updated_at: at(0),
        row_version: 1,
        deleted_at: None,
    }
}

pub(crate) fn deployment(person: &Person) -> NewDeployment {
    NewDeployment {
        id: DeploymentId(id()),
        project_id: person.project.id,
        build_id: BuildId(id()),
        repo_url: "https://example.test/engine.git".to_owned(),
        branch: "main".to_owned(),
        commit_sha: None,
        framework: None,
        root_directory: None,
        install_command: None,
        build_command: None,
        output_directory: None,
        env: None,
        tags: Vec::new(),
        redeploy_of: None,
        caps: Caps::default(),
        created_by: person.user.id,
        created_at: at(0),
        hold: hold(60),
        act: act(&person.user, 0),
        env_names: Vec::new(),
    }
}

/// A process that nobody else is, which takes jobs until `until`.
pub(crate) fn hold(until: i64) -> Hold {
    Hold { owner: id(), until: at(until) }
}

pub(crate) fn session(user: &User) -> Session {
    Session {
        id: SessionId(id()),
        user_id: user.id,
        token_hash: hash(),
        kind: SessionKind::Browser,
        client_id: None,
        scopes: None,
        ip: None,
        user_agent: None,
        created_at: at(0),
        expires_at: at(100),
        token_expires_at: None,
        last_seen_at: at(0),
    }
}

pub(crate) fn api_key(user: &User) -> ApiKey {
    ApiKey {
        id: ApiKeyId(id()),
        user_id: user.id,
        name: "ci".to_owned(),
        prefix: "ogel_abc".to_owned(),
        secret_hash: hash(),
        scopes: Vec::new(),
        project_id: None,
        organization_id: None,
        created_at: at(0),
        expires_at: None,
        last_used_at: None,
        last_used_ip: None,
        old_secret_hash: None,
        old_secret_expires_at: None,
    }
}

/// Somebody's eyes, narrowed to nothing.
pub(crate) fn eyes(user: &User) -> Viewer {
    Viewer { user: user.id, organization: None, project: None }
}

pub(crate) const IP: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

pub(crate) fn first(limit: u32) -> PageRequest {
    PageRequest { limit, after: None }
}

/// Turns the pages of `limit` rows until there are no more, and checks that `expected` came, each once, newest first.
pub(crate) async fn assert_pages<T, F>(
    expected: &[Uuid],
    limit: u32,
    key: impl Fn(&T) -> Uuid,
    page: impl Fn(PageRequest) -> F,
) where
    F: Future<Output = Result<Page<T>, ogel_store::StoreError>>,
{
    let mut seen = Vec::new();
    let mut request = first(limit);
    loop {
        let page = page(request).await.unwrap();
        seen.extend(page.rows.iter().map(&key));
        let Some(next) = page.next else { break };
        assert_eq!(page.rows.len(), limit as usize, "only the last page is short");
        request.after = Some(next);
    }
    assert!(seen.is_sorted_by(|earlier, later| earlier > later), "rows of the same time are ordered by their ids");
    let expected: HashSet<_> = expected.iter().copied().collect();
    assert_eq!(seen.len(), expected.len());
    assert_eq!(seen.into_iter().collect::<HashSet<_>>(), expected);
}

/// Runs `work` that often at the same time.
pub(crate) async fn at_once<T: Send + 'static, F>(times: usize, work: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let running: Vec<_> = (0..times).map(|turn| tokio::spawn(work(turn))).collect();
    let mut answers = Vec::new();
    for one in running {
        answers.push(one.await.unwrap());
    }
    answers
}
