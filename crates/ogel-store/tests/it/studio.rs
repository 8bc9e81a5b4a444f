//! People of Studio's login, and sessions that ended before their time.

use crate::support::*;
use ogel_api::id::UserId;
use ogel_store::{IdentityFeed, IdentityNews};

async fn subjects(feed: &mut IdentityFeed) -> Vec<uuid::Uuid> {
    let news = feed.look().await.unwrap();
    let IdentityNews::Subjects(mut subjects) = news else { panic!("{news:?}") };
    subjects.dedup();
    subjects
}

on_both! {
    async fn the_first_link_stays_and_ends_what_a_password_gave(bench: Bench) {
        let (ada, eve) = (bench.person().await, bench.person().await);
        let store = &bench.store;
        let by_id = store.studio_user(&ada.user.id.0.to_string()).await.unwrap();
        assert_eq!(by_id.as_ref(), Some(&ada.user));
        assert_eq!(store.studio_user("cuid").await.unwrap(), None);

        let (session, key) = (session(&ada.user), api_key(&ada.user));
        store.create_session(&due(0), &session).await.unwrap();
        store.create_api_key(&due(0), &key).await.unwrap();
        bench.raw("UPDATE users SET password_hash = 'x'").await;
        assert_eq!(store.link_studio_user(&due(5), "cuid", ada.user.id).await.unwrap(), ada.user.id);
        let user = store.studio_user("cuid").await.unwrap().unwrap();
        assert_eq!((user.id, user.password_hash, user.updated_at), (ada.user.id, None, at(5)));
        assert!(store.session_by_token(&session.token_hash).await.unwrap().is_none());
        assert!(store.api_key_by_secret(&key.secret_hash).await.unwrap().is_none());

        // A second answer changes nothing, for nobody.
        assert_eq!(store.link_studio_user(&due(6), "cuid", eve.user.id).await.unwrap(), ada.user.id);
        assert!(store.user(eve.user.id).await.unwrap().unwrap().password_hash.is_some());
        // Another id of the same person, who has no password any more: what they made since stays.
        store.create_api_key(&due(0), &key).await.unwrap();
        store.link_studio_user(&due(7), "cuid-2", ada.user.id).await.unwrap();
        assert!(store.api_key_by_secret(&key.secret_hash).await.unwrap().is_some());
        assert_eq!(store.studio_subjects(ada.user.id, 10).await.unwrap(), ["cuid", "cuid-2"]);
        assert_eq!(store.studio_subjects(ada.user.id, 1).await.unwrap(), ["cuid"]);
    }

    async fn a_session_ends_by_itself_or_with_all_that_began_before(bench: Bench) {
        let (ada, eve) = (bench.person().await, bench.person().await);
        let (store, id) = (&bench.store, hash());
        let revoked = |id: [u8; 32], user: Option<UserId>, begun| async move {
            store.is_session_revoked(&id, user, &[[7; 32]; 2], at(begun)).await.unwrap()
        };
        let me = Some(ada.user.id);
        assert!(!revoked(id, me, 10).await);
        store.revoke_session(&due(20), &id, ada.user.id, at(100)).await.unwrap();
        store.revoke_session(&due(21), &id, ada.user.id, at(200)).await.unwrap();
        assert!(revoked(id, me, 10).await && revoked(id, None, 10).await);
        assert!(!revoked(hash(), me, 10).await);

        store.create_session(&due(0), &session(&ada.user)).await.unwrap();
        store.revoke_all_sessions(&due(30), ada.user.id).await.unwrap();
        assert!(revoked(hash(), me, 30).await && !revoked(hash(), me, 31).await);
        assert!(!revoked(hash(), Some(eve.user.id), 10).await && !revoked(hash(), None, 10).await);
        store.revoke_all_sessions(&due(40), ada.user.id).await.unwrap();
        assert!(revoked(hash(), me, 31).await);

        assert_eq!(store.delete_expired_revocations(at(99), 10).await.unwrap(), 0);
        assert_eq!(store.delete_expired_revocations(at(100), 10).await.unwrap(), 1);
        assert!(!revoked(id, None, 10).await);
    }

    async fn whoever_remembers_the_person_hears_of_it(bench: Bench) {
        let ada = bench.person().await;
        let (store, me) = (&bench.store, ada.user.id.0);
        let mut feed = bench.another_store().await.identity_feed();
        assert_eq!(feed.look().await.unwrap(), IdentityNews::Everything);
        store.link_studio_user(&due(1), "cuid", ada.user.id).await.unwrap();
        assert_eq!(subjects(&mut feed).await, [me]);
        store.revoke_session(&due(1), &hash(), ada.user.id, at(2)).await.unwrap();
        assert_eq!(subjects(&mut feed).await, [me]);
        for now in [3, 4] {
            store.revoke_all_sessions(&due(now), ada.user.id).await.unwrap();
            assert_eq!(subjects(&mut feed).await, [me]);
        }
        bench.raw("DELETE FROM studio_identities").await;
        assert_eq!(subjects(&mut feed).await, [me]);
    }
}
