//! Ids of Ghost's events: the first note wins, and old ones go.

use crate::support::*;

on_both! {
    async fn of_twenty_notes_at_once_one_is_the_first(bench: Bench) {
        let id = hash();
        assert!(!bench.store.knows_ghost_event(&id).await.unwrap());
        let notes = at_once(20, |_| {
            let store = bench.store.clone();
            async move { store.note_ghost_event(&id, at(0), at(10)).await.unwrap() }
        })
        .await;
        assert_eq!(notes.into_iter().filter(|first| *first).count(), 1);
        assert!(bench.store.knows_ghost_event(&id).await.unwrap());
    }

    async fn expired_ids_are_removed_a_batch_at_a_time(bench: Bench) {
        let (old, new) = ([hash(), hash(), hash()], hash());
        for id in &old {
            bench.store.note_ghost_event(id, at(0), at(10)).await.unwrap();
        }
        bench.store.note_ghost_event(&new, at(5), at(15)).await.unwrap();
        assert_eq!(bench.store.delete_expired_ghost_events(at(9), 100).await.unwrap(), 0);
        assert_eq!(bench.store.delete_expired_ghost_events(at(10), 2).await.unwrap(), 2);
        assert_eq!(bench.store.delete_expired_ghost_events(at(10), 2).await.unwrap(), 1);
        assert!(bench.store.knows_ghost_event(&new).await.unwrap());
        assert!(!bench.store.knows_ghost_event(&old[0]).await.unwrap());
    }
}
