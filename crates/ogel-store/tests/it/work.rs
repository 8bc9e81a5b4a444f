//! Jobs: with one process at a time, never lost, and left for people when they fail too often.

use crate::support::*;
use ogel_api::admin::Queue;
use ogel_store::{Hold, Job, NewJob};
use std::collections::HashSet;

const QUEUE: Queue = Queue::Deployments;

fn job(due: i64) -> NewJob {
    NewJob { queue: QUEUE, id: id(), due_at: at(due), hold: None, created_at: at(0) }
}

async fn written(bench: &Bench, due: i64) -> NewJob {
    let job = job(due);
    bench.store.enqueue(&job).await.unwrap();
    job
}

async fn due(bench: &Bench, hold: Hold, now: i64) -> Vec<Job> {
    bench.store.take_due(QUEUE, hold, at(now), 100).await.unwrap()
}

on_both! {
    async fn what_is_due_is_taken_those_that_wait_longest_first(bench: Bench) {
        let (second, first, later) = (written(&bench, 2).await, written(&bench, 1).await, written(&bench, 9).await);
        let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
        let one = bench.store.take_due(QUEUE, hold(60), at(5), 1).await.unwrap();
        assert_eq!((one[0].id, one[0].attempts, one[0].leased_until), (first.id, 1, Some(at(60))));
        assert_eq!(ids(due(&bench, hold(60), 5).await), [second.id]);
        assert_eq!(due(&bench, hold(60), 5).await, [], "everything due is taken");
        assert_eq!(ids(due(&bench, hold(60), 9).await), [later.id]);
        assert_eq!(bench.store.take_due(QUEUE, hold(60), at(90), 0).await.unwrap(), []);
    }

    async fn twenty_who_take_at_once_share_the_jobs_without_overlap(bench: Bench) {
        let mut all = HashSet::new();
        for _ in 0..60 {
            all.insert(written(&bench, 0).await.id);
        }
        // Whoever loses a race finds fewer than there are, so each asks until there is nothing.
        let taken = at_once(20, |_| {
            let store = bench.store.clone();
            async move {
                let (mut mine, hold) = (Vec::new(), hold(60));
                loop {
                    match store.take_due(QUEUE, hold, at(1), 4).await {
                        Ok(jobs) if jobs.is_empty() => {
                            if store.queue_figures(at(1)).await.unwrap()[0].waiting == 0 {
                                return mine;
                            }
                        }
                        Ok(jobs) => mine.extend(jobs.into_iter().map(|job| job.id)),
                        // A deadlock's victim asks again.
                        Err(ogel_store::StoreError::Unavailable(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        })
        .await;
        let taken: Vec<_> = taken.into_iter().flatten().collect();
        assert_eq!(taken.len(), 60, "none twice");
        assert_eq!(taken.into_iter().collect::<HashSet<_>>(), all);
    }

    async fn one_of_twenty_gets_a_job_by_its_id(bench: Bench) {
        let job = written(&bench, 1_000).await;
        let taken = at_once(20, |_| {
            let store = bench.store.clone();
            async move { store.take(QUEUE, job.id, hold(60), at(1)).await.unwrap().is_some() }
        })
        .await;
        assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 1);
    }

    async fn when_its_holder_dies_a_job_goes_to_another_after_the_lease(bench: Bench) {
        written(&bench, 0).await;
        let first = due(&bench, hold(10), 0).await.remove(0);
        assert_eq!(due(&bench, hold(20), 9).await, []);
        let second = due(&bench, hold(20), 10).await.remove(0);
        assert_eq!((second.id, second.attempts), (first.id, 2), "dying counts as an attempt");
        // Whoever comes back from the dead changes nothing.
        assert!(!bench.store.put_back(&first, at(99), None).await.unwrap());
        assert!(!bench.store.bury(&first, "late", at(11)).await.unwrap());
        assert!(!bench.store.finish_job(&first).await.unwrap());
        bench.store.release(QUEUE, first.id, first.fence).await.unwrap();
        assert_eq!(bench.store.job(QUEUE, first.id).await.unwrap().unwrap(), second);
        assert!(bench.store.finish_job(&second).await.unwrap());
        assert_eq!(bench.store.job(QUEUE, first.id).await.unwrap(), None);
    }

    async fn a_lease_is_prolonged_for_its_owner_only(bench: Bench) {
        written(&bench, 0).await;
        let (mine, theirs) = (hold(10), hold(10));
        let held = due(&bench, mine, 0).await.remove(0);
        assert_eq!(bench.store.renew_leases(Hold { until: at(30), ..theirs }).await.unwrap(), []);
        let ours = bench.store.renew_leases(Hold { until: at(30), ..mine }).await.unwrap();
        assert_eq!(ours, [(QUEUE, held.id, held.fence)]);
        assert_eq!(due(&bench, theirs, 29).await, []);
        assert_eq!(due(&bench, Hold { until: at(60), ..theirs }, 30).await.len(), 1);
        assert_eq!(bench.store.renew_leases(Hold { until: at(90), ..mine }).await.unwrap(), [], "it is no longer ours");
    }

    async fn a_job_put_back_is_due_when_it_says_and_counts_its_failures_in_a_row(bench: Bench) {
        written(&bench, 0).await;
        let one = due(&bench, hold(60), 0).await.remove(0);
        assert!(bench.store.put_back(&one, at(5), Some("no")).await.unwrap());
        assert_eq!(due(&bench, hold(60), 4).await, []);
        let two = due(&bench, hold(60), 5).await.remove(0);
        assert_eq!((two.attempts, two.last_error.as_deref()), (2, Some("no")));
        assert!(bench.store.put_back(&two, at(6), None).await.unwrap());
        let three = due(&bench, hold(60), 6).await.remove(0);
        assert_eq!((three.attempts, three.last_error), (1, None));
        bench.store.release(QUEUE, three.id, three.fence).await.unwrap();
        assert_eq!(due(&bench, hold(60), 6).await.len(), 1, "at once");
    }

    async fn what_happens_while_a_job_is_worked_on_makes_it_due_again(bench: Bench) {
        let job = written(&bench, 50).await;
        bench.store.hasten(QUEUE, job.id, at(3)).await.unwrap();
        let one = due(&bench, hold(60), 3).await.remove(0);
        assert!(bench.store.put_back(&one, at(50), None).await.unwrap());
        assert_eq!(due(&bench, hold(60), 4).await, [], "it was heeded");
        let one = bench.store.take(QUEUE, job.id, hold(60), at(5)).await.unwrap().unwrap();
        bench.store.hasten(QUEUE, job.id, at(6)).await.unwrap();
        assert!(bench.store.put_back(&one, at(50), None).await.unwrap());
        assert_eq!(due(&bench, hold(60), 7).await.len(), 1);
    }

    async fn a_buried_job_is_left_alone_until_it_is_revived(bench: Bench) {
        written(&bench, 0).await;
        let one = due(&bench, hold(60), 0).await.remove(0);
        assert!(bench.store.bury(&one, "it never works", at(1)).await.unwrap());
        assert_eq!(due(&bench, hold(60), 99).await, []);
        assert_eq!(bench.store.take(QUEUE, one.id, hold(60), at(99)).await.unwrap(), None);
        let dead = bench.store.job(QUEUE, one.id).await.unwrap().unwrap();
        assert_eq!((dead.dead_at, dead.last_error.as_deref()), (Some(at(1)), Some("it never works")));
        assert!(bench.store.revive(QUEUE, one.id, at(100)).await.unwrap());
        assert!(!bench.store.revive(QUEUE, one.id, at(100)).await.unwrap(), "it is alive");
        assert_eq!(due(&bench, hold(160), 100).await[0].attempts, 1);
    }

    async fn a_job_is_written_once_and_may_be_held_from_the_start(bench: Bench) {
        let held = NewJob { hold: Some(hold(10)), ..job(0) };
        bench.store.enqueue(&held).await.unwrap();
        assert_eq!(due(&bench, hold(60), 9).await, []);
        bench.store.enqueue(&NewJob { hold: None, ..held }).await.unwrap();
        assert_eq!(due(&bench, hold(60), 9).await, [], "writing it again takes it from nobody");
        let taken = due(&bench, hold(60), 10).await.remove(0);
        assert_eq!((taken.attempts, taken.fence), (2, 2));
        let early = written(&bench, 500).await;
        bench.store.enqueue(&NewJob { due_at: at(400), ..early }).await.unwrap();
        bench.store.enqueue(&NewJob { due_at: at(600), ..early }).await.unwrap();
        assert_eq!(bench.store.job(QUEUE, early.id).await.unwrap().unwrap().due_at, at(400));
    }

    async fn figures_say_how_a_queue_stands(bench: Bench) {
        assert_eq!(bench.store.queue_figures(at(0)).await.unwrap(), []);
        for due in [0, 0, 7, 8] {
            written(&bench, due).await;
        }
        let mut taken = due(&bench, hold(60), 0).await;
        bench.store.bury(&taken.remove(0), "x", at(1)).await.unwrap();
        let figures = bench.store.queue_figures(at(1)).await.unwrap().remove(0);
        assert_eq!((figures.queue, figures.waiting, figures.leased, figures.dead), (QUEUE, 2, 1, 1));
        assert_eq!(figures.oldest_due_at, Some(at(7)));
        let figures = bench.store.queue_figures(at(60)).await.unwrap().remove(0);
        assert_eq!((figures.waiting, figures.leased, figures.oldest_due_at), (3, 0, Some(at(0))), "the lease is over");
    }

    async fn a_deployment_and_its_job_are_written_together(bench: Bench) {
        let person = bench.person().await;
        let new = deployment(&person);
        bench.store.create_deployment(&new).await.unwrap();
        assert_eq!(bench.store.job(QUEUE, new.id.0).await.unwrap().unwrap(), new.job());
        let stranger = bench.person().await;
        let refused = ogel_store::NewDeployment { created_by: stranger.user.id, ..deployment(&person) };
        bench.store.create_deployment(&refused).await.unwrap_err();
        assert_eq!(bench.store.job(QUEUE, refused.id.0).await.unwrap(), None);
        assert_eq!(bench.store.enqueue_unfinished(at(1), 10).await.unwrap(), 0);
        bench.raw("DELETE FROM work").await;
        assert_eq!(bench.store.enqueue_unfinished(at(1), 10).await.unwrap(), 1);
        assert_eq!(due(&bench, hold(60), 1).await[0].id, new.id.0);
    }
}
