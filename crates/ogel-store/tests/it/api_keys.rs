//! API keys by the hash of their secret, and a person's list of them.

use crate::support::*;
use ogel_api::auth::Scope;
use ogel_store::{ApiKey, StoreError};

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
        bench.store.create_api_key(&key).await.unwrap();
        let (found, user) = bench.store.api_key_by_secret(&key.secret_hash).await.unwrap().unwrap();
        assert_eq!(found, key);
        assert_eq!(user, person.user);
        assert!(bench.store.api_key_by_secret(&hash()).await.unwrap().is_none());
    }

    async fn a_key_may_have_no_scopes(bench: Bench) {
        let person = bench.person().await;
        let key = api_key(&person.user);
        bench.store.create_api_key(&key).await.unwrap();
        assert_eq!(bench.store.api_key(key.id, person.user.id).await.unwrap(), Some(key));
    }

    async fn two_keys_cannot_have_the_same_secret(bench: Bench) {
        let person = bench.person().await;
        let key = api_key(&person.user);
        bench.store.create_api_key(&key).await.unwrap();
        let twin = ApiKey { secret_hash: key.secret_hash, ..api_key(&person.user) };
        let error = bench.store.create_api_key(&twin).await.unwrap_err();
        assert!(matches!(error, StoreError::Unique { what: "api_keys.secret_hash" }), "{error:?}");
    }

    async fn touching_a_key_notes_when_it_was_used(bench: Bench) {
        let person = bench.person().await;
        let key = api_key(&person.user);
        bench.store.create_api_key(&key).await.unwrap();
        bench.store.touch_api_key(key.id, at(60)).await.unwrap();
        let found = bench.store.api_key(key.id, person.user.id).await.unwrap().unwrap();
        assert_eq!(found, ApiKey { last_used_at: Some(at(60)), ..key });
    }

    async fn a_strangers_key_is_neither_seen_nor_deleted(bench: Bench) {
        let (person, stranger) = (bench.person().await, bench.person().await);
        let key = api_key(&person.user);
        bench.store.create_api_key(&key).await.unwrap();
        assert_eq!(bench.store.api_key(key.id, stranger.user.id).await.unwrap(), None);
        assert!(bench.store.list_api_keys(stranger.user.id, &first(10)).await.unwrap().rows.is_empty());
        assert!(!bench.store.delete_api_key(key.id, stranger.user.id).await.unwrap());
        assert_eq!(bench.store.api_key(key.id, person.user.id).await.unwrap(), Some(key.clone()));
        assert!(bench.store.delete_api_key(key.id, person.user.id).await.unwrap());
        assert!(bench.store.api_key_by_secret(&key.secret_hash).await.unwrap().is_none());
    }

    async fn pages_of_keys_are_complete_and_repeat_nothing(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        let mut expected = Vec::new();
        for _ in 0..45 {
            let key = api_key(&person.user);
            bench.store.create_api_key(&key).await.unwrap();
            expected.push(key.id.0);
        }
        bench.store.create_api_key(&api_key(&other.user)).await.unwrap();
        let list = |request| {
            let (store, user) = (bench.store.clone(), person.user.id);
            async move { store.list_api_keys(user, &request).await }
        };
        for limit in [10, 15, 45] {
            assert_pages(&expected, limit, |key: &ApiKey| key.id.0, list).await;
        }
    }
}
