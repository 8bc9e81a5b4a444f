//! Projects through the memberships of their organization.

use crate::support::*;
use ogel_api::organizations::Role;
use ogel_store::{Project, Purge, Refusal, StoreError};

on_both! {
    async fn a_stranger_sees_and_changes_no_project(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let id = person.project.id;
        for eyes in [
            stranger.viewer(),
            stranger.bound_to_organization(person.organization.id),
            stranger.bound_to_project(id),
        ] {
            assert_eq!(bench.store.project(&eyes, id).await.unwrap(), None);
            let listed = bench.store.projects(&eyes, Some(person.organization.id), &first(10)).await.unwrap().rows;
            assert!(listed.is_empty());
            let listed = bench.store.projects(&eyes, None, &first(10)).await.unwrap().rows;
            assert!(listed.iter().all(|(project, _)| project.id != id));
            assert!(bench.store.projects_by_slug(&eyes, &person.project.slug).await.unwrap().is_empty());
            assert_eq!(bench.store.update_project(&due(1), &eyes, id, (Some("x"), Some("x")), &any()).await.unwrap(), Err(Refusal::NotFound));
            assert_eq!(bench.store.delete_project(&due(5), &eyes, id, &any()).await.unwrap(), Err(Refusal::NotFound));
        }
        let kept = bench.store.project(&person.viewer(), id).await.unwrap();
        assert_eq!(kept, Some((person.project, Role::Owner)));
    }

    async fn a_bound_viewer_sees_only_what_it_is_bound_to(bench: Bench) {
        let person = bench.person().await;
        let sibling = bench.project_in(&person.organization).await;
        let elsewhere = bench.organization_of(&person).await;
        let far = bench.project_in(&elsewhere).await;

        let narrow = person.bound_to_project(person.project.id);
        let wide = person.bound_to_organization(person.organization.id);
        let listed = |eyes| {
            let store = bench.store.clone();
            async move {
                let page = store.projects(&eyes, None, &first(10)).await.unwrap();
                page.rows.into_iter().map(|(project, _)| project.id).collect::<Vec<_>>()
            }
        };
        assert_eq!(listed(narrow.clone()).await, [person.project.id]);
        assert_eq!(listed(wide.clone()).await, [sibling.id, person.project.id]);
        assert_eq!(listed(person.viewer()).await, [far.id, sibling.id, person.project.id]);

        for (eyes, hidden) in [(&narrow, &sibling), (&narrow, &far), (&wide, &far)] {
            assert_eq!(bench.store.project(eyes, hidden.id).await.unwrap(), None);
            assert!(bench.store.projects_by_slug(eyes, &hidden.slug).await.unwrap().is_empty());
            assert_eq!(bench.store.update_project(&due(1), eyes, hidden.id, (Some("x"), None), &any()).await.unwrap(), Err(Refusal::NotFound));
            assert_eq!(bench.store.delete_project(&due(5), eyes, hidden.id, &any()).await.unwrap(), Err(Refusal::NotFound));
        }
        for eyes in [&narrow, &wide] {
            assert!(bench.store.project(eyes, person.project.id).await.unwrap().is_some());
            assert_eq!(bench.store.projects_by_slug(eyes, &person.project.slug).await.unwrap().len(), 1);
        }
    }

    async fn a_list_may_be_narrowed_to_one_organization(bench: Bench) {
        let person = bench.person().await;
        let elsewhere = bench.organization_of(&person).await;
        let far = bench.project_in(&elsewhere).await;
        let page = bench.store.projects(&person.viewer(), Some(elsewhere.id), &first(10)).await.unwrap();
        assert_eq!(page.rows, [(far, Role::Owner)]);
        assert!(page.next.is_none());
    }

    async fn a_slug_is_taken_once_within_its_organization(bench: Bench) {
        let person = bench.person().await;
        let twin = Project { slug: person.project.slug.clone(), ..project(&person.organization) };
        let error = bench.store.create_project(&due(0), &twin).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "projects.slug" }), "{error:?}");

        let sibling = bench.project_in(&person.organization).await;
        let slug = Some(person.project.slug.as_str());
        let error = bench.store.update_project(&due(1), &person.viewer(), sibling.id, (None, slug), &any()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "projects.slug" }), "{error:?}");
    }

    async fn the_same_slug_in_more_organizations_is_ambiguous(bench: Bench) {
        let person = bench.person().await;
        let slug = &person.project.slug;
        assert_eq!(bench.store.projects_by_slug(&person.viewer(), slug).await.unwrap().len(), 1);
        for _ in 0..3 {
            let elsewhere = bench.organization_of(&person).await;
            bench.store.create_project(&due(0), &Project { slug: slug.clone(), ..project(&elsewhere) }).await.unwrap().unwrap();
        }
        assert_eq!(bench.store.projects_by_slug(&person.viewer(), slug).await.unwrap().len(), 2);
        let narrow = person.bound_to_organization(person.organization.id);
        assert_eq!(bench.store.projects_by_slug(&narrow, slug).await.unwrap(), [(person.project.clone(), Role::Owner)]);
    }

    async fn only_what_is_given_changes_in_a_project(bench: Bench) {
        let person = bench.person().await;
        let sibling = bench.project_in(&person.organization).await;
        let (eyes, id) = (person.viewer(), person.project.id);
        let (renamed, _) = bench.store.update_project(&due(1), &eyes, id, (Some("New"), None), &any()).await.unwrap().unwrap();
        assert_eq!(renamed, Project { name: "New".to_owned(), updated_at: at(1), row_version: 2, ..person.project.clone() });
        let (moved, _) = bench.store.update_project(&due(2), &eyes, id, (None, Some("new-slug")), &any()).await.unwrap().unwrap();
        assert_eq!((moved.name.as_str(), moved.slug.as_str()), ("New", "new-slug"));
        assert_eq!(bench.store.project(&eyes, sibling.id).await.unwrap(), Some((sibling, Role::Owner)));
    }

    async fn a_project_of_no_organization_is_refused(bench: Bench) {
        let outcome = bench.store.create_project(&due(0), &project(&organization())).await.unwrap();
        assert_eq!(outcome, Err(Refusal::NotFound));
    }

    async fn purging_a_project_removes_its_deployments_its_keys_and_its_mapping(bench: Bench) {
        let person = bench.person().await;
        let sibling = Person { project: bench.project_in(&person.organization).await, ..person_again(&person) };
        let (gone, kept) = (bench.deployment_of(&person).await, bench.deployment_of(&sibling).await);
        for project in [&person.project, &sibling.project] {
            bench.store.insert_ghost_project(id(), project.id, &word(), "sealed", at(0)).await.unwrap();
        }
        let key = ogel_store::ApiKey { project_id: Some(person.project.id), ..api_key(&person.user) };
        bench.store.create_api_key(&due(0), &key).await.unwrap();

        assert_eq!(bench.store.delete_project(&due(5), &person.viewer(), person.project.id, &any()).await.unwrap(), Ok(()));
        assert_eq!(bench.store.delete_project(&due(5), &person.viewer(), person.project.id, &any()).await.unwrap(), Err(Refusal::NotFound));
        assert_eq!(bench.store.project(&person.viewer(), person.project.id).await.unwrap(), None);
        // It can come back whole until then.
        assert!(bench.store.deployment_for_follower(gone.id).await.unwrap().is_some());
        assert_eq!(bench.store.deployment(&person.viewer(), gone.id).await.unwrap(), None);
        assert_eq!(bench.store.projects_to_purge(at(5), 10).await.unwrap(), []);
        let due_then: Vec<_> = bench.store.projects_to_purge(at(6), 10).await.unwrap().iter().map(|row| row.id).collect();
        assert_eq!(due_then, [person.project.id]);
        assert_eq!(bench.store.purge_project(&due(6), sibling.project.id).await.unwrap(), Err(Refusal::NotFound));
        assert_eq!(bench.store.begin_purge(sibling.project.id, at(6), at(6)).await.unwrap(), Purge::NotDue);
        assert_eq!(bench.store.begin_purge(person.project.id, at(5), at(6)).await.unwrap(), Purge::NotDue);
        assert_eq!(bench.store.begin_purge(person.project.id, at(6), at(6)).await.unwrap(), Purge::Begun);
        // Too late, and so it stays, whatever becomes of the time there was.
        let back = bench.store.restore_project(&due(6), &person.viewer(), person.project.id, "back").await.unwrap();
        assert_eq!(back, Err(Refusal::Purging));
        assert_eq!(bench.store.begin_purge(person.project.id, at(0), at(7)).await.unwrap(), Purge::Begun);
        assert_eq!(bench.store.purge_project(&due(6), person.project.id).await.unwrap(), Ok(()));
        assert_eq!(bench.store.begin_purge(person.project.id, at(6), at(6)).await.unwrap(), Purge::Done);
        assert_eq!(bench.store.deployment_for_follower(gone.id).await.unwrap(), None);
        assert!(bench.store.ghost_project(person.project.id).await.unwrap().is_none());
        assert!(bench.store.api_key_by_secret(&key.secret_hash).await.unwrap().is_none());
        assert_eq!(bench.store.deployment_for_follower(kept.id).await.unwrap(), Some(kept));
        assert!(bench.store.ghost_project(sibling.project.id).await.unwrap().is_some());
    }

    async fn a_deleted_project_leaves_its_slug_and_comes_back_under_a_free_one(bench: Bench) {
        let person = bench.person().await;
        let (eyes, id) = (person.viewer(), person.project.id);
        bench.store.delete_project(&due(5), &eyes, id, &any()).await.unwrap().unwrap();
        let heir = Project { slug: person.project.slug.clone(), ..project(&person.organization) };
        bench.store.create_project(&due(6), &heir).await.unwrap().unwrap();
        let (gone, role) = bench.store.deleted_project(&eyes, id).await.unwrap().unwrap();
        assert_eq!((gone.plain_slug(), role), (person.project.slug.as_str(), Role::Owner));
        let error = bench.store.restore_project(&due(7), &eyes, id, gone.plain_slug()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "projects.slug" }), "{error:?}");
        let (back, _) = bench.store.restore_project(&due(7), &eyes, id, "another").await.unwrap().unwrap();
        assert_eq!((back.slug.as_str(), back.deleted_at), ("another", None));
        assert_eq!(bench.store.restore_project(&due(8), &eyes, id, "again").await.unwrap(), Err(Refusal::NotFound));
        let stranger = bench.person().await;
        bench.store.delete_project(&due(9), &eyes, id, &any()).await.unwrap().unwrap();
        assert_eq!(bench.store.deleted_project(&stranger.viewer(), id).await.unwrap(), None);
        let outcome = bench.store.restore_project(&due(9), &stranger.viewer(), id, "mine").await.unwrap();
        assert_eq!(outcome, Err(Refusal::NotFound));
    }

    async fn pages_of_projects_are_complete_and_repeat_nothing(bench: Bench) {
        let person = bench.person().await;
        bench.person().await;
        let mut expected = vec![person.project.id.0];
        for _ in 0..44 {
            expected.push(bench.project_in(&person.organization).await.id.0);
        }
        let list = |request| {
            let (store, eyes) = (bench.store.clone(), person.viewer());
            async move { store.projects(&eyes, None, &request).await }
        };
        for limit in [10, 15, 45] {
            assert_pages(&expected, limit, |(row, _): &(Project, Role)| row.id.0, list).await;
        }
    }

    async fn fifty_writers_at_once_all_succeed(bench: Bench) {
        let person = bench.person().await;
        let made = at_once(50, |_| {
            let (store, project) = (bench.store.clone(), project(&person.organization));
            async move { store.create_project(&due(0), &project).await }
        })
        .await;
        for outcome in made {
            outcome.unwrap().unwrap();
        }
        let page = bench.store.projects(&person.viewer(), None, &first(100)).await.unwrap();
        assert_eq!(page.rows.len(), 51);
    }
}

fn person_again(person: &Person) -> Person {
    Person { user: person.user.clone(), organization: person.organization.clone(), project: person.project.clone() }
}
