//! Connecting, migrating, adopting what is there, and what an absent database looks like.

use crate::support::*;
use ogel_api::{
    id::{OperationId, ProjectId, UserId},
    organizations::Role,
};
use ogel_store::{Store, StoreConfig, StoreError, User};
use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};
use uuid::Uuid;

on_both! {
    async fn migrating_again_changes_nothing(bench: Bench) {
        let person = bench.person().await;
        bench.store.migrate().await.unwrap();
        bench.another_store().await.migrate().await.unwrap();
        assert_eq!(bench.store.user(person.user.id).await.unwrap(), Some(person.user));
    }

    async fn the_database_answers_and_says_which_it_is(bench: Bench) {
        bench.store.ping().await.unwrap();
        assert_eq!(bench.store.kind(), if bench.file().is_some() { "sqlite" } else { "postgresql" });
    }

    async fn a_closed_store_is_unavailable(bench: Bench) {
        let store = bench.another_store().await;
        store.close().await;
        let error = store.ping().await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        let error = store.update_user(&due(0), UserId(id()), None, &any()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        bench.store.ping().await.unwrap();
    }

    async fn what_one_store_wrote_another_reads_at_once(bench: Bench) {
        let other = bench.another_store().await;
        for _ in 0..20 {
            let person = bench.person().await;
            assert!(other.user(person.user.id).await.unwrap().is_some());
        }
        other.close().await;
    }

    async fn many_writers_in_two_processes_all_succeed(bench: Bench) {
        let person = bench.person().await;
        let other = bench.another_store().await;
        let outcomes = at_once(50, |turn| {
            let store = if turn % 2 == 0 { bench.store.clone() } else { other.clone() };
            let organization = organization();
            let owner = person.user.id;
            async move { store.create_organization(&due(0), &organization, owner).await }
        })
        .await;
        for outcome in outcomes {
            outcome.unwrap().unwrap();
        }
        let page = bench.store.organizations(&person.viewer(), &first(100)).await.unwrap();
        assert_eq!(page.rows.len(), 51);
        other.close().await;
    }

    async fn a_write_that_cannot_be_committed_is_an_error(bench: Bench) {
        let person = bench.person().await;
        let made = bench.deployment_of(&person).await;
        // The constraint is looked at when the statement has already answered with its row.
        bench.raw("CREATE TABLE parents (id INTEGER PRIMARY KEY)").await;
        bench.raw(
            "CREATE TABLE children (parent INTEGER NOT NULL REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED)",
        ).await;
        if bench.file().is_some() {
            for (name, event) in [("d1", "INSERT ON deployments"), ("d2", "UPDATE ON deployments"),
                ("u1", "UPDATE ON users"),
                ("o1", "UPDATE ON organizations"), ("p1", "UPDATE ON projects"), ("g1", "INSERT ON ghost_accounts"), ("g2", "INSERT ON ogel_projects")] {
                bench.raw(&format!(
                    "CREATE TRIGGER {name} AFTER {event} BEGIN INSERT INTO children VALUES (1); END"
                )).await;
            }
        } else {
            bench.raw(
                "CREATE FUNCTION orphan() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN INSERT INTO children VALUES (1); RETURN NEW; END'",
            ).await;
            for event in ["INSERT OR UPDATE ON deployments", "UPDATE ON users", "UPDATE ON organizations", "UPDATE ON projects", "INSERT ON ghost_accounts",
                "INSERT ON ogel_projects"] {
                bench.raw(&format!("CREATE TRIGGER orphan AFTER {event} FOR EACH ROW EXECUTE FUNCTION orphan()")).await;
            }
        }
        let store = &bench.store;
        let step = ogel_store::Progress::to(ogel_api::deployments::DeploymentStatus::Success);
        assert!(store.create_deployment(&deployment(&person)).await.is_err());
        assert!(store.record_progress(made.id, &step, at(1)).await.is_err());
        assert!(store.request_cancel(&act(&person.user, 1), made.id, OperationId(id())).await.is_err());
        assert!(store.update_user(&due(1), person.user.id, Some("x"), &any()).await.is_err());
        let eyes = person.viewer();
        assert!(store.update_organization(&due(1), &eyes, person.organization.id, (Some("x"), None), at(100), &any()).await.is_err());
        assert!(store.update_project(&due(1), &eyes, person.project.id, (Some("x"), None), &any()).await.is_err());
        assert!(store.insert_ghost_account(person.user.id, "ghost", at(1)).await.is_err());
        assert!(store.insert_ghost_project(id(), person.project.id, "p", "k", at(1)).await.is_err());
        assert_eq!(store.deployment_for_follower(made.id).await.unwrap(), Some(made));
        assert_eq!(store.user(person.user.id).await.unwrap(), Some(person.user));
    }
}

#[tokio::test]
async fn five_may_migrate_a_new_postgres_database_at_once() {
    run(Bench::bare_postgres().await, |bench| async move {
        let mut stores = Vec::new();
        for _ in 0..5 {
            stores.push(bench.another_store().await);
        }
        let outcomes = at_once(5, |turn| {
            let store = stores[turn].clone();
            async move { store.migrate().await }
        })
        .await;
        for outcome in outcomes {
            outcome.unwrap();
        }
        bench.person().await;
        for store in stores {
            store.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn five_may_open_and_migrate_a_new_sqlite_file_at_once() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("studio.db").display());
        let stores = at_once(5, |_| {
            let config = config(&url);
            async move {
                let store = Store::connect(&config).await?;
                store.migrate().await?;
                Ok::<_, StoreError>(store)
            }
        })
        .await;
        for store in stores {
            let store = store.unwrap();
            assert_eq!(store.user(UserId(id())).await.unwrap(), None);
            store.close().await;
        }
    }
}

#[tokio::test]
async fn a_sqlite_file_is_its_owners_only() {
    run(Bench::sqlite().await, |bench| async move {
        bench.person().await;
        let file = bench.file().unwrap();
        let mut names = 0;
        for entry in std::fs::read_dir(file.parent().unwrap()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{:?}", entry.file_name());
            names += 1;
        }
        assert!(names >= 2, "the file and its log");
    })
    .await;
}

#[tokio::test]
async fn sqlite_in_memory_is_refused_and_leaves_no_file() {
    for url in ["sqlite::memory:", "sqlite:studio?mode=memory"] {
        assert!(matches!(Store::connect(&config(url)).await, Err(StoreError::Other(_))), "{url}");
    }
    let names: Vec<_> = std::fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("studio")), "{names:?}");
}

/// What Studio's database had before: people and their projects.
const EARLIER: &str = "CREATE SCHEMA platform; \
    CREATE TABLE platform.users (id uuid PRIMARY KEY, email text, name text, created_at timestamptz DEFAULT now()); \
    CREATE TABLE platform.projects (id uuid PRIMARY KEY, name text, user_id uuid); \
    INSERT INTO platform.users (id, email, name) VALUES \
      ('00000000-0000-7000-8000-000000000001', 'Ada@Example.test', 'Ada'), \
      ('00000000-0000-7000-8000-000000000002', 'grace@example.test', NULL); \
    INSERT INTO platform.users (id, email, created_at) VALUES \
      ('00000000-0000-7000-8000-000000000003', 'alan@example.test', NULL); \
    INSERT INTO platform.projects VALUES \
      ('00000000-0000-7000-8000-000000000011', 'Engine', '00000000-0000-7000-8000-000000000001'), \
      ('00000000-0000-7000-8000-000000000012', 'Engine', '00000000-0000-7000-8000-000000000001');";

#[tokio::test]
async fn a_postgres_database_with_people_and_projects_is_adopted() {
    run(Bench::bare_postgres().await, |bench| async move {
        bench.raw(EARLIER).await;
        bench.store.migrate().await.unwrap();

        for (number, email, name) in
            [(1, "ada@example.test", "Ada"), (2, "grace@example.test", ""), (3, "alan@example.test", "")]
        {
            let found = bench.store.user_by_email(email).await.unwrap().unwrap();
            assert_eq!(found.id, UserId(Uuid::from_u128(0x7000_8000_0000_0000_0000 | number)));
            assert_eq!((found.name.as_str(), found.password_hash.as_deref()), (name, None));
        }
        let twin = User { email: "ADA@example.test".to_owned(), ..user() };
        let error = bench.store.sign_up(&due(0), &twin, &organization(), None).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "users.email" }), "{error:?}");

        // New rows live beside the adopted ones, and adopted people can do all that others can.
        let person = bench.person().await;
        bench.deployment_of(&person).await;
        let ada = bench.store.user_by_email("ada@example.test").await.unwrap().unwrap();
        let mine = organization();
        bench.store.create_organization(&due(0), &mine, ada.id).await.unwrap().unwrap();
        bench.project_in(&mine).await;
        bench.store.update_user(&due(1), ada.id, Some("Lovelace"), &any()).await.unwrap().unwrap();

        // What was theirs is theirs: in an organization each has got.
        let eyes = ogel_store::Viewer { user: ada.id, organization: None, project: None };
        let adopted = bench.store.projects(&eyes, None, &first(10)).await.unwrap().rows;
        assert_eq!(adopted.iter().filter(|(project, _)| project.name == "Engine").count(), 3);
        assert!(adopted.iter().all(|(_, role)| *role == Role::Owner));
        assert!(bench.store.projects(&person.viewer(), None, &first(10)).await.unwrap().rows.len() == 1);

        // Whoever wrote there before may go on as they did.
        bench
            .raw(
                "INSERT INTO users (id, email) VALUES ('00000000-0000-7000-8000-000000000004', 'joan@example.test'); \
                 INSERT INTO projects (id, name) VALUES ('00000000-0000-7000-8000-000000000013', 'Late')",
            )
            .await;
        assert!(bench.store.user_by_email("joan@example.test").await.unwrap().is_some());
        let late = ProjectId(Uuid::from_u128(0x7000_8000_0000_0000_0013));
        assert_eq!(bench.store.project(&eyes, late).await.unwrap(), None, "it says not whose it is");
        bench.store.migrate().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_adopted_unique_email_does_not_stand_in_for_one_in_any_letter_case() {
    run(Bench::bare_postgres().await, |bench| async move {
        // The name PostgreSQL gives to the constraint is the name such an index gets by itself.
        bench
            .raw(
                "CREATE SCHEMA platform; \
             CREATE TABLE platform.users (id uuid PRIMARY KEY, email text UNIQUE, name text); \
             CREATE TABLE platform.projects (id uuid PRIMARY KEY, name text, slug text);",
            )
            .await;
        bench.store.migrate().await.unwrap();
        let person = bench.person().await;
        for email in [person.user.email.clone(), person.user.email.to_uppercase()] {
            let error =
                bench.store.sign_up(&due(0), &User { email, ..user() }, &organization(), None).await.unwrap_err();
            assert!(matches!(error, StoreError::Unique { what: "users.email" }), "{error:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_database_is_unavailable_in_time() {
    // Bound and not listened on: nobody else gets the port, and nobody answers.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for url in
        [format!("postgres://nobody@127.0.0.1:{port}/nothing"), "sqlite:/nonexistent/folder/studio.db".to_owned()]
    {
        let started = Instant::now();
        let config = StoreConfig { max_connections: 2, acquire_timeout: Duration::from_millis(300), ..config(&url) };
        let Err(error) = Store::connect(&config).await else { panic!("{} cannot be there", config.url) };
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_unavailable_in_time() {
    run(Bench::postgres().await, |bench| async move {
        let ada = bench.person().await;
        let store = bench.hasty_store().await;
        let held = bench.begin(&format!("UPDATE users SET name = 'held' WHERE id = '{}'", ada.user.id.0)).await;
        let started = Instant::now();
        let error = store.update_user(&due(1), ada.user.id, Some("Countess"), &any()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        held.commit().await;
        store.update_user(&due(1), ada.user.id, Some("Countess"), &any()).await.unwrap().unwrap();
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_gives_its_connection_back_and_ends_at_the_server() {
    run(Bench::postgres().await, |bench| async move {
        let ada = bench.person().await;
        let store = bench.narrow_store().await;
        let held = bench.begin("LOCK TABLE projects IN ACCESS EXCLUSIVE MODE").await;
        let viewer = ada.viewer();
        let read = tokio::time::timeout(Duration::from_millis(200), store.projects(&viewer, None, &first(10))).await;
        assert!(read.is_err(), "the table is locked");
        // The only connection, while what it ran still waits for the lock.
        let found = tokio::time::timeout(Duration::from_secs(2), store.user(ada.user.id)).await;
        assert_eq!(found.expect("the pool has a place again").unwrap(), Some(ada.user.clone()));
        let started = Instant::now();
        while bench.is_waiting_for_a_lock().await {
            assert!(started.elapsed() < Duration::from_secs(10), "the server still waits for the lock");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        held.commit().await;
        assert_eq!(store.projects(&viewer, None, &first(10)).await.unwrap().rows.len(), 1);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_database_that_went_away_is_unavailable() {
    let bench = Bench::postgres().await;
    let store = bench.another_store().await;
    store.ping().await.unwrap();
    // Takes the database away from under the connection.
    run(bench, |_| async {}).await;
    for _ in 0..2 {
        let error = store.ping().await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused() {
    for url in ["", "mysql://127.0.0.1/studio", "studio.db"] {
        assert!(matches!(Store::connect(&config(url)).await, Err(StoreError::Other(_))), "{url}");
    }
}

/// While replicas are replaced one after the other, those of before work on tables that a newer one has migrated. So migrations
/// only add, and what is added may be left out; what nobody uses any more goes a release later, with a line here that says so.
#[test]
fn migrations_take_nothing_away_from_replicas_of_before() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut seen = 0;
    for dialect in ["postgres", "sqlite"] {
        for file in std::fs::read_dir(folder.join(dialect)).unwrap() {
            let path = file.unwrap().path();
            // The first one makes everything, or takes over what a Studio has made.
            if path.file_name().unwrap().to_str().unwrap().starts_with("0001_") {
                continue;
            }
            seen += 1;
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let statement = line.split("--").next().unwrap().to_uppercase();
                let takes = [
                    "DROP TABLE",
                    "DROP COLUMN",
                    "DROP VIEW",
                    "DROP FUNCTION",
                    "DROP TRIGGER",
                    "RENAME ",
                    "ALTER COLUMN",
                ];
                let demands = statement.contains("ADD COLUMN")
                    && statement.contains("NOT NULL")
                    && !statement.contains("DEFAULT");
                let refuses = statement.contains("ADD CONSTRAINT");
                let breaks = takes.iter().any(|word| statement.contains(word)) || demands || refuses;
                assert!(!breaks, "{}: {line}", path.display());
            }
        }
    }
    assert!(seen >= 40, "only {seen} were found");
}
