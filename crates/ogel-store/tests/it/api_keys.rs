//! API keys by the hash of their secret, and a person's list of them.

use crate::support::*;
use ogel_api::auth::Scope;
use ogel_store::{ApiKey, KeyChange, KeyUse, NextSecret, StoreError, Viewer};

on_both! {
    async fn a_key_is_found_by_its_secret_hash_expired_or_not(bench: Bench) {
        let person = bench.person().await;
        let key = ApiKey {
            scopes: vec![Scope::ProjectsRead, Scope::DeploymentsWrite],
            project_id: Some(person.project.id),
            organization_id: Some(person.organization.id),
            expires_at: Some(at(1)),
            ..api_key(&person.user)
        };
        bench.store.create_api_key(&due(0), &key).await.unwrap();
        let (found, user) = bench.store.api_key_by_secret(&key.secret_hash).await.unwrap().unwrap();
        assert_eq!(found, key);
        assert_eq!(user, person.user);
        assert!(bench.store.api_key_by_secret(&hash()).await.unwrap().is_none());
    }

    async fn a_key_may_have_no_scopes(bench: Bench) {
        let person = bench.person().await;
        let key = api_key(&person.user);
        bench.store.create_api_key(&due(0), &key).await.unwrap();
        assert_eq!(bench.store.api_key(&eyes(&person.user), key.id).await.unwrap(), Some(key));
    }

    async fn two_keys_cannot_have_the_same_secret(bench: Bench) {
        let person = bench.person().await;
        let key = api_key(&person.user);
        bench.store.create_api_key(&due(0), &key).await.unwrap();
        let twin = ApiKey { secret_hash: key.secret_hash, ..api_key(&person.user) };
        let error = bench.store.create_api_key(&due(0), &twin).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "api_keys.secret_hash" }), "{error:?}");
    }

    async fn touching_a_key_notes_when_it_was_used(bench: Bench) {
        let person = bench.person().await;
        let key = api_key(&person.user);
        bench.store.create_api_key(&due(0), &key).await.unwrap();
        bench.store.touch_api_keys(&[KeyUse { id: key.id, at: at(60), ip: IP }]).await.unwrap();
        let found = bench.store.api_key(&eyes(&person.user), key.id).await.unwrap().unwrap();
        assert_eq!(found, ApiKey { last_used_at: Some(at(60)), last_used_ip: Some(IP), ..key });
    }

    async fn a_strangers_key_is_neither_seen_nor_deleted(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let key = api_key(&person.user);
        bench.store.create_api_key(&due(0), &key).await.unwrap();
        assert_eq!(bench.store.api_key(&eyes(&stranger.user), key.id).await.unwrap(), None);
        assert!(bench.store.list_api_keys(&eyes(&stranger.user), &first(10)).await.unwrap().rows.is_empty());
        assert!(!bench.store.delete_api_key(&due(0), &eyes(&stranger.user), key.id).await.unwrap());
        assert_eq!(bench.store.api_key(&eyes(&person.user), key.id).await.unwrap(), Some(key.clone()));
        assert!(bench.store.delete_api_key(&due(0), &eyes(&person.user), key.id).await.unwrap());
        assert!(bench.store.api_key_by_secret(&key.secret_hash).await.unwrap().is_none());
    }

    async fn pages_of_keys_are_complete_and_repeat_nothing(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        let mut expected = Vec::new();
        for _ in 0..45 {
            let key = api_key(&person.user);
            bench.store.create_api_key(&due(0), &key).await.unwrap();
            expected.push(key.id.0);
        }
        bench.store.create_api_key(&due(0), &api_key(&other.user)).await.unwrap();
        let list = |request| {
            let (store, eyes) = (bench.store.clone(), eyes(&person.user));
            async move { store.list_api_keys(&eyes, &request).await }
        };
        for limit in [10, 15, 45] {
            assert_pages(&expected, limit, |key: &ApiKey| key.id.0, list).await;
        }
    }

    async fn the_old_secret_of_a_rotated_key_still_finds_it(bench: Bench) {
        let person = bench.person().await;
        let key = api_key(&person.user);
        bench.store.create_api_key(&due(0), &key).await.unwrap();
        let next = |ends| NextSecret { hash: hash(), prefix: "ogel_new".to_owned(), old_expires_at: ends };
        let (second, third) = (next(Some(at(60))), next(None));
        let rotated = bench.store.rotate_api_key(&due(0), &key, &second).await.unwrap().unwrap();
        assert_eq!((rotated.secret_hash, rotated.old_secret_hash, rotated.old_secret_expires_at), (second.hash, Some(key.secret_hash), Some(at(60))));
        for secret in [key.secret_hash, second.hash] {
            assert_eq!(bench.store.api_key_by_secret(&secret).await.unwrap().unwrap().0, rotated);
        }
        // Who read the key before another rotation comes too late.
        assert!(bench.store.rotate_api_key(&due(0), &key, &third).await.unwrap().is_none());
        bench.store.rotate_api_key(&due(0), &rotated, &third).await.unwrap().unwrap();
        for secret in [key.secret_hash, second.hash] {
            assert!(bench.store.api_key_by_secret(&secret).await.unwrap().is_none());
        }
    }

    async fn a_change_leaves_alone_what_it_does_not_name(bench: Bench) {
        let person = bench.person().await;
        let key = ApiKey { scopes: vec![Scope::ProjectsRead], expires_at: Some(at(9)), ..api_key(&person.user) };
        bench.store.create_api_key(&due(0), &key).await.unwrap();
        let eyes = eyes(&person.user);
        let changed = bench.store.update_api_key(&due(0), &eyes, key.id, &KeyChange::default()).await.unwrap();
        assert_eq!(changed, Some(key.clone()));
        let change = KeyChange { name: Some("new".to_owned()), scopes: Some(vec![Scope::SitesRead]), expires_at: Some(None) };
        let changed = bench.store.update_api_key(&due(0), &eyes, key.id, &change).await.unwrap().unwrap();
        assert_eq!(changed, ApiKey { name: "new".to_owned(), scopes: vec![Scope::SitesRead], expires_at: None, ..key });
    }

    async fn a_bound_key_sees_keys_bound_like_it(bench: Bench) {
        let person = bench.person().await;
        let free = api_key(&person.user);
        let of_project = ApiKey { project_id: Some(person.project.id), ..api_key(&person.user) };
        let of_organization = ApiKey { organization_id: Some(person.organization.id), ..api_key(&person.user) };
        for key in [&free, &of_project, &of_organization] {
            bench.store.create_api_key(&due(0), key).await.unwrap();
        }
        let in_project = Viewer { project: Some(person.project.id), ..eyes(&person.user) };
        let in_organization = Viewer { organization: Some(person.organization.id), ..eyes(&person.user) };
        for (viewer, seen) in [(in_project, vec![&of_project]), (in_organization, vec![&of_project, &of_organization])] {
            for key in [&free, &of_project, &of_organization] {
                assert_eq!(bench.store.api_key(&viewer, key.id).await.unwrap().is_some(), seen.contains(&key));
            }
            assert!(!bench.store.delete_api_key(&due(0), &viewer, free.id).await.unwrap());
            assert_eq!(bench.store.list_api_keys(&viewer, &first(10)).await.unwrap().rows.len(), seen.len());
        }
    }
}
