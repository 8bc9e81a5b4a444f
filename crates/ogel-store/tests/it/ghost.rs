//! What ties people and projects to Ghost's: the first writer wins.

use crate::support::*;

on_both! {
    async fn of_twenty_accounts_at_once_one_stays_and_all_get_it(bench: Bench) {
        let person = bench.person().await;
        assert_eq!(bench.store.ghost_account(person.user.id).await.unwrap(), None);
        let got = at_once(20, |turn| {
            let (store, user) = (bench.store.clone(), person.user.id);
            async move { store.insert_ghost_account(user, &format!("ghost-{turn}"), at(0)).await.unwrap() }
        })
        .await;
        assert!(got.iter().all(|one| *one == got[0]), "{got:?}");
        assert_eq!(bench.store.ghost_account(person.user.id).await.unwrap().as_ref(), got.first());
    }

    async fn of_twenty_projects_at_once_one_stays_and_all_get_it(bench: Bench) {
        let person = bench.person().await;
        assert!(bench.store.ghost_project(person.project.id).await.unwrap().is_none());
        let got = at_once(20, |turn| {
            let (store, project, id) = (bench.store.clone(), person.project.id, id());
            async move {
                store.insert_ghost_project(id, project, &format!("p{turn}"), &format!("k{turn}"), at(0)).await.unwrap()
            }
        })
        .await;
        assert!(got.iter().all(|one| *one == got[0]), "{got:?}");
        assert_eq!(got[0].ogel_project_id[1..], got[0].ogel_api_key[1..], "one caller's row, whole");
        assert_eq!(bench.store.ghost_project(person.project.id).await.unwrap().as_ref(), got.first());
    }

    async fn who_write_the_very_same_at_once_all_get_it(bench: Bench) {
        for round in 0..20 {
            let person = bench.person().await;
            let (ghost, project) = (format!("ghost-{round}"), format!("p-{round}"));
            at_once(20, |_| {
                let (store, user, here, id) = (bench.store.clone(), person.user.id, person.project.id, id());
                let (ghost, project) = (ghost.clone(), project.clone());
                async move {
                    assert_eq!(store.insert_ghost_account(user, &ghost, at(0)).await.unwrap(), ghost);
                    let row = store.insert_ghost_project(id, here, &project, "k", at(0)).await.unwrap();
                    assert_eq!(row.ogel_project_id, project);
                }
            })
            .await;
        }
    }

    async fn nobody_gets_an_account_or_project_of_somebody_else(bench: Bench) {
        let (person, other) = (bench.person().await, bench.person().await);
        bench.store.insert_ghost_account(person.user.id, "ghost", at(0)).await.unwrap();
        let error = bench.store.insert_ghost_account(other.user.id, "ghost", at(0)).await.unwrap_err();
        assert!(matches!(error, ogel_store::StoreError::Unique { .. }), "{error:?}");
        assert_eq!(bench.store.ghost_account(other.user.id).await.unwrap(), None);

        bench.store.insert_ghost_project(id(), person.project.id, "p", "k", at(0)).await.unwrap();
        let error = bench.store.insert_ghost_project(id(), other.project.id, "p", "k", at(0)).await.unwrap_err();
        assert!(matches!(error, ogel_store::StoreError::Unique { .. }), "{error:?}");
        assert!(bench.store.ghost_project(other.project.id).await.unwrap().is_none());
    }
}
