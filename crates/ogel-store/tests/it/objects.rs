//! Which of Ghost's sites and domains has which id of ours: made once, for everybody the same.

use crate::support::*;
use ogel_api::{audit::AuditAction, id::DomainId};
use ogel_store::{AuditFilter, Entry, GhostObject, Hold, ObjectChange, ObjectKind, ObjectOutcome, Purge};
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

    async fn a_mapping_comes_with_what_is_made_and_goes_with_it_or_its_project(bench: Bench) {
        let person = bench.person().await;
        let object = |word: &str| GhostObject {
            id: id(),
            project_id: person.project.id,
            kind: ObjectKind::Domain,
            ghost_id: word.to_owned(),
        };
        let asked = async |object: &GhostObject, action: AuditAction, outcome: ObjectOutcome<'static>| {
            let organization = person.organization.id;
            let entry = Entry::new(organization, action, DomainId(object.id));
            let change = ObjectChange::new(&act(&person.user, 1), object, organization, &entry);
            let job = bench.store.begin_object_change(&change, Hold { owner: id(), until: at(60) }).await.unwrap();
            assert_eq!(bench.store.object_change(change.id).await.unwrap().as_ref(), Some(&change));
            assert!(bench.store.end_object_change(&job, &change, outcome, at(2)).await.unwrap());
        };
        let entries = async |object: &GhostObject| {
            let filter = AuditFilter { target: Some(DomainId(object.id).to_string()), ..AuditFilter::default() };
            let log = bench.store.audit_log(&person.viewer(), person.organization.id, &filter, &first(9)).await.unwrap();
            log.rows.len()
        };
        let (one, two, refused) = (object("one"), object("two"), object("refused"));
        for object in [&one, &two, &one] {
            // Said twice of the first, and written down once.
            asked(object, AuditAction::DomainCreated, ObjectOutcome::Done).await;
        }
        let made = AuditFilter { action: Some(AuditAction::DomainCreated), ..AuditFilter::default() };
        let log = bench.store.audit_log(&person.viewer(), person.organization.id, &made, &first(9)).await.unwrap();
        assert_eq!(log.rows.len(), 2);
        asked(&refused, AuditAction::DomainCreated, ObjectOutcome::NotDone).await;
        assert_eq!((bench.store.ghost_object(refused.id).await.unwrap(), entries(&refused).await), (None, 0));
        assert_eq!(bench.store.ghost_object(one.id).await.unwrap().as_ref(), Some(&one));
        // A second attempt that is refused takes nothing away from the first.
        asked(&one, AuditAction::DomainCreated, ObjectOutcome::NotDone).await;
        assert_eq!(bench.store.ghost_object(one.id).await.unwrap().as_ref(), Some(&one));
        for _ in 0..2 {
            asked(&one, AuditAction::DomainDeleted, ObjectOutcome::Done).await;
        }
        assert_eq!((bench.store.ghost_object(one.id).await.unwrap(), entries(&one).await), (None, 2));
        bench.store.delete_project(&due(5), &person.viewer(), person.project.id, &any()).await.unwrap().unwrap();
        assert_eq!(bench.store.begin_purge(person.project.id, at(6), at(6)).await.unwrap(), Purge::Begun);
        bench.store.purge_project(&due(6), person.project.id).await.unwrap().unwrap();
        assert_eq!(bench.store.ghost_object(two.id).await.unwrap(), None);
    }
}
