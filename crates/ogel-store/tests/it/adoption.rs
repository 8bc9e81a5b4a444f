//! PostgreSQL databases of a Studio that was there before us, as they really look: few constraints, columns of their
//! own, and perhaps the founding document's two tables already.

use crate::support::*;
use ogel_api::{
    admin::Queue,
    deployments::DeploymentStatus,
    id::{DeploymentId, ProjectId, UserId},
    organizations::Role,
};
use ogel_store::{Progress, StoreError, Viewer};
use uuid::Uuid;

const ADA: &str = "00000000-0000-4000-8000-000000000001";
const ENGINE: &str = "00000000-0000-4000-8000-000000000011";
const ORPHAN: &str = "00000000-0000-4000-8000-000000000012";
const DEPLOYMENT: &str = "00000000-0000-4000-8000-000000000021";

const PEOPLE: &str = "CREATE SCHEMA platform; \
    CREATE TABLE platform.users (id uuid PRIMARY KEY, email text, name text, created_at timestamptz DEFAULT now()); \
    INSERT INTO platform.users (id, email, name) VALUES \
      ('00000000-0000-4000-8000-000000000001', 'ada@example.test', 'Ada');";

fn uuid(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap()
}

fn ada() -> Viewer {
    Viewer { user: UserId(uuid(ADA)), organization: None, project: None }
}

#[tokio::test]
async fn adopted_people_own_their_projects_even_without_a_primary_key() {
    run(Bench::bare_postgres().await, |bench| async move {
        bench
            .raw(&format!(
                "{PEOPLE} CREATE TABLE platform.projects (id uuid, name text, user_id uuid); \
                 INSERT INTO platform.projects VALUES ('{ENGINE}', 'Engine', '{ADA}'), ('{ORPHAN}', NULL, NULL);"
            ))
            .await;
        bench.store.migrate().await.unwrap();

        let mine = bench.store.projects(&ada(), None, &first(10)).await.unwrap().rows;
        let [(project, Role::Owner)] = mine.as_slice() else { panic!("{mine:?}") };
        assert_eq!((project.id, project.name.as_str()), (ProjectId(uuid(ENGINE)), "Engine"));
        let homes = bench.store.organizations(&ada(), &first(10)).await.unwrap().rows;
        assert_eq!(homes.len(), 1);
        assert_eq!((homes[0].0.id, homes[0].0.name.as_str()), (project.organization_id, "Ada"));
        assert!(homes[0].0.slug.len() <= 48, "a slug that the API would accept, too");
        // Nobody's project is there, and is seen by nobody.
        assert_eq!(bench.store.project(&ada(), ProjectId(uuid(ORPHAN))).await.unwrap(), None);
        bench.raw(&format!("DO $$ BEGIN ASSERT (SELECT count(*) FROM projects WHERE id = '{ORPHAN}') = 1; END $$")).await;

        // The Studio goes on as before: what it inserts, it may still insert.
        bench
            .raw(
                "INSERT INTO users (id, email, name) VALUES ('00000000-0000-4000-8000-000000000002', NULL, NULL); \
                 INSERT INTO projects (id, name, user_id) VALUES ('00000000-0000-4000-8000-000000000013', 'New', NULL);",
            )
            .await;
        let newcomer = UserId(uuid("00000000-0000-4000-8000-000000000002"));
        assert_eq!(bench.store.user(newcomer).await.unwrap().unwrap().name, "");
    })
    .await;
}

#[tokio::test]
async fn columns_only_the_earlier_studio_knows_are_not_in_our_way() {
    run(Bench::bare_postgres().await, |bench| async move {
        bench
            .raw(
                "CREATE SCHEMA platform; \
                 CREATE TABLE platform.users (id uuid PRIMARY KEY, email varchar(320) NOT NULL UNIQUE, \
                   display text NOT NULL, created_at timestamptz NOT NULL DEFAULT now()); \
                 CREATE TABLE platform.projects (id uuid PRIMARY KEY, name text NOT NULL, \
                   user_id uuid NOT NULL REFERENCES platform.users(id));",
            )
            .await;
        bench.store.migrate().await.unwrap();
        let person = bench.person().await;
        assert_eq!(bench.store.user(person.user.id).await.unwrap(), Some(person.user.clone()));
        bench.deployment_of(&person).await;
    })
    .await;
}

#[tokio::test]
async fn the_founding_documents_own_tables_are_adopted_with_their_rows() {
    run(Bench::bare_postgres().await, |bench| async move {
        bench
            .raw(&format!(
                "{PEOPLE} CREATE TABLE platform.projects (id uuid PRIMARY KEY, name text, user_id uuid); \
                 CREATE TABLE platform.ogel_projects ( \
                   id UUID PRIMARY KEY DEFAULT gen_random_uuid(), \
                   project_id UUID NOT NULL REFERENCES platform.projects(id) ON DELETE CASCADE, \
                   ogel_project_id VARCHAR(255) NOT NULL, ogel_api_key TEXT NOT NULL, \
                   created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(), updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(), \
                   UNIQUE(project_id), UNIQUE(ogel_project_id)); \
                 CREATE TABLE platform.deployments ( \
                   id UUID PRIMARY KEY DEFAULT gen_random_uuid(), \
                   project_id UUID NOT NULL REFERENCES platform.projects(id) ON DELETE CASCADE, \
                   ogel_deployment_id VARCHAR(255) NOT NULL, repo_url TEXT NOT NULL, branch VARCHAR(255) NOT NULL, \
                   commit_sha VARCHAR(40), status VARCHAR(50) NOT NULL, preview_url TEXT, \
                   created_by UUID REFERENCES platform.users(id), \
                   created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(), completed_at TIMESTAMPTZ, UNIQUE(ogel_deployment_id)); \
                 CREATE INDEX idx_deployments_project ON platform.deployments(project_id); \
                 CREATE INDEX idx_deployments_status ON platform.deployments(status); \
                 INSERT INTO platform.projects VALUES ('{ENGINE}', 'Engine', '{ADA}'); \
                 INSERT INTO platform.ogel_projects (project_id, ogel_project_id, ogel_api_key) \
                   VALUES ('{ENGINE}', 'theirs', 'sealed'); \
                 INSERT INTO platform.deployments (id, project_id, ogel_deployment_id, repo_url, branch, status, created_by) \
                   VALUES ('{DEPLOYMENT}', '{ENGINE}', 'old', 'https://example.test/e.git', 'main', 'building', '{ADA}');"
            ))
            .await;
        bench.store.migrate().await.unwrap();

        let id = DeploymentId(uuid(DEPLOYMENT));
        let (row, _) = bench.store.deployment(&ada(), id).await.unwrap().unwrap();
        assert_eq!((row.status, row.ogel_deployment_id.as_str()), (DeploymentStatus::Building, "old"));
        assert!(row.tags.is_empty() && row.submitted_at.is_some(), "Ghost has had it from the start");
        assert_eq!(bench.store.deployment_by_build(&ada(), row.build_id).await.unwrap().unwrap().0, row);
        let done = bench.store.record_progress(id, &Progress::to(DeploymentStatus::Success), at(1)).await.unwrap();
        assert_eq!(done.unwrap().status, DeploymentStatus::Success);
        let mapping = bench.store.ghost_project(ProjectId(uuid(ENGINE))).await.unwrap().unwrap();
        assert_eq!((mapping.ogel_project_id.as_str(), mapping.ogel_api_key.as_str()), ("theirs", "sealed"));
        // It may go on writing the document's columns only.
        bench
            .raw(&format!(
                "INSERT INTO deployments (project_id, ogel_deployment_id, repo_url, branch, status) \
                 VALUES ('{ENGINE}', 'newer', 'https://example.test/e.git', 'main', 'pending')"
            ))
            .await;
        assert_eq!(bench.store.enqueue_unfinished(at(2), 10).await.unwrap(), 1, "the old one has a job from its adoption");
        let jobs = bench.store.take_due(Queue::Deployments, hold(60), at(2), 10).await.unwrap();
        let newer = jobs.iter().find(|job| job.id != id.0).unwrap();
        let row = bench.store.deployment_for_follower(DeploymentId(newer.id)).await.unwrap().unwrap();
        assert!(row.submitted_at.is_some(), "not to be submitted a second time");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_adopted_is_refused_whole_and_by_name() {
    run(Bench::bare_postgres().await, |bench| async move {
        bench
            .raw(
                "CREATE SCHEMA platform; \
                 CREATE TABLE platform.users (id text PRIMARY KEY, email text, created_at timestamp DEFAULT now());",
            )
            .await;
        let error = bench.store.migrate().await.unwrap_err();
        let StoreError::Other(source) = &error else { panic!("{error:?}") };
        let said = source.to_string();
        assert!(said.contains("platform.users.id is text") && said.contains("platform.users.created_at"), "{said}");
        bench.raw("DO $$ BEGIN ASSERT to_regclass('platform.projects') IS NULL; END $$").await;
    })
    .await;
}

#[tokio::test]
async fn a_role_that_may_not_make_schemas_migrates_one_that_is_there() {
    run(Bench::bare_postgres().await, |bench| async move {
        let role = format!("r{}", id().simple());
        bench
            .raw(&format!(
                "CREATE ROLE {role}; CREATE SCHEMA platform AUTHORIZATION {role}; \
                 DO $$ BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM PUBLIC', current_database()); END $$;"
            ))
            .await;
        let migrated = {
            let store = bench.store_as(&role).await;
            let migrated = store.migrate().await;
            store.close().await;
            migrated
        };
        bench
            .raw(&format!(
                "DO $$ BEGIN ASSERT (SELECT tableowner FROM pg_tables WHERE schemaname = 'platform' AND tablename = 'users') = '{role}'; END $$"
            ))
            .await;
        bench.raw(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
        migrated.unwrap();
    })
    .await;
}
