//! Organizations through their members' eyes.

use crate::support::*;
use ogel_api::{
    id::OrganizationId,
    organizations::{Plan, Role},
};
use ogel_store::{Expected, Organization, Purge, Refusal, StoreError};

on_both! {
    async fn a_stranger_sees_and_changes_no_organization(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let (id, eyes) = (person.organization.id, stranger.viewer());
        assert_eq!(bench.store.organization(&eyes, id).await.unwrap(), None);
        let listed = bench.store.organizations(&eyes, &first(10)).await.unwrap().rows;
        assert_eq!(listed, [(stranger.organization.clone(), Role::Owner)]);
        assert_eq!(bench.store.update_organization(&due(1), &eyes, id, (Some("x"), Some("x")), at(100), &any()).await.unwrap(), Err(Refusal::NotFound));
        assert_eq!(bench.store.delete_organization(&due(5), &eyes, id, &any()).await.unwrap(), Err(Refusal::NotFound));
        // Naming somebody else's organization or project as one's own bounds opens nothing.
        for eyes in [stranger.bound_to_organization(id), stranger.bound_to_project(person.project.id)] {
            assert_eq!(bench.store.organization(&eyes, id).await.unwrap(), None);
            assert!(bench.store.organizations(&eyes, &first(10)).await.unwrap().rows.is_empty());
            assert_eq!(bench.store.update_organization(&due(1), &eyes, id, (Some("x"), None), at(100), &any()).await.unwrap(), Err(Refusal::NotFound));
            assert_eq!(bench.store.delete_organization(&due(5), &eyes, id, &any()).await.unwrap(), Err(Refusal::NotFound));
        }
        let kept = bench.store.organization(&person.viewer(), id).await.unwrap();
        assert_eq!(kept, Some((person.organization, Role::Owner)));
    }

    async fn a_bound_viewer_sees_only_the_one_organization(bench: Bench) {
        let person = bench.person().await;
        let other = bench.organization_of(&person).await;
        for eyes in [person.bound_to_organization(person.organization.id), person.bound_to_project(person.project.id)] {
            let listed = bench.store.organizations(&eyes, &first(10)).await.unwrap().rows;
            assert_eq!(listed, [(person.organization.clone(), Role::Owner)]);
            assert!(bench.store.organization(&eyes, person.organization.id).await.unwrap().is_some());
            assert_eq!(bench.store.organization(&eyes, other.id).await.unwrap(), None);
            assert_eq!(bench.store.update_organization(&due(1), &eyes, other.id, (Some("x"), None), at(100), &any()).await.unwrap(), Err(Refusal::NotFound));
            assert_eq!(bench.store.delete_organization(&due(5), &eyes, other.id, &any()).await.unwrap(), Err(Refusal::NotFound));
        }
        assert_eq!(bench.store.organizations(&person.viewer(), &first(10)).await.unwrap().rows.len(), 2);
    }

    async fn a_member_sees_the_organization_with_their_own_role(bench: Bench) {
        let (person, guest) = (bench.person().await, bench.person().await);
        bench.join(&person, &guest, "viewer").await;
        let (_, role) = bench.store.organization(&guest.viewer(), person.organization.id).await.unwrap().unwrap();
        assert_eq!(role, Role::Viewer);
        let (_, role) = bench.store.project(&guest.viewer(), person.project.id).await.unwrap().unwrap();
        assert_eq!(role, Role::Viewer);
        let (_, role) = bench.store.organization(&person.viewer(), person.organization.id).await.unwrap().unwrap();
        assert_eq!(role, Role::Owner);
    }

    async fn a_slug_is_taken_once_over_all_organizations(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        let twin = Organization { slug: person.organization.slug.clone(), ..organization() };
        let error = bench.store.create_organization(&due(0), &twin, other.user.id).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "organizations.slug" }), "{error:?}");
        let slug = Some(person.organization.slug.as_str());
        let error =
            bench.store.update_organization(&due(1), &other.viewer(), other.organization.id, (None, slug), at(100), &any()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "organizations.slug" }), "{error:?}");
        // The transaction that failed left its connection usable.
        bench.organization_of(&other).await;
    }

    async fn only_what_is_given_changes_in_an_organization(bench: Bench) {
        let person = bench.person().await;
        let (eyes, id) = (person.viewer(), person.organization.id);
        let (renamed, _) = bench.store.update_organization(&due(1), &eyes, id, (Some("New"), None), at(100), &any()).await.unwrap().unwrap();
        let expected = Organization { name: "New".to_owned(), updated_at: at(1), row_version: 2, ..person.organization.clone() };
        assert_eq!(renamed, expected);
        let (moved, _) = bench.store.update_organization(&due(2), &eyes, id, (None, Some("new-slug")), at(100), &any()).await.unwrap().unwrap();
        assert_eq!((moved.name.as_str(), moved.slug.as_str()), ("New", "new-slug"));
        let change = plan_change(&person, Plan::Team, at(3));
        assert_eq!(bench.store.change_plan(&change).await.unwrap(), Some(Plan::Free));
        let (paid, _) = bench.store.organization(&eyes, id).await.unwrap().unwrap();
        assert_eq!((paid.plan, paid.updated_at), (Plan::Team, at(3)));
    }

    async fn an_organization_with_projects_is_not_deleted(bench: Bench) {
        let person = bench.person().await;
        let (eyes, id) = (person.viewer(), person.organization.id);
        assert_eq!(bench.store.delete_organization(&due(5), &eyes, id, &any()).await.unwrap(), Err(Refusal::InUse));
        assert!(bench.store.organization(&eyes, id).await.unwrap().is_some());
        assert_eq!(bench.store.delete_project(&due(5), &eyes, person.project.id, &any()).await.unwrap(), Ok(()));
        assert_eq!(bench.store.delete_organization(&due(5), &eyes, id, &any()).await.unwrap(), Ok(()));
        assert_eq!(bench.store.organization(&eyes, id).await.unwrap(), None);
        assert_eq!(bench.store.delete_organization(&due(5), &eyes, id, &any()).await.unwrap(), Err(Refusal::NotFound));
        assert!(bench.store.user(person.user.id).await.unwrap().is_some(), "its people stay");
        // Its owner may bring it back, as long as it is not purged; its deleted project keeps it from being that.
        assert_eq!(bench.store.purge_organizations(at(1), 10).await.unwrap(), 0, "too early");
        assert_eq!(bench.store.purge_organizations(at(9), 10).await.unwrap(), 0, "its project comes first");
        let (back, _) = bench.store.restore_organization(&due(6), &eyes, id).await.unwrap().unwrap();
        assert_eq!((back.slug, back.deleted_at), (person.organization.slug, None));
        assert_eq!(bench.store.delete_organization(&due(7), &eyes, id, &any()).await.unwrap(), Ok(()));
        assert_eq!(bench.store.begin_purge(person.project.id, at(6), at(6)).await.unwrap(), Purge::Begun);
        bench.store.purge_project(&due(8), person.project.id).await.unwrap().unwrap();
        assert_eq!(bench.store.purge_organizations(at(9), 10).await.unwrap(), 1);
        assert_eq!(bench.store.restore_organization(&due(9), &eyes, id).await.unwrap(), Err(Refusal::NotFound));
    }

    async fn of_two_who_meant_the_same_version_one_is_told(bench: Bench) {
        let person = bench.person().await;
        let id = person.organization.id;
        let seen = Expected::one_of(&[person.organization.row_version]);
        let changes = at_once(8, |turn| {
            let (store, eyes, seen, act) = (bench.store.clone(), person.viewer(), seen.clone(), due(1));
            async move {
                let name = format!("by {turn}");
                store.update_organization(&act, &eyes, id, (Some(&name), None), at(100), &seen).await.unwrap()
            }
        })
        .await;
        let (done, stale): (Vec<_>, Vec<_>) = changes.into_iter().partition(Result::is_ok);
        assert_eq!((done.len(), stale.len()), (1, 7));
        assert!(stale.iter().all(|refused| *refused == Err(Refusal::Stale)));
        let (kept, _) = bench.store.organization(&person.viewer(), id).await.unwrap().unwrap();
        assert_eq!((Ok((kept.clone(), Role::Owner)), kept.row_version), (done[0].clone(), 2));
        let none = Expected::one_of(&[]);
        assert_eq!(bench.store.delete_organization(&due(2), &person.viewer(), id, &none).await.unwrap(), Err(Refusal::Stale));
    }

    async fn a_slug_given_up_is_held_for_a_while(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        let (id, old) = (person.organization.id, person.organization.slug.as_str());
        bench.store.update_organization(&due(1), &person.viewer(), id, (None, Some("elsewhere")), at(100), &any()).await.unwrap().unwrap();
        let mine = other.organization.id;
        let take = |seconds| {
            let (store, eyes) = (bench.store.clone(), other.viewer());
            async move { store.update_organization(&due(seconds), &eyes, mine, (None, Some(old)), at(200), &any()).await.unwrap() }
        };
        assert_eq!(take(2).await.map(drop), Err(Refusal::SlugHeld));
        let same = Organization { slug: old.to_owned(), ..organization() };
        let made = bench.store.create_organization(&due(2), &same, other.user.id).await.unwrap();
        assert_eq!(made, Err(Refusal::SlugHeld));
        // Whoever gave it up may take it back.
        bench.store.update_organization(&due(3), &person.viewer(), id, (None, Some(old)), at(100), &any()).await.unwrap().unwrap();
        bench.store.update_organization(&due(4), &person.viewer(), id, (None, Some("gone")), at(100), &any()).await.unwrap().unwrap();
        assert_eq!(take(99).await.map(drop), Err(Refusal::SlugHeld));
        assert_eq!(take(100).await.map(|(row, _)| row.slug), Ok(old.to_owned()));
        assert_eq!(bench.store.delete_lapsed_slugs(at(100), 10).await.unwrap(), 1);
    }

    async fn an_organization_of_nobody_is_not_made(bench: Bench) {
        let made = organization();
        let error = bench.store.create_organization(&due(0), &made, user().id).await.unwrap_err();
        assert!(matches!(error, StoreError::ForeignKey), "{error:?}");
        // The slug was not taken either.
        let person = bench.person().await;
        bench.store.create_organization(&due(0), &made, person.user.id).await.unwrap().unwrap();
    }

    async fn a_project_made_while_its_organization_is_deleted_is_never_lost(bench: Bench) {
        for _ in 0..10 {
            let person = bench.person().await;
            let emptied = bench.organization_of(&person).await;
            let made = project(&emptied);
            let eyes = person.bound_to_organization(emptied.id);
            let (one, other, expected) = (due(5), due(5), any());
            let (deleted, created) = tokio::join!(
                bench.store.delete_organization(&one, &eyes, emptied.id, &expected),
                bench.store.create_project(&other, &made),
            );
            let there = bench.store.project(&person.viewer(), made.id).await.unwrap().is_some();
            match deleted.unwrap() {
                Ok(()) => assert_eq!((created.unwrap(), there), (Err(Refusal::NotFound), false)),
                refused => {
                    assert_eq!((refused, created.unwrap(), there), (Err(Refusal::InUse), Ok(()), true));
                }
            }
        }
    }

    async fn pages_of_organizations_are_complete_and_repeat_nothing(bench: Bench) {
        let person = bench.person().await;
        bench.person().await;
        let mut expected = vec![person.organization.id.0];
        for _ in 0..44 {
            expected.push(bench.organization_of(&person).await.id.0);
        }
        let list = |request| {
            let (store, eyes) = (bench.store.clone(), person.viewer());
            async move { store.organizations(&eyes, &request).await }
        };
        for limit in [10, 15, 45] {
            assert_pages(&expected, limit, |(row, _): &(Organization, Role)| row.id.0, list).await;
        }
    }

    async fn an_unknown_organization_is_not_there(bench: Bench) {
        let person = bench.person().await;
        let unknown = OrganizationId(id());
        assert_eq!(bench.store.organization(&person.viewer(), unknown).await.unwrap(), None);
        assert_eq!(bench.store.delete_organization(&due(5), &person.viewer(), unknown, &any()).await.unwrap(), Err(Refusal::NotFound));
    }
}
