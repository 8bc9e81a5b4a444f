//! The end of an account while other things happen to it.

use crate::support::*;
use ogel_store::{Refusal, StoreError};

const LEFT_ALONE: &str = "SELECT COUNT(*) FROM organizations o WHERE o.deleted_at IS NULL AND NOT EXISTS \
     (SELECT 1 FROM organization_members m WHERE m.organization_id = o.id)";

fn leave(bench: &Bench, person: &Person) -> tokio::task::JoinHandle<ogel_store::Outcome<()>> {
    let (store, user) = (bench.store.clone(), person.user.clone());
    tokio::spawn(async move { store.delete_account(&act(&user, 1), user.id, &[hash()], at(9)).await.unwrap() })
}

fn make(bench: &Bench, person: &Person) -> tokio::task::JoinHandle<Result<ogel_store::Outcome<()>, StoreError>> {
    let (store, user) = (bench.store.clone(), person.user.clone());
    tokio::spawn(async move { store.create_organization(&act(&user, 1), &organization(), user.id).await })
}

#[tokio::test]
async fn an_organization_made_while_its_maker_goes_is_refused_and_not_left_alone() {
    run(Bench::postgres().await, |bench: Bench| async move {
        let person = bench.person().await;
        // They come as far as what remains of the person, and no further.
        let held = bench.begin("LOCK TABLE closed_identities IN ACCESS EXCLUSIVE MODE").await;
        let leaving = leave(&bench, &person);
        bench.until_waiting(1, || false).await;
        let making = make(&bench, &person);
        bench.until_waiting(2, || making.is_finished()).await;
        held.commit().await;
        leaving.await.unwrap().unwrap();
        assert!(matches!(making.await.unwrap(), Err(StoreError::ForeignKey)));
        assert_eq!(bench.number(LEFT_ALONE).await, 0);
    })
    .await;
}

#[tokio::test]
async fn an_organization_made_just_before_its_maker_goes_is_seen_the_next_time() {
    run(Bench::postgres().await, |bench: Bench| async move {
        let person = bench.person().await;
        // They know where they belong, and wait for the first of these.
        let hold = format!("UPDATE organizations SET name = name WHERE id = '{}'", person.organization.id.0);
        let held = bench.begin(&hold).await;
        let leaving = leave(&bench, &person);
        bench.until_waiting(1, || false).await;
        make(&bench, &person).await.unwrap().unwrap().unwrap();
        held.commit().await;
        assert_eq!(leaving.await.unwrap(), Err(Refusal::Stale));
        assert!(bench.store.user(person.user.id).await.unwrap().is_some());
        leave(&bench, &person).await.unwrap().unwrap();
        assert_eq!(bench.number(LEFT_ALONE).await, 0);
        assert_eq!(bench.number("SELECT COUNT(*) FROM organizations WHERE deleted_at IS NOT NULL").await, 2);
    })
    .await;
}

on_both! {
    async fn who_leaves_and_makes_organizations_meanwhile_leaves_none_alone(bench: Bench) {
        for _ in 0..5 {
            let person = bench.person().await;
            let making: Vec<_> = (0..4).map(|_| make(&bench, &person)).collect();
            let mut left = leave(&bench, &person).await.unwrap();
            for made in making {
                match made.await.unwrap() {
                    Ok(outcome) => outcome.unwrap(),
                    Err(error) => assert!(matches!(error, StoreError::ForeignKey), "{error:?}"),
                }
            }
            while left == Err(Refusal::Stale) {
                left = leave(&bench, &person).await.unwrap();
            }
            left.unwrap();
        }
        assert_eq!(bench.number(LEFT_ALONE).await, 0);
    }
}
