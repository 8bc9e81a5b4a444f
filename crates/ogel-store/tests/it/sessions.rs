//! Logins by the hash of their token.

use crate::support::*;
use ogel_api::id::SessionId;
use ogel_store::SessionUse;

on_both! {
    async fn a_session_is_found_by_its_token_hash_expired_or_not(bench: Bench) {
        let person = bench.person().await;
        let session = session(&person.user);
        bench.store.create_session(&due(0), &session).await.unwrap();
        let (found, user) = bench.store.session_by_token(&session.token_hash).await.unwrap().unwrap();
        assert_eq!(found, session);
        assert_eq!(user, person.user);
        assert!(bench.store.session_by_token(&hash()).await.unwrap().is_none());
        assert!(!format!("{session:?}").contains("token_hash"));
    }

    async fn using_a_session_moves_its_expiry_but_never_back(bench: Bench) {
        let person = bench.person().await;
        let (touched, left) = (session(&person.user), session(&person.user));
        let renewed = ogel_store::Session { token_expires_at: Some(at(60)), ..session(&person.user) };
        for one in [&touched, &left, &renewed] {
            bench.store.create_session(&due(0), one).await.unwrap();
        }
        let used = |id, at_, ends| SessionUse { id, at: at(at_), ip: IP, expires_at: at(ends) };
        let uses = [used(touched.id, 50, 150), used(renewed.id, 50, 150), used(SessionId(id()), 50, 150)];
        bench.store.touch_sessions(&uses).await.unwrap();
        bench.store.touch_sessions(&[used(touched.id, 40, 140), used(left.id, 200, 300)]).await.unwrap();
        let (found, _) = bench.store.session_by_token(&touched.token_hash).await.unwrap().unwrap();
        assert_eq!((found.last_seen_at, found.expires_at, found.created_at, found.ip), (at(50), at(150), at(0), Some(IP)));
        // What has ended is not woken, and what a refresh token prolongs is not prolonged by use.
        assert_eq!(bench.store.session_by_token(&left.token_hash).await.unwrap().unwrap().0, left);
        let (found, _) = bench.store.session_by_token(&renewed.token_hash).await.unwrap().unwrap();
        assert_eq!((found.last_seen_at, found.expires_at), (at(50), at(100)));
    }

    async fn a_person_sees_their_live_sessions_and_no_others(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        let mut expected = Vec::new();
        for _ in 0..12 {
            let one = session(&person.user);
            bench.store.create_session(&due(0), &one).await.unwrap();
            expected.push(one.id.0);
        }
        let foreign = session(&other.user);
        bench.store.create_session(&due(0), &foreign).await.unwrap();
        bench.store.create_session(&due(0), &ogel_store::Session { expires_at: at(5), ..session(&person.user) }).await.unwrap();
        let list = |request| {
            let (store, user) = (bench.store.clone(), person.user.id);
            async move { store.sessions(user, at(10), &request).await }
        };
        assert_pages(&expected, 5, |one: &ogel_store::Session| one.id.0, list).await;
        assert!(bench.store.session(foreign.id, person.user.id, at(10)).await.unwrap().is_none());
        assert_eq!(bench.store.session(foreign.id, other.user.id, at(10)).await.unwrap(), Some(foreign));
    }

    async fn a_new_password_ends_every_session_but_one(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        let (kept, ended, foreign) = (session(&person.user), session(&person.user), session(&other.user));
        for one in [&kept, &ended, &foreign] {
            bench.store.create_session(&due(0), one).await.unwrap();
        }
        assert_eq!(bench.store.change_password(&due(9), person.user.id, "hash", Some(kept.id)).await.unwrap(), 1);
        for (one, there) in [(&kept, true), (&ended, false), (&foreign, true)] {
            assert_eq!(bench.store.session_by_token(&one.token_hash).await.unwrap().is_some(), there);
        }
        assert_eq!(bench.store.user(person.user.id).await.unwrap().unwrap().password_hash.as_deref(), Some("hash"));
        assert_eq!(bench.store.delete_other_sessions(&due(0), person.user.id, None).await.unwrap(), 1);
    }

    async fn an_account_is_known_where_it_is_logged_in(bench: Bench) {
        let person = bench.person().await;
        bench.store.create_session(&due(0), &ogel_store::Session { ip: Some(IP), ..session(&person.user) }).await.unwrap();
        let known = |email: String, ip, now| {
            let store = bench.store.clone();
            async move { store.is_logged_in_from(&email, ip, at(now)).await.unwrap() }
        };
        let email = person.user.email.clone();
        assert!(known(email.to_uppercase(), IP, 50).await);
        assert!(!known(email.clone(), "192.0.2.2".parse().unwrap(), 50).await);
        assert!(!known(email, IP, 100).await);
        assert!(!known("nobody@example.test".to_owned(), IP, 50).await);
    }

    async fn only_its_own_person_deletes_a_session(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let session = session(&person.user);
        bench.store.create_session(&due(0), &session).await.unwrap();
        assert!(!bench.store.delete_session(&due(0), session.id, stranger.user.id).await.unwrap());
        assert!(bench.store.session_by_token(&session.token_hash).await.unwrap().is_some());
        assert!(bench.store.delete_session(&due(0), session.id, person.user.id).await.unwrap());
        assert!(!bench.store.delete_session(&due(0), session.id, person.user.id).await.unwrap());
        assert!(bench.store.session_by_token(&session.token_hash).await.unwrap().is_none());
    }

    async fn expired_sessions_go_a_limited_number_at_a_time(bench: Bench) {
        let person = bench.person().await;
        for _ in 0..5 {
            bench.store.create_session(&due(0), &session(&person.user)).await.unwrap();
        }
        // The fraction matters where times are text.
        let alive = ogel_store::Session {
            expires_at: at(100) + chrono::TimeDelta::milliseconds(1),
            ..session(&person.user)
        };
        bench.store.create_session(&due(0), &alive).await.unwrap();
        assert_eq!(bench.store.delete_expired_sessions(at(99), 2).await.unwrap(), 0);
        for expected in [2, 2, 1, 0] {
            assert_eq!(bench.store.delete_expired_sessions(at(100), 2).await.unwrap(), expected);
        }
        assert!(bench.store.session_by_token(&alive.token_hash).await.unwrap().is_some());
    }

    async fn a_session_of_nobody_is_refused(bench: Bench) {
        let error = bench.store.create_session(&due(0), &session(&user())).await.unwrap_err();
        assert!(matches!(error, ogel_store::StoreError::ForeignKey), "{error:?}");
    }
}
