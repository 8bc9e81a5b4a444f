//! Who holds a key, and what those who come later get.

use crate::support::*;
use chrono::TimeDelta;
use ogel_store::{Begin, IdempotentUse, KeyHold, Store};

const BODY: [u8; 32] = [1; 32];
const OTHER_BODY: [u8; 32] = [2; 32];

/// With a lease of a minute, and an hour until the record expires.
async fn begin(store: &Store, scope: &[u8; 32], body: &[u8; 32], now: i64) -> Begin {
    let (lease, expires_at) = (TimeDelta::minutes(1), at(now + 3600));
    let key = IdempotentUse { scope_hash: scope, body_hash: body, made_id: id(), now: at(now), lease, expires_at };
    store.begin_idempotent(&key).await.unwrap()
}

fn is_fresh(begun: &Begin) -> bool {
    matches!(begun, Begin::Fresh(_))
}

fn held(begun: &Begin) -> KeyHold {
    let Begin::Fresh(hold) = begun else { panic!("{begun:?} is not fresh") };
    *hold
}

fn running(since: i64, same_body: bool) -> Begin {
    Begin::Running { since: at(since), same_body }
}

fn done(same_body: bool) -> Begin {
    Begin::Done { same_body, status: 201, body: b"\0made\xff".to_vec(), content_type: "application/json".to_owned() }
}

async fn finish(store: &Store, scope: &[u8; 32], fence: i64) {
    store.finish_idempotent(scope, fence, 201, b"\0made\xff", "application/json").await.unwrap();
}

on_both! {
    async fn of_twenty_begins_at_once_exactly_one_is_fresh(bench: Bench) {
        let scope = hash();
        let begun = at_once(20, |_| {
            let store = bench.store.clone();
            async move { begin(&store, &scope, &BODY, 0).await }
        })
        .await;
        assert_eq!(begun.iter().filter(|one| is_fresh(one)).count(), 1);
        assert_eq!(begun.iter().filter(|one| **one == running(0, true)).count(), 19);
    }

    async fn an_answer_is_kept_for_those_who_come_again(bench: Bench) {
        let scope = hash();
        assert!(is_fresh(&begin(&bench.store, &scope, &BODY, 0).await));
        assert_eq!(begin(&bench.store, &scope, &BODY, 1).await, running(0, true));
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 1).await, running(0, false));
        finish(&bench.store, &scope, 1).await;
        // The lease is over by then, which matters only to those that have not finished.
        for now in [2, 120, 3599] {
            assert_eq!(begin(&bench.store, &scope, &BODY, now).await, done(true));
            assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, now).await, done(false));
        }
        assert!(is_fresh(&begin(&bench.store, &hash(), &BODY, 2).await), "another scope is another key");
    }

    async fn an_expired_record_is_taken_over_with_any_body(bench: Bench) {
        let scope = hash();
        assert!(is_fresh(&begin(&bench.store, &scope, &BODY, 0).await));
        finish(&bench.store, &scope, 1).await;
        assert!(is_fresh(&begin(&bench.store, &scope, &OTHER_BODY, 3600).await));
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 3601).await, running(3600, true));
        finish(&bench.store, &scope, 2).await;
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 3602).await, done(true));
    }

    async fn an_abandoned_record_is_taken_over_by_its_own_body_only(bench: Bench) {
        let scope = hash();
        assert!(is_fresh(&begin(&bench.store, &scope, &BODY, 0).await));
        assert_eq!(begin(&bench.store, &scope, &BODY, 59).await, running(0, true));
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 60).await, running(0, false));
        assert!(is_fresh(&begin(&bench.store, &scope, &BODY, 60).await));
        // The lease starts anew.
        assert_eq!(begin(&bench.store, &scope, &BODY, 119).await, running(60, true));
    }

    async fn an_abandoned_record_is_taken_over_by_one_of_many(bench: Bench) {
        let scope = hash();
        assert!(is_fresh(&begin(&bench.store, &scope, &BODY, 0).await));
        let begun = at_once(20, |_| {
            let store = bench.store.clone();
            async move { begin(&store, &scope, &BODY, 60).await }
        })
        .await;
        assert_eq!(begun.iter().filter(|one| is_fresh(one)).count(), 1);
    }

    async fn a_key_that_was_given_back_is_fresh_again(bench: Bench) {
        let (scope, other) = (hash(), hash());
        begin(&bench.store, &scope, &BODY, 0).await;
        begin(&bench.store, &other, &BODY, 0).await;
        bench.store.forget_idempotent(&scope, 1).await.unwrap();
        assert!(is_fresh(&begin(&bench.store, &scope, &OTHER_BODY, 1).await));
        assert_eq!(begin(&bench.store, &other, &BODY, 1).await, running(0, true));
    }

    async fn expired_records_go_a_limited_number_at_a_time(bench: Bench) {
        for _ in 0..5 {
            begin(&bench.store, &hash(), &BODY, 0).await;
        }
        let alive = hash();
        begin(&bench.store, &alive, &BODY, 1).await;
        assert_eq!(bench.store.delete_expired_idempotency(at(3599), 2).await.unwrap(), 0);
        for expected in [2, 2, 1, 0] {
            assert_eq!(bench.store.delete_expired_idempotency(at(3600), 2).await.unwrap(), expected);
        }
        assert_eq!(begin(&bench.store, &alive, &BODY, 2).await, running(1, true));
    }

    async fn a_large_answer_comes_back_whole(bench: Bench) {
        let scope = hash();
        begin(&bench.store, &scope, &BODY, 0).await;
        let answer: Vec<u8> = (0..1_000_000u32).map(|at| at.to_be_bytes()[3]).collect();
        bench.store.finish_idempotent(&scope, 1, 200, &answer, "text/plain").await.unwrap();
        let Begin::Done { body, status, .. } = begin(&bench.store, &scope, &BODY, 1).await else {
            panic!("it was finished")
        };
        assert!(status == 200 && body == answer);
    }

    async fn whoever_takes_over_makes_the_same_thing_and_the_slow_one_changes_nothing(bench: Bench) {
        let scope = hash();
        let slow = held(&begin(&bench.store, &scope, &BODY, 0).await);
        assert!(bench.store.renew_idempotent(&scope, slow.fence, at(90)).await.unwrap());
        assert_eq!(begin(&bench.store, &scope, &BODY, 89).await, running(0, true), "it was prolonged");
        assert!(bench.store.is_idempotent_running(&scope, at(89)).await.unwrap());
        assert!(!bench.store.is_idempotent_running(&scope, at(90)).await.unwrap());
        let next = held(&begin(&bench.store, &scope, &BODY, 90).await);
        assert_eq!((next.made_id, next.fence), (slow.made_id, slow.fence + 1));
        // The slow one fails after all, or comes to an answer: neither is the successor's.
        bench.store.forget_idempotent(&scope, slow.fence).await.unwrap();
        bench.store.release_idempotent(&scope, slow.fence, at(91)).await.unwrap();
        bench.store.finish_idempotent(&scope, slow.fence, 201, b"late", "text/plain").await.unwrap();
        assert!(!bench.store.renew_idempotent(&scope, slow.fence, at(999)).await.unwrap());
        assert_eq!(begin(&bench.store, &scope, &BODY, 91).await, running(90, true));
        finish(&bench.store, &scope, next.fence).await;
        assert_eq!(begin(&bench.store, &scope, &BODY, 92).await, done(true));
        // Once expired it is another key.
        let fresh = held(&begin(&bench.store, &scope, &OTHER_BODY, 5000).await);
        assert_ne!(fresh.made_id, slow.made_id);
    }

    async fn a_key_whose_request_broke_is_free_at_once_and_remembers_what_it_makes(bench: Bench) {
        let scope = hash();
        let broke = held(&begin(&bench.store, &scope, &BODY, 0).await);
        bench.store.release_idempotent(&scope, broke.fence, at(1)).await.unwrap();
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 1).await, running(0, false));
        assert_eq!(held(&begin(&bench.store, &scope, &BODY, 1).await).made_id, broke.made_id);
    }
}
