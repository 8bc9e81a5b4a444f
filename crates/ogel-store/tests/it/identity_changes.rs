//! The feed that tells processes what to forget: every change that counts is in it, by whomever it was made.

use crate::support::*;
use ogel_api::organizations::Plan;
use ogel_store::{IdentityFeed, IdentityNews, KeyUse, Purge, SessionUse, Store};
use uuid::Uuid;

const NOTHING: [Uuid; 0] = [];

async fn subjects(feed: &mut IdentityFeed) -> Vec<Uuid> {
    let news = feed.look().await.unwrap();
    let IdentityNews::Subjects(mut subjects) = news else { panic!("{news:?}") };
    subjects.sort();
    subjects.dedup();
    subjects
}

async fn at_the_end(store: &Store) -> IdentityFeed {
    let mut feed = store.identity_feed();
    assert_eq!(feed.look().await.unwrap(), IdentityNews::Everything, "who begins knows nothing");
    feed
}

fn hex(id: Uuid, bench: &Bench) -> String {
    if bench.file().is_some() { format!("x'{}'", id.simple()) } else { format!("'{id}'") }
}

on_both! {
    async fn every_change_to_who_may_do_what_names_its_subject_once(bench: Bench) {
        let (ada, eve) = (bench.person().await, bench.person().await);
        let store = &bench.store;
        let (session, key) = (session(&ada.user), api_key(&ada.user));
        store.create_session(&due(0), &session).await.unwrap();
        store.create_api_key(&due(0), &key).await.unwrap();
        let feed = &mut at_the_end(&bench.another_store().await).await;
        let (me, other) = (ada.user.id.0, eve.user.id.0);
        assert_eq!(subjects(feed).await, NOTHING);

        store.update_user(&due(1), ada.user.id, Some("Countess"), &any()).await.unwrap().unwrap();
        assert_eq!(subjects(feed).await, [me]);
        assert_eq!(subjects(feed).await, NOTHING, "told once");
        store.change_plan(&plan_change(&ada, Plan::Pro, at(1))).await.unwrap();
        assert_eq!(subjects(feed).await, [me]);
        store.update_project(&due(1), &ada.viewer(), ada.project.id, (Some("Difference"), None), &any()).await.unwrap().unwrap();
        assert_eq!(subjects(feed).await, [ada.project.id.0]);

        let (organization, eves) = (hex(ada.organization.id.0, &bench), hex(other, &bench));
        let member = format!("organization_id = {organization} AND user_id = {eves}");
        bench.raw(&format!("INSERT INTO organization_members (organization_id, user_id, role, created_at) \
                            VALUES ({organization}, {eves}, 'viewer', '2026-01-01T00:00:00+00:00')")).await;
        assert_eq!(subjects(feed).await, [other]);
        bench.raw(&format!("UPDATE organization_members SET role = 'admin' WHERE {member}")).await;
        assert_eq!(subjects(feed).await, [other]);
        bench.raw(&format!("DELETE FROM organization_members WHERE {member}")).await;
        assert_eq!(subjects(feed).await, [other]);

        bench.raw(&format!("UPDATE api_keys SET scopes = 'sites.read' WHERE id = {}", hex(key.id.0, &bench))).await;
        assert_eq!(subjects(feed).await, [me]);
        store.delete_api_key(&due(0), &eyes(&ada.user), key.id).await.unwrap();
        assert_eq!(subjects(feed).await, [me]);
        store.delete_session(&due(0), session.id, ada.user.id).await.unwrap();
        assert_eq!(subjects(feed).await, [me]);

        let mut gone = [me, ada.project.id.0];
        gone.sort();
        store.create_api_key(&due(0), &ogel_store::ApiKey { project_id: Some(ada.project.id), ..api_key(&ada.user) }).await.unwrap();
        store.delete_project(&due(5), &ada.viewer(), ada.project.id, &any()).await.unwrap().unwrap();
        assert_eq!(subjects(feed).await, [ada.project.id.0]);
        assert_eq!(store.begin_purge(ada.project.id, at(6), at(6)).await.unwrap(), Purge::Begun);
        store.purge_project(&due(6), ada.project.id).await.unwrap().unwrap();
        assert_eq!(subjects(feed).await, gone, "the key bound to it goes with it");
        store.create_session(&due(0), &crate::support::session(&ada.user)).await.unwrap();
        bench.raw(&format!("DELETE FROM users WHERE id = {}", hex(me, &bench))).await;
        assert_eq!(subjects(feed).await, [me]);
    }

    async fn noting_that_a_credential_was_used_is_no_change(bench: Bench) {
        let ada = bench.person().await;
        let (session, key) = (session(&ada.user), api_key(&ada.user));
        bench.store.create_session(&due(0), &session).await.unwrap();
        bench.store.create_api_key(&due(0), &key).await.unwrap();
        let feed = &mut at_the_end(&bench.store).await;
        let used = SessionUse { id: session.id, at: at(5), ip: IP, expires_at: at(500) };
        bench.store.touch_sessions(&[used]).await.unwrap();
        bench.store.touch_api_keys(&[KeyUse { id: key.id, at: at(5), ip: IP }]).await.unwrap();
        bench.store.update_user(&due(5), ada.user.id, None, &any()).await.unwrap().unwrap();
        bench.store.change_plan(&plan_change(&ada, Plan::Free, at(5))).await.unwrap();
        assert_eq!(subjects(feed).await, NOTHING);
        feed.close().await;
    }

    async fn who_missed_too_much_forgets_everything(bench: Bench) {
        let feed = &mut at_the_end(&bench.store).await;
        let many = (0..2001).map(|_| format!("({})", hex(id(), &bench))).collect::<Vec<_>>().join(", ");
        bench.raw(&format!("INSERT INTO identity_changes (subject) VALUES {many}")).await;
        assert_eq!(feed.look().await.unwrap(), IdentityNews::Everything);
        assert_eq!(subjects(feed).await, NOTHING, "told once");
        bench.raw("INSERT INTO identity_changes (subject) VALUES (NULL)").await;
        assert_eq!(feed.look().await.unwrap(), IdentityNews::Everything);
        // What all have seen is removed, and nobody takes that for news.
        let long_after = chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap();
        assert_eq!(bench.store.delete_identity_changes(long_after, 1000).await.unwrap(), 1000);
        assert_eq!(subjects(feed).await, NOTHING);
        let ada = bench.person().await;
        assert_eq!(subjects(feed).await, [ada.user.id.0]);
    }

    async fn a_feed_that_could_not_look_goes_on_where_it_was(bench: Bench) {
        let ada = bench.person().await;
        let feed = &mut at_the_end(&bench.store).await;
        bench.raw("ALTER TABLE identity_changes RENAME TO away").await;
        feed.look().await.unwrap_err();
        bench.raw("ALTER TABLE away RENAME TO identity_changes").await;
        bench.store.update_user(&due(1), ada.user.id, Some("Countess"), &any()).await.unwrap().unwrap();
        assert_eq!(subjects(feed).await, [ada.user.id.0]);
    }
}

/// PostgreSQL numbers rows before their transaction commits.
#[tokio::test]
async fn a_change_that_commits_after_a_later_one_is_told_too() {
    run(Bench::postgres().await, |bench| async move {
        let (ada, eve) = (bench.person().await, bench.person().await);
        let feed = &mut at_the_end(&bench.store).await;
        let slow = bench.begin(&format!("UPDATE users SET name = 'slow' WHERE id = '{}'", ada.user.id.0)).await;
        bench.store.update_user(&due(1), eve.user.id, Some("fast"), &any()).await.unwrap().unwrap();
        assert_eq!(subjects(feed).await, [eve.user.id.0]);
        assert_eq!(subjects(feed).await, NOTHING, "not again while the other is still running");
        slow.commit().await;
        assert_eq!(subjects(feed).await, [ada.user.id.0]);
        assert_eq!(subjects(feed).await, NOTHING);
    })
    .await;
}

/// PostgreSQL's oldest transaction may be another database's, and run for hours.
#[tokio::test]
async fn another_databases_long_transaction_neither_delays_a_change_nor_repeats_it() {
    run(Bench::postgres().await, |bench| async move {
        let elsewhere = Bench::bare_postgres().await;
        let long = elsewhere.begin("CREATE TABLE public.anything (n INT)").await;
        let ada = bench.person().await;
        let feed = &mut at_the_end(&bench.store).await;
        let many = (0..2001).map(|_| format!("({})", hex(id(), &bench))).collect::<Vec<_>>().join(", ");
        bench.raw(&format!("INSERT INTO identity_changes (subject) VALUES {many}")).await;
        assert_eq!(feed.look().await.unwrap(), IdentityNews::Everything);
        assert_eq!(subjects(feed).await, NOTHING, "everything is told once");
        for _ in 0..3 {
            bench.store.update_user(&due(1), ada.user.id, Some("Countess"), &any()).await.unwrap().unwrap();
            bench.raw(&format!("UPDATE users SET name = 'Ada' WHERE id = '{}'", ada.user.id.0)).await;
            assert_eq!(subjects(feed).await, [ada.user.id.0]);
            assert_eq!(subjects(feed).await, NOTHING);
        }
        long.commit().await;
        assert_eq!(subjects(feed).await, NOTHING);
        elsewhere.end().await;
    })
    .await;
}

/// As a Studio that was there before us does it: it may write its own tables only.
#[tokio::test]
async fn a_program_without_rights_to_the_feed_still_feeds_it() {
    run(Bench::postgres().await, |bench| async move {
        let ada = bench.person().await;
        let feed = &mut at_the_end(&bench.store).await;
        let role = format!("studio_{}", std::process::id());
        bench
            .raw(&format!(
                "CREATE ROLE {role}; GRANT USAGE ON SCHEMA platform TO {role}; GRANT SELECT, UPDATE ON users TO {role}; \
                 SET ROLE {role}; UPDATE users SET name = 'Studio' WHERE id = '{}'; RESET ROLE; \
                 DROP OWNED BY {role}; DROP ROLE {role}",
                ada.user.id.0
            ))
            .await;
        assert_eq!(subjects(feed).await, [ada.user.id.0]);
    })
    .await;
}
