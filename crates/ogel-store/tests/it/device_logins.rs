//! Logins that are confirmed on another device, and refresh tokens.

use crate::support::*;
use chrono::TimeDelta;
use ogel_api::auth::{Scope, SessionKind};
use ogel_store::{DeviceLogin, DeviceStatus, NextTokens, Poll, Refreshed, Session};

fn login(user_code: &str) -> DeviceLogin {
    DeviceLogin {
        id: id(),
        device_code_hash: hash(),
        user_code: user_code.to_owned(),
        client_id: Some("ogel-cli".to_owned()),
        scopes: vec![Scope::ProjectsRead],
        ip: Some(IP),
        user_agent: None,
        status: DeviceStatus::Pending,
        user_id: None,
        interval_seconds: 5,
        next_poll_at: at(5),
        created_at: at(0),
        expires_at: at(100),
    }
}

fn next() -> NextTokens {
    NextTokens { token_hash: hash(), token_expires_at: at(60), refresh_hash: hash(), expires_at: at(1000) }
}

/// A session that was let in, and its refresh token.
async fn let_in(bench: &Bench, person: &Person) -> (Session, [u8; 32]) {
    let login = login("BCDFGHJK");
    bench.store.create_device_login(&login).await.unwrap();
    assert!(bench.store.decide_device_login(login.id, person.user.id, DeviceStatus::Approved, at(1)).await.unwrap());
    let session = Session {
        kind: SessionKind::Cli,
        client_id: Some("ogel-cli".to_owned()),
        token_expires_at: Some(at(60)),
        ..session(&person.user)
    };
    let refresh = hash();
    assert!(bench.store.redeem_device_login(&due(0), &login, &session, &refresh).await.unwrap());
    assert!(!bench.store.redeem_device_login(&due(0), &login, &session, &hash()).await.unwrap(), "once");
    (session, refresh)
}

on_both! {
    async fn a_device_learns_what_its_person_decided(bench: Bench) {
        let person = bench.person().await;
        for (code, decision) in [("BBBBBBBB", DeviceStatus::Approved), ("CCCCCCCC", DeviceStatus::Denied)] {
            let login = login(code);
            bench.store.create_device_login(&login).await.unwrap();
            let poll = |now| bench.store.poll_device_login(&login.device_code_hash, Some("ogel-cli"), at(now));
            assert!(matches!(poll(5).await.unwrap(), Poll::Pending));
            assert_eq!(bench.store.pending_device_login(code, at(6)).await.unwrap().unwrap().id, login.id);
            assert!(bench.store.decide_device_login(login.id, person.user.id, decision, at(6)).await.unwrap());
            // A word is given once.
            assert!(!bench.store.decide_device_login(login.id, person.user.id, DeviceStatus::Approved, at(7)).await.unwrap());
            assert!(bench.store.pending_device_login(code, at(7)).await.unwrap().is_none());
            match poll(6).await.unwrap() {
                Poll::Approved(found) => assert_eq!((found.user_id, decision), (Some(person.user.id), DeviceStatus::Approved)),
                Poll::Denied => assert_eq!(decision, DeviceStatus::Denied),
                other => panic!("{other:?}"),
            }
            assert!(matches!(bench.store.poll_device_login(&login.device_code_hash, Some("other"), at(8)).await.unwrap(), Poll::Unknown));
            assert!(matches!(poll(100).await.unwrap(), Poll::Expired));
        }
        assert!(matches!(bench.store.poll_device_login(&hash(), None, at(1)).await.unwrap(), Poll::Unknown));
    }

    async fn a_device_that_asks_too_often_waits_longer_each_time(bench: Bench) {
        let login = login("DDDDDDDD");
        bench.store.create_device_login(&login).await.unwrap();
        let early = |now| {
            let (store, hash) = (bench.store.clone(), login.device_code_hash);
            async move { matches!(store.poll_device_login(&hash, None, at(now)).await.unwrap(), Poll::TooEarly) }
        };
        assert!(early(4).await, "before its first five seconds");
        // From then on it is ten seconds, counted from the last time.
        assert!(!early(14).await);
        assert!(early(20).await);
        assert!(early(34).await, "fifteen seconds from 20");
        assert!(!early(54).await);
    }

    async fn an_expired_login_cannot_be_decided_and_is_removed(bench: Bench) {
        let person = bench.person().await;
        let login = login("FFFFFFFF");
        bench.store.create_device_login(&login).await.unwrap();
        assert!(!bench.store.decide_device_login(login.id, person.user.id, DeviceStatus::Approved, at(100)).await.unwrap());
        assert_eq!(bench.store.delete_expired_device_logins(at(99), 10).await.unwrap(), 0);
        assert_eq!(bench.store.delete_expired_device_logins(at(100), 10).await.unwrap(), 1);
    }

    async fn a_refresh_token_works_once_and_twice_ends_the_login(bench: Bench) {
        let person = bench.person().await;
        let (session, first) = let_in(&bench, &person).await;
        let (second, third) = (next(), next());
        let refresh = |hash, client, next: NextTokens| {
            let store = bench.store.clone();
            async move { store.refresh_session(&hash, client, &next, &due(10)).await.unwrap() }
        };
        assert!(matches!(refresh(first, Some("other"), second.clone()).await, Refreshed::Unknown));
        let Refreshed::Done(renewed) = refresh(first, Some("ogel-cli"), second.clone()).await else { panic!("refused") };
        assert_eq!((renewed.id, renewed.token_hash, renewed.expires_at), (session.id, second.token_hash, at(1000)));
        assert!(bench.store.session_by_token(&session.token_hash).await.unwrap().is_none(), "the old token is over");
        let Refreshed::Done(_) = refresh(second.refresh_hash, None, third.clone()).await else { panic!("refused") };
        assert!(matches!(refresh(first, None, next()).await, Refreshed::Reused(id) if id == session.id));
        // The thief's and the owner's alike.
        assert!(bench.store.session_by_token(&third.token_hash).await.unwrap().is_none());
        assert!(matches!(refresh(third.refresh_hash, None, next()).await, Refreshed::Unknown));
    }

    async fn of_two_refreshes_at_once_one_is_a_theft(bench: Bench) {
        let person = bench.person().await;
        let (session, first) = let_in(&bench, &person).await;
        let outcomes = at_once(2, |_| {
            let store = bench.store.clone();
            async move { store.refresh_session(&first, None, &next(), &due(10)).await.unwrap() }
        })
        .await;
        let done = outcomes.iter().filter(|outcome| matches!(outcome, Refreshed::Done(_))).count();
        assert_eq!(done, 1, "{outcomes:?}");
        assert!(bench.store.session(session.id, person.user.id, at(10)).await.unwrap().is_none());
    }

    async fn an_old_refresh_token_expires_and_is_removed(bench: Bench) {
        let person = bench.person().await;
        let (session, first) = let_in(&bench, &person).await;
        let late = session.expires_at + TimeDelta::milliseconds(1);
        assert!(matches!(bench.store.refresh_session(&first, None, &next(), &ogel_store::Act { at: late, ..due(0) }).await.unwrap(), Refreshed::Expired));
        assert_eq!(bench.store.delete_expired_device_logins(late, 10).await.unwrap(), 1);
    }

    async fn any_token_of_a_login_revokes_it(bench: Bench) {
        let person = bench.person().await;
        let (session, refresh) = let_in(&bench, &person).await;
        assert!(!bench.store.revoke_token(&due(0), &hash()).await.unwrap());
        assert!(bench.store.revoke_token(&due(0), &refresh).await.unwrap());
        assert!(bench.store.session_by_token(&session.token_hash).await.unwrap().is_none());
        let (session, _) = let_in(&bench, &person).await;
        assert!(bench.store.revoke_token(&due(0), &session.token_hash).await.unwrap());
    }
}
