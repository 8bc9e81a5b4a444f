//! Studio's sessions as rows of its database, in the shapes that its adapters give them.

use super::{COOKIE, with_cookie};
use http::Method;
use ogel_server::config::{Config, Secret, StudioSessions};
use ogel_testkit::{Api, Database, TestApp, eventually};
use serde_json::json;

/// How one adapter's tables look, on one database.
struct Shape {
    adapter: &'static str,
    schema: &'static str,
    users: &'static str,
    sessions: &'static str,
    tables: &'static [&'static str],
    /// A time, in seconds since 1970, as the adapter writes it.
    time: fn(i64) -> String,
    /// Somebody's id.
    id: fn(u32) -> String,
}

fn rfc3339(seconds: i64) -> String {
    chrono::DateTime::from_timestamp(seconds, 0).unwrap().to_rfc3339()
}

const PRISMA_PG: Shape = Shape {
    adapter: "prisma",
    schema: "public",
    users: r#"public."User""#,
    sessions: r#"public."Session""#,
    tables: &[
        r#"CREATE TABLE public."User" (id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE, "emailVerified" TIMESTAMP(3), image TEXT)"#,
        r#"CREATE TABLE public."Session" (id TEXT PRIMARY KEY DEFAULT gen_random_uuid()::text, "sessionToken" TEXT UNIQUE NOT NULL, "userId" TEXT NOT NULL, expires TIMESTAMP(3) NOT NULL)"#,
    ],
    // Without a zone: UTC, whatever the server's zone is.
    time: |at| format!("'{}'", chrono::DateTime::from_timestamp(at, 0).unwrap().format("%Y-%m-%d %H:%M:%S")),
    id: |n| format!("'cuid{n}'"),
};
const PG: Shape = Shape {
    adapter: "pg",
    schema: "public",
    users: "public.users",
    sessions: "public.sessions",
    tables: &[
        r#"CREATE TABLE public.users (id SERIAL PRIMARY KEY, name VARCHAR(255), email VARCHAR(255), "emailVerified" TIMESTAMPTZ, image TEXT)"#,
        r#"CREATE TABLE public.sessions (id SERIAL PRIMARY KEY, "userId" INTEGER NOT NULL, expires TIMESTAMPTZ NOT NULL, "sessionToken" VARCHAR(255) NOT NULL)"#,
    ],
    time: |at| format!("'{}'", rfc3339(at)),
    id: |n| n.to_string(),
};
const DRIZZLE_PG: Shape = Shape {
    adapter: "drizzle",
    users: r#"public."user""#,
    sessions: "public.session",
    tables: &[
        r#"CREATE TABLE public."user" (id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE, "emailVerified" TIMESTAMP, image TEXT)"#,
        r#"CREATE TABLE public.session ("sessionToken" TEXT PRIMARY KEY, "userId" TEXT NOT NULL, expires TIMESTAMP NOT NULL)"#,
    ],
    ..PRISMA_PG
};
const DRIZZLE_SQLITE: Shape = Shape {
    adapter: "drizzle",
    schema: "public",
    users: r#""user""#,
    sessions: "session",
    tables: &[
        r#"CREATE TABLE "user" (id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE, "emailVerified" INTEGER, image TEXT)"#,
        r#"CREATE TABLE session ("sessionToken" TEXT PRIMARY KEY, "userId" TEXT NOT NULL, expires INTEGER NOT NULL)"#,
    ],
    time: |at| (at * 1000).to_string(),
    id: |n| format!("'cuid{n}'"),
};
const PRISMA_SQLITE: Shape = Shape {
    adapter: "prisma",
    users: r#""User""#,
    sessions: r#""Session""#,
    tables: &[
        r#"CREATE TABLE "User" (id TEXT PRIMARY KEY, name TEXT, email TEXT UNIQUE, "emailVerified" DATETIME, image TEXT)"#,
        r#"CREATE TABLE "Session" (id INTEGER PRIMARY KEY, "sessionToken" TEXT UNIQUE NOT NULL, "userId" TEXT NOT NULL, expires DATETIME NOT NULL)"#,
    ],
    time: |at| format!("'{}'", rfc3339(at)),
    ..DRIZZLE_SQLITE
};

impl Shape {
    async fn add_user(&self, app: &TestApp, n: u32, email: &str, verified: bool) {
        let verified = if verified { (self.time)(1_700_000_000) } else { "NULL".to_owned() };
        let (users, id) = (self.users, (self.id)(n));
        let sql = format!(
            r#"INSERT INTO {users} (id, name, email, "emailVerified") VALUES ({id}, 'At Studio', '{email}', {verified})"#
        );
        app.at_database(&sql).await;
    }

    async fn add_session(&self, app: &TestApp, n: u32, token: &str, seconds: i64) {
        let expires = (self.time)(app.app.world.now().timestamp() + seconds);
        let (sessions, id) = (self.sessions, (self.id)(n));
        let sql = format!(
            r#"INSERT INTO {sessions} ("sessionToken", "userId", expires) VALUES ('{token}', {id}, {expires})"#
        );
        app.at_database(&sql).await;
    }
}

/// The service again, with sessions from rows.
async fn with_rows(app: TestApp, shape: &Shape, change: impl FnOnce(&mut StudioSessions)) -> TestApp {
    for table in shape.tables {
        app.at_database(table).await;
    }
    let mut config = Config::clone(&app.app.config());
    config.studio_sessions.strategy = "database".to_owned();
    config.studio_sessions.unknown_users = "create".to_owned();
    config.studio_sessions.schema = shape.schema.to_owned();
    change(&mut config.studio_sessions);
    assert_eq!(app.app.reconfigure(config), ["studio_sessions.strategy and its database"]);
    app.restart().await
}

async fn logged_in_by_rows(database: Database, shape: &Shape) {
    let app = TestApp::start(database).await;
    let app = with_rows(app, shape, |_| {}).await;
    let found = app.app.studio_database.as_ref().unwrap().report().to_owned();
    assert!(found.starts_with(shape.adapter), "{found}");
    shape.add_user(&app, 1, "ada@example.com", true).await;
    shape.add_user(&app, 2, "eve@example.com", false).await;
    shape.add_session(&app, 1, "5f0c1a-one", 3600).await;
    shape.add_session(&app, 1, "5f0c1a-two", 3600).await;
    shape.add_session(&app, 1, "5f0c1a-over", -1).await;
    shape.add_session(&app, 2, "5f0c1a-eve", 3600).await;
    let cookie = |token: &str| format!("__Secure-authjs.session-token={token}");

    let session = with_cookie(&app, "/auth/session", &cookie("5f0c1a-one")).await.expect(200);
    assert_eq!((&session["method"], &session["user"]["email"]), (&json!("studioSession"), &json!("ada@example.com")));
    let ends = chrono::DateTime::parse_from_rfc3339(session["expiresAt"].as_str().unwrap()).unwrap();
    assert_eq!(ends.timestamp(), app.app.world.now().timestamp() + 3600);
    with_cookie(&app, "/users/me", &format!("{COOKIE}=5f0c1a-two")).await.expect(200);
    with_cookie(&app, "/users/me", &cookie("5f0c1a-over")).await.expect_error(401, "CREDENTIAL_EXPIRED");
    with_cookie(&app, "/users/me", &cookie("5f0c1a-none")).await.expect_error(401, "INVALID_CREDENTIAL");
    with_cookie(&app, "/users/me", &cookie("5f0c1a%00")).await.expect_error(401, "INVALID_CREDENTIAL");
    with_cookie(&app, "/users/me", &cookie("5f0c1a-eve")).await.expect_error(403, "ACCOUNT_NOT_LINKED");
    // Rows are for cookies only.
    app.anonymous().with_token(Some("5f0c1a-one")).get("/users/me").await.expect_error(401, "INVALID_CREDENTIAL");

    // Logged out here, at once, although Studio's row stays; then everywhere.
    let by_cookie = |method: Method, path: &str, token: &str| {
        let anonymous = app.anonymous();
        let request =
            anonymous.request(method, path).header("cookie", cookie(token)).header("sec-fetch-site", "same-origin");
        async move { anonymous.send(request).await }
    };
    by_cookie(Method::POST, "/auth/logout", "5f0c1a-one").await.expect(204);
    with_cookie(&app, "/users/me", &cookie("5f0c1a-one")).await.expect_error(401, "INVALID_CREDENTIAL");
    shape.add_session(&app, 1, "5f0c1a-three", 3600).await;
    by_cookie(Method::POST, "/users/me/sessions/revoke-all", "5f0c1a-three").await.expect(204);
    for token in ["5f0c1a-one", "5f0c1a-two", "5f0c1a-three"] {
        with_cookie(&app, "/users/me", &cookie(token)).await.expect_error(401, "INVALID_CREDENTIAL");
    }
    shape.add_session(&app, 1, "5f0c1a-later", 3600).await;
    with_cookie(&app, "/users/me", &cookie("5f0c1a-later")).await.expect(200);
    // Studio ends it by removing the row.
    app.at_database(&format!("DELETE FROM {}", shape.sessions)).await;
    eventually("the row is missed", || async {
        (with_cookie(&app, "/users/me", &cookie("5f0c1a-later")).await.status == 401).then_some(())
    })
    .await;
    app.stop().await;
}

/// Rows do not say when they began, so none is proof that it is still the person; and each is ended by itself.
async fn a_deleted_person_does_not_come_back_by_a_row(database: Database, shape: &Shape) {
    let app = with_rows(TestApp::start(database).await, shape, |_| {}).await;
    shape.add_user(&app, 1, "ada@example.com", true).await;
    for token in ["r0w-one", "r0w-two"] {
        shape.add_session(&app, 1, token, 3600).await;
    }
    let cookie = |token: &str| format!("{COOKIE}={token}");
    let id = with_cookie(&app, "/users/me", &cookie("r0w-one")).await.expect(200)["id"].clone();
    let anonymous = app.anonymous();
    let by_cookie = |method: Method, path: &str| {
        let request = anonymous.request(method, path).header("cookie", cookie("r0w-one"));
        request.header("sec-fetch-site", "same-origin")
    };
    anonymous.send(by_cookie(Method::DELETE, "/users/me")).await.expect_error(403, "REAUTHENTICATION_REQUIRED");
    // A login of a program has a beginning.
    let form = async |path: &str, pairs: &[(&str, &str)]| crate::device_login::form(&anonymous, path, pairs).await;
    let started = form("/auth/device/code", &[]).await.expect(200);
    let code = json!({ "userCode": started["user_code"] });
    anonymous.send(by_cookie(Method::POST, "/auth/device/approve").json(&code)).await.expect(204);
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let code = started["device_code"].as_str().unwrap();
    let tokens = form("/auth/token", &[grant, ("device_code", code)]).await.expect(200);
    anonymous.with_token(tokens["access_token"].as_str()).delete("/users/me").await.expect(204);

    for token in ["r0w-one", "r0w-two"] {
        with_cookie(&app, "/users/me", &cookie(token)).await.expect_error(401, "INVALID_CREDENTIAL");
    }
    assert_eq!(app.columns().await["studio_identities.subject"], Vec::<String>::new());
    shape.add_session(&app, 1, "r0w-three", 3600).await;
    let anew = with_cookie(&app, "/users/me", &cookie("r0w-three")).await.expect(200);
    assert_ne!(anew["id"], id);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_person_does_not_come_back_by_a_row_on_sqlite() {
    a_deleted_person_does_not_come_back_by_a_row(Database::Sqlite, &DRIZZLE_SQLITE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_person_does_not_come_back_by_a_row_on_postgres() {
    a_deleted_person_does_not_come_back_by_a_row(Database::Postgres, &PG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_prismas_adapter_log_in_on_postgres() {
    logged_in_by_rows(Database::Postgres, &PRISMA_PG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_adapter_pg_log_in() {
    logged_in_by_rows(Database::Postgres, &PG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_drizzles_adapter_log_in_on_postgres() {
    logged_in_by_rows(Database::Postgres, &DRIZZLE_PG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_drizzles_adapter_log_in_on_sqlite() {
    logged_in_by_rows(Database::Sqlite, &DRIZZLE_SQLITE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_prismas_adapter_log_in_on_sqlite() {
    logged_in_by_rows(Database::Sqlite, &PRISMA_SQLITE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_may_have_any_names_and_be_elsewhere() {
    let elsewhere = TestApp::start(Database::Postgres).await;
    let tables = [
        r#"CREATE SCHEMA "studio's""#,
        r#"CREATE TABLE "studio's".people (uid UUID PRIMARY KEY, mail TEXT, confirmed BOOLEAN)"#,
        r#"CREATE TABLE "studio's"."log-ins" (secret TEXT PRIMARY KEY, person UUID NOT NULL, until TIMESTAMPTZ NOT NULL)"#,
    ];
    for table in tables {
        elsewhere.at_database(table).await;
    }
    let app = TestApp::start_with(Database::Sqlite, |config| {
        let studio = &mut config.studio_sessions;
        studio.strategy = "database".to_owned();
        studio.adapter = "pg".to_owned();
        studio.database_url = Secret::new(elsewhere.app.config().database.url.expose());
        for (setting, name) in [
            (&mut studio.schema, "studio's"),
            (&mut studio.sessions_table, "log-ins"),
            (&mut studio.session_token_column, "secret"),
            (&mut studio.session_user_column, "person"),
            (&mut studio.session_expires_column, "until"),
            (&mut studio.users_table, "people"),
            (&mut studio.user_id_column, "uid"),
            (&mut studio.user_email_column, "mail"),
            (&mut studio.user_verified_column, "confirmed"),
        ] {
            *setting = name.to_owned();
        }
    })
    .await;
    // The same id here and there: no address is needed.
    let ada = app.sign_up("ada").await;
    let id = super::uuid_of(&ada).await;
    elsewhere.at_database(&format!(r#"INSERT INTO "studio's".people VALUES ('{id}', NULL, false)"#)).await;
    let session = format!(r#"INSERT INTO "studio's"."log-ins" VALUES ('t0ken', '{id}', now() + interval '1 hour')"#);
    elsewhere.at_database(&session).await;
    let me: Api = app.anonymous();
    let answer = me.send(me.request(Method::GET, "/users/me").header("cookie", format!("{COOKIE}=t0ken"))).await;
    assert_eq!(answer.expect(200)["email"], "ada@example.com");
    app.stop().await;
    elsewhere.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said_at_the_start() {
    let app = TestApp::start(Database::Postgres).await;
    app.at_database(r#"CREATE TABLE public."Session" (id TEXT)"#).await;
    let config = app.app.config();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ogeld"))
        .arg("serve")
        .env("DATABASE_URL", config.database.url.expose())
        .env("OGEL_GHOST_API_URL", &config.ghost.url)
        .env("OGEL_GHOST_API_KEY", config.ghost.api_key.expose())
        .env("OGEL_ENCRYPTION_KEY", config.secrets.encryption_key.expose())
        .env("OGEL_STUDIO_SESSIONS", "database")
        .env("OGEL_STUDIO_ADAPTER", "prisma")
        .env("OGEL_LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for part in ["(`studio_sessions`)", "`Session`.`sessionToken`", "`User`.`id`", "tables that are: Session"] {
        assert!(said.contains(part), "{said}");
    }
    app.stop().await;
}
