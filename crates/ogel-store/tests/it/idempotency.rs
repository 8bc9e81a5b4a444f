//! Who holds a key, and what those who come later get.

use crate::support::*;
use chrono::TimeDelta;
use ogel_store::{Begin, Store};

const BODY: [u8; 32] = [1; 32];
const OTHER_BODY: [u8; 32] = [2; 32];

/// With a lease of a minute, and an hour until the record expires.
async fn begin(store: &Store, scope: &[u8; 32], body: &[u8; 32], now: i64) -> Begin {
    store.begin_idempotent(scope, body, at(now), at(now + 3600), TimeDelta::minutes(1)).await.unwrap()
}

fn running(since: i64, same_body: bool) -> Begin {
    Begin::Running { since: at(since), same_body }
}

fn done(same_body: bool) -> Begin {
    Begin::Done { same_body, status: 201, body: b"\0made\xff".to_vec(), content_type: "application/json".to_owned() }
}

async fn finish(store: &Store, scope: &[u8; 32]) {
    store.finish_idempotent(scope, 201, b"\0made\xff", "application/json").await.unwrap();
}

on_both! {
    async fn of_twenty_begins_at_once_exactly_one_is_fresh(bench: Bench) {
        let scope = hash();
        let begun = at_once(20, |_| {
            let store = bench.store.clone();
            async move { begin(&store, &scope, &BODY, 0).await }
        })
        .await;
        assert_eq!(begun.iter().filter(|one| **one == Begin::Fresh).count(), 1);
        assert_eq!(begun.iter().filter(|one| **one == running(0, true)).count(), 19);
    }

    async fn an_answer_is_kept_for_those_who_come_again(bench: Bench) {
        let scope = hash();
        assert_eq!(begin(&bench.store, &scope, &BODY, 0).await, Begin::Fresh);
        assert_eq!(begin(&bench.store, &scope, &BODY, 1).await, running(0, true));
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 1).await, running(0, false));
        finish(&bench.store, &scope).await;
        // The lease is over by then, which matters only to those that have not finished.
        for now in [2, 120, 3599] {
            assert_eq!(begin(&bench.store, &scope, &BODY, now).await, done(true));
            assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, now).await, done(false));
        }
        assert_eq!(begin(&bench.store, &hash(), &BODY, 2).await, Begin::Fresh, "another scope is another key");
    }

    async fn an_expired_record_is_taken_over_with_any_body(bench: Bench) {
        let scope = hash();
        assert_eq!(begin(&bench.store, &scope, &BODY, 0).await, Begin::Fresh);
        finish(&bench.store, &scope).await;
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 3600).await, Begin::Fresh);
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 3601).await, running(3600, true));
        finish(&bench.store, &scope).await;
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 3602).await, done(true));
    }

    async fn an_abandoned_record_is_taken_over_by_its_own_body_only(bench: Bench) {
        let scope = hash();
        assert_eq!(begin(&bench.store, &scope, &BODY, 0).await, Begin::Fresh);
        assert_eq!(begin(&bench.store, &scope, &BODY, 59).await, running(0, true));
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 60).await, running(0, false));
        assert_eq!(begin(&bench.store, &scope, &BODY, 60).await, Begin::Fresh);
        // The lease starts anew.
        assert_eq!(begin(&bench.store, &scope, &BODY, 119).await, running(60, true));
    }

    async fn an_abandoned_record_is_taken_over_by_one_of_many(bench: Bench) {
        let scope = hash();
        assert_eq!(begin(&bench.store, &scope, &BODY, 0).await, Begin::Fresh);
        let begun = at_once(20, |_| {
            let store = bench.store.clone();
            async move { begin(&store, &scope, &BODY, 60).await }
        })
        .await;
        assert_eq!(begun.iter().filter(|one| **one == Begin::Fresh).count(), 1);
    }

    async fn a_key_that_was_given_back_is_fresh_again(bench: Bench) {
        let (scope, other) = (hash(), hash());
        begin(&bench.store, &scope, &BODY, 0).await;
        begin(&bench.store, &other, &BODY, 0).await;
        bench.store.forget_idempotent(&scope).await.unwrap();
        assert_eq!(begin(&bench.store, &scope, &OTHER_BODY, 1).await, Begin::Fresh);
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
        bench.store.finish_idempotent(&scope, 200, &answer, "text/plain").await.unwrap();
        let Begin::Done { body, status, .. } = begin(&bench.store, &scope, &BODY, 1).await else {
            panic!("it was finished")
        };
        assert!(status == 200 && body == answer);
    }
}
