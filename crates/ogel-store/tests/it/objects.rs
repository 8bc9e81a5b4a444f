//! Which of Ghost's sites and domains has which id of ours: made once, for everybody the same.

use crate::support::*;
use ogel_store::{GhostObject, ObjectKind, Purge};
use std::collections::BTreeSet;

on_both! {
    async fn of_twenty_who_map_the_same_objects_at_once_one_stays(bench: Bench) {
        let person = bench.person().await;
        let project = person.project.id;
        let got = at_once(20, |_| {
            let (store, pairs) = (bench.store.clone(), [(id(), "web"), (id(), "blog")]);
            async move { store.map_ghost_objects(project, ObjectKind::Site, &pairs, at(0)).await.unwrap() }
        })
        .await;
        let seen: BTreeSet<_> = got.into_iter().flatten().map(|object| (object.ghost_id, object.id)).collect();
        assert_eq!(seen.len(), 2, "{seen:?}");
        let known = bench.store.ghost_objects(project, ObjectKind::Site, &["web", "blog", "other"]).await.unwrap();
        assert_eq!(known.into_iter().map(|object| (object.ghost_id, object.id)).collect::<BTreeSet<_>>(), seen);
    }

    async fn the_same_word_is_another_object_elsewhere(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        let mut ids = BTreeSet::new();
        for (project, kind) in [
            (person.project.id, ObjectKind::Site),
            (person.project.id, ObjectKind::Domain),
            (other.project.id, ObjectKind::Site),
        ] {
            let made = bench.store.map_ghost_objects(project, kind, &[(id(), "web")], at(0)).await.unwrap();
            assert_eq!((made[0].project_id, made[0].kind), (project, kind));
            ids.insert(made[0].id);
        }
        assert_eq!(ids.len(), 3);
        assert!(bench.store.ghost_objects(other.project.id, ObjectKind::Domain, &["web"]).await.unwrap().is_empty());
        assert!(bench.store.ghost_objects(other.project.id, ObjectKind::Domain, &[]).await.unwrap().is_empty());
        assert!(bench.store.map_ghost_objects(other.project.id, ObjectKind::Domain, &[], at(0)).await.unwrap().is_empty());
    }

    async fn mappings_go_with_the_object_or_its_project(bench: Bench) {
        let person = bench.person().await;
        let object = |word: &str| GhostObject {
            id: id(),
            project_id: person.project.id,
            kind: ObjectKind::Domain,
            ghost_id: word.to_owned(),
        };
        let (one, two) = (object("one"), object("two"));
        for object in [&one, &two, &one] {
            bench.store.insert_ghost_object(object, at(0)).await.unwrap();
        }
        assert_eq!(bench.store.ghost_object(one.id).await.unwrap().as_ref(), Some(&one));
        bench.store.delete_ghost_object(one.id, None).await.unwrap();
        assert_eq!(bench.store.ghost_object(one.id).await.unwrap(), None);
        bench.store.delete_project(&due(5), &person.viewer(), person.project.id, &any()).await.unwrap().unwrap();
        assert_eq!(bench.store.begin_purge(person.project.id, at(6), at(6)).await.unwrap(), Purge::Begun);
        bench.store.purge_project(&due(6), person.project.id).await.unwrap().unwrap();
        assert_eq!(bench.store.ghost_object(two.id).await.unwrap(), None);
    }
}
