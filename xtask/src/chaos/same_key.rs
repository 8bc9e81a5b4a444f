//! The same `Idempotency-Key`, many times at once, at every replica.

use std::sync::Barrier;

use serde_json::json;

use super::Chaos;
use super::clients::{at_ghost, listed, repository, settle};
use super::report::Outcome;
use crate::Result;

const CLIENTS: usize = 50;

pub(super) fn run(chaos: &Chaos<'_>) -> Result<Outcome> {
    let rounds = chaos.many(20, 3);
    let cluster = chaos.cluster(&[])?;
    let account = cluster.sign_up("same-key")?;
    let repository = repository(&cluster.folder.0, "page", &[("index.html", "<h1>up</h1>")])?;
    let (mut different, mut refused, mut errors) = (0, 0, Vec::new());
    for round in 0..rounds {
        let barrier = Barrier::new(CLIENTS);
        let answers: Vec<Result<_>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (barrier, cluster, account, repository) = (&barrier, &cluster, &account, &repository);
                    scope.spawn(move || {
                        let body = json!({ "projectId": account.project, "repoUrl": repository, "branch": "main" });
                        let headers = [account.key.clone(), format!("Idempotency-Key: same-{round}")];
                        let address = [cluster.replicas[client % cluster.replicas.len()].address];
                        barrier.wait();
                        settle(&address, "POST", "/api/v2/deployments", &headers, Some(&body))
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
                .collect()
        });
        let mut first = None;
        for answer in answers {
            match answer {
                Ok(answer) if matches!(answer.status, 201 | 202) => {
                    let whole = (answer.status, answer.body.to_string());
                    different += usize::from(*first.get_or_insert_with(|| whole.clone()) != whole);
                }
                Ok(answer) => {
                    refused += 1;
                    errors.push(format!("{} {}", answer.status, answer.body));
                }
                Err(error) => {
                    refused += 1;
                    errors.push(error);
                }
            }
        }
    }
    let (rows, there) = (listed(&cluster, &account)?.len(), at_ghost(&cluster, &account.project)?.len());
    let mut outcome =
        Outcome::new(format!("the same key POSTed {CLIENTS} times at once to 3 replicas"), format!("{rounds} keys"));
    outcome.note(format!("{} requests, {rows} deployments", rounds * CLIENTS));
    outcome.none("deployments too many or too few", rows.abs_diff(rounds));
    outcome.none("too many at Ghost", there.saturating_sub(rounds));
    outcome.none("answers that differ", different);
    outcome.none("requests without their answer", refused);
    errors.iter().take(3).for_each(|error| println!("  {error}"));
    Ok(outcome)
}
