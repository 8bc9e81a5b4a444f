//! Logins by the hash of their token.

use crate::support::*;

on_both! {
    async fn a_session_is_found_by_its_token_hash_expired_or_not(bench: Bench) {
        let person = bench.person().await;
        let session = session(&person.user);
        bench.store.create_session(&session).await.unwrap();
        let (found, user) = bench.store.session_by_token(&session.token_hash).await.unwrap().unwrap();
        assert_eq!(found, session);
        assert_eq!(user, person.user);
        assert!(bench.store.session_by_token(&hash()).await.unwrap().is_none());
        assert!(!format!("{session:?}").contains("token_hash"));
    }

    async fn touching_a_session_moves_its_expiry(bench: Bench) {
        let person = bench.person().await;
        let (touched, left) = (session(&person.user), session(&person.user));
        bench.store.create_session(&touched).await.unwrap();
        bench.store.create_session(&left).await.unwrap();
        bench.store.touch_session(touched.id, at(50), at(150)).await.unwrap();
        let (found, _) = bench.store.session_by_token(&touched.token_hash).await.unwrap().unwrap();
        assert_eq!((found.last_seen_at, found.expires_at, found.created_at), (at(50), at(150), at(0)));
        assert_eq!(bench.store.session_by_token(&left.token_hash).await.unwrap().unwrap().0, left);
    }

    async fn only_its_own_person_deletes_a_session(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let session = session(&person.user);
        bench.store.create_session(&session).await.unwrap();
        assert!(!bench.store.delete_session(session.id, stranger.user.id).await.unwrap());
        assert!(bench.store.session_by_token(&session.token_hash).await.unwrap().is_some());
        assert!(bench.store.delete_session(session.id, person.user.id).await.unwrap());
        assert!(!bench.store.delete_session(session.id, person.user.id).await.unwrap());
        assert!(bench.store.session_by_token(&session.token_hash).await.unwrap().is_none());
    }

    async fn expired_sessions_go_a_limited_number_at_a_time(bench: Bench) {
        let person = bench.person().await;
        for _ in 0..5 {
            bench.store.create_session(&session(&person.user)).await.unwrap();
        }
        // The fraction matters where times are text.
        let alive = ogel_store::Session {
            expires_at: at(100) + chrono::TimeDelta::milliseconds(1),
            ..session(&person.user)
        };
        bench.store.create_session(&alive).await.unwrap();
        assert_eq!(bench.store.delete_expired_sessions(at(99), 2).await.unwrap(), 0);
        for expected in [2, 2, 1, 0] {
            assert_eq!(bench.store.delete_expired_sessions(at(100), 2).await.unwrap(), expected);
        }
        assert!(bench.store.session_by_token(&alive.token_hash).await.unwrap().is_some());
    }

    async fn a_session_of_nobody_is_refused(bench: Bench) {
        let error = bench.store.create_session(&session(&user())).await.unwrap_err();
        assert!(matches!(error, ogel_store::StoreError::ForeignKey), "{error:?}");
    }
}
