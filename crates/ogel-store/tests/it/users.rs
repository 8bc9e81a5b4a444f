//! Signing up, and people by id and e-mail.

use crate::support::*;
use ogel_store::{Organization, Refusal, StoreError, User, Viewer};

on_both! {
    async fn signing_up_makes_a_person_an_organization_and_a_project(bench: Bench) {
        let person = bench.person().await;
        assert_eq!(bench.store.user(person.user.id).await.unwrap(), Some(person.user.clone()));
        let (organization, role) =
            bench.store.organization(&person.viewer(), person.organization.id).await.unwrap().unwrap();
        assert_eq!(organization, person.organization);
        assert_eq!(role, ogel_api::organizations::Role::Owner);
        let (project, _) = bench.store.project(&person.viewer(), person.project.id).await.unwrap().unwrap();
        assert_eq!(project, person.project);
    }

    async fn signing_up_without_a_project_makes_none(bench: Bench) {
        let (user, organization) = (user(), organization());
        bench.store.sign_up(&due(0), &user, &organization, None).await.unwrap().unwrap();
        let viewer = Viewer { user: user.id, organization: None, project: None };
        assert!(bench.store.projects(&viewer, None, &first(10)).await.unwrap().rows.is_empty());
    }

    async fn signing_up_is_all_or_nothing(bench: Bench) {
        let there = bench.person().await;
        // The organization is refused after the person was written, and the project after both.
        let slug_taken = Organization { slug: there.organization.slug.clone(), ..organization() };
        let late = user();
        let error = bench.store.sign_up(&due(0), &late, &slug_taken, None).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "organizations.slug" }), "{error:?}");
        assert_eq!(bench.store.user(late.id).await.unwrap(), None);

        let fresh = organization();
        let slug_taken = ogel_store::Project { slug: there.project.slug.clone(), ..project(&there.organization) };
        let error = bench.store.sign_up(&due(0), &late, &fresh, Some(&slug_taken)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "projects.slug" }), "{error:?}");
        assert_eq!(bench.store.user(late.id).await.unwrap(), None);
        assert_eq!(bench.store.user_by_email(&late.email).await.unwrap(), None);

        // Nothing is left behind that would be in the way of the next attempt.
        bench.store.sign_up(&due(0), &late, &fresh, None).await.unwrap().unwrap();
    }

    async fn an_email_is_taken_in_any_letter_case(bench: Bench) {
        let there = bench.person().await;
        for email in [there.user.email.clone(), there.user.email.to_uppercase()] {
            let error = bench.store.sign_up(&due(0), &User { email, ..user() }, &organization(), None).await.unwrap_err();
            assert!(matches!(error, StoreError::Unique { what: "users.email" }), "{error:?}");
        }
    }

    async fn people_are_found_by_email_in_any_letter_case(bench: Bench) {
        let person = bench.person().await;
        for email in [person.user.email.clone(), person.user.email.to_uppercase()] {
            assert_eq!(bench.store.user_by_email(&email).await.unwrap().unwrap().id, person.user.id);
        }
        assert_eq!(bench.store.user_by_email("nobody@example.test").await.unwrap(), None);
        assert_eq!(bench.store.user(ogel_api::id::UserId(id())).await.unwrap(), None);
    }

    async fn only_the_name_that_is_given_changes(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        let named = bench.store.update_user(&due(5), person.user.id, Some("Lovelace"), &any()).await.unwrap().unwrap();
        assert_eq!(named, User { name: "Lovelace".to_owned(), updated_at: at(5), row_version: 2, ..person.user.clone() });
        let untouched = bench.store.update_user(&due(6), person.user.id, None, &any()).await.unwrap().unwrap();
        assert_eq!(untouched.name, "Lovelace");
        assert_eq!(bench.store.user(other.user.id).await.unwrap(), Some(other.user.clone()));
        assert_eq!(bench.store.update_user(&due(7), ogel_api::id::UserId(id()), Some("x"), &any()).await.unwrap(), Err(Refusal::NotFound));
    }

    async fn a_person_prints_neither_email_nor_password(bench: Bench) {
        let person = bench.person().await;
        let printed = format!("{:?}", person.user);
        assert!(!printed.contains(&person.user.email) && !printed.contains("argon2"), "{printed}");
    }
}
