//! Organizations through their members' eyes.

use crate::support::*;
use ogel_api::{
    id::OrganizationId,
    organizations::{Plan, Role},
};
use ogel_store::{DeleteOutcome, Organization, StoreError};

on_both! {
    async fn a_stranger_sees_and_changes_no_organization(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let (id, eyes) = (person.organization.id, stranger.viewer());
        assert_eq!(bench.store.organization(&eyes, id).await.unwrap(), None);
        let listed = bench.store.organizations(&eyes, &first(10)).await.unwrap().rows;
        assert_eq!(listed, [(stranger.organization.clone(), Role::Owner)]);
        assert_eq!(bench.store.update_organization(&eyes, id, Some("x"), Some("x"), at(1)).await.unwrap(), None);
        assert_eq!(bench.store.delete_organization(&eyes, id).await.unwrap(), DeleteOutcome::NotFound);
        // Naming somebody else's organization or project as one's own bounds opens nothing.
        for eyes in [stranger.bound_to_organization(id), stranger.bound_to_project(person.project.id)] {
            assert_eq!(bench.store.organization(&eyes, id).await.unwrap(), None);
            assert!(bench.store.organizations(&eyes, &first(10)).await.unwrap().rows.is_empty());
            assert_eq!(bench.store.update_organization(&eyes, id, Some("x"), None, at(1)).await.unwrap(), None);
            assert_eq!(bench.store.delete_organization(&eyes, id).await.unwrap(), DeleteOutcome::NotFound);
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
            assert_eq!(bench.store.update_organization(&eyes, other.id, Some("x"), None, at(1)).await.unwrap(), None);
            assert_eq!(bench.store.delete_organization(&eyes, other.id).await.unwrap(), DeleteOutcome::NotFound);
        }
        assert_eq!(bench.store.organizations(&person.viewer(), &first(10)).await.unwrap().rows.len(), 2);
    }

    async fn a_member_sees_the_organization_with_their_own_role(bench: Bench) {
        let (person, guest) = (bench.person().await, bench.person().await);
        let hex = |id: uuid::Uuid| id.simple().to_string();
        let (left, right) = if bench.file().is_some() { ("x'", "'") } else { ("'", "'") };
        let noon = at(0).to_rfc3339();
        bench.raw(&format!(
            "INSERT INTO organization_members (organization_id, user_id, role, created_at) \
             VALUES ({left}{}{right}, {left}{}{right}, 'viewer', '{noon}')",
            hex(person.organization.id.0), hex(guest.user.id.0),
        )).await;
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
        let error = bench.store.create_organization(&twin, other.user.id).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "organizations.slug" }), "{error:?}");
        let slug = Some(person.organization.slug.as_str());
        let error =
            bench.store.update_organization(&other.viewer(), other.organization.id, None, slug, at(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "organizations.slug" }), "{error:?}");
        // The transaction that failed left its connection usable.
        bench.organization_of(&other).await;
    }

    async fn only_what_is_given_changes_in_an_organization(bench: Bench) {
        let person = bench.person().await;
        let (eyes, id) = (person.viewer(), person.organization.id);
        let (renamed, _) = bench.store.update_organization(&eyes, id, Some("New"), None, at(1)).await.unwrap().unwrap();
        let expected = Organization { name: "New".to_owned(), updated_at: at(1), ..person.organization.clone() };
        assert_eq!(renamed, expected);
        let (moved, _) = bench.store.update_organization(&eyes, id, None, Some("new-slug"), at(2)).await.unwrap().unwrap();
        assert_eq!((moved.name.as_str(), moved.slug.as_str()), ("New", "new-slug"));
        let change = plan_change(&person, Plan::Team, at(3));
        assert_eq!(bench.store.change_plan(&change).await.unwrap(), Some(Plan::Free));
        let (paid, _) = bench.store.organization(&eyes, id).await.unwrap().unwrap();
        assert_eq!((paid.plan, paid.updated_at), (Plan::Team, at(3)));
    }

    async fn an_organization_with_projects_is_not_deleted(bench: Bench) {
        let person = bench.person().await;
        let (eyes, id) = (person.viewer(), person.organization.id);
        assert_eq!(bench.store.delete_organization(&eyes, id).await.unwrap(), DeleteOutcome::InUse);
        assert!(bench.store.organization(&eyes, id).await.unwrap().is_some());
        assert!(bench.store.delete_project(&eyes, person.project.id).await.unwrap());
        assert_eq!(bench.store.delete_organization(&eyes, id).await.unwrap(), DeleteOutcome::Deleted);
        assert_eq!(bench.store.organization(&eyes, id).await.unwrap(), None);
        assert_eq!(bench.store.delete_organization(&eyes, id).await.unwrap(), DeleteOutcome::NotFound);
        assert!(bench.store.user(person.user.id).await.unwrap().is_some(), "its people stay");
    }

    async fn an_organization_of_nobody_is_not_made(bench: Bench) {
        let made = organization();
        let error = bench.store.create_organization(&made, user().id).await.unwrap_err();
        assert!(matches!(error, StoreError::ForeignKey), "{error:?}");
        // The slug was not taken either.
        let person = bench.person().await;
        bench.store.create_organization(&made, person.user.id).await.unwrap();
    }

    async fn a_project_made_while_its_organization_is_deleted_is_never_lost(bench: Bench) {
        for _ in 0..10 {
            let person = bench.person().await;
            let emptied = bench.organization_of(&person).await;
            let made = project(&emptied);
            let eyes = person.bound_to_organization(emptied.id);
            let (deleted, created) = tokio::join!(
                bench.store.delete_organization(&eyes, emptied.id),
                bench.store.create_project(&made),
            );
            let there = bench.store.project(&person.viewer(), made.id).await.unwrap().is_some();
            assert_eq!(there, created.is_ok());
            match deleted.unwrap() {
                DeleteOutcome::Deleted => assert!(matches!(created, Err(StoreError::ForeignKey)), "{created:?}"),
                DeleteOutcome::InUse => created.unwrap(),
                DeleteOutcome::NotFound => panic!("it was there"),
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
        assert_eq!(bench.store.delete_organization(&person.viewer(), unknown).await.unwrap(), DeleteOutcome::NotFound);
    }
}
