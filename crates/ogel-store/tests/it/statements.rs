//! How many statements a call costs, counted where the driver notes each of them.

use crate::support::*;
use ogel_store::{Deployment, DeploymentFilter};
use std::{
    future::Future,
    sync::{Mutex, Once},
};
use tracing::{Event, Instrument as _, Subscriber, span::Id};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::{LookupSpan, Registry},
};

/// The span each statement ran in. SQLite's run on a thread of the driver's, which enters the caller's span there.
static STATEMENTS: Mutex<Vec<Id>> = Mutex::new(Vec::new());

struct Counter;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Counter {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query"
            && let Some(span) = context.event_span(event)
        {
            STATEMENTS.lock().unwrap().push(span.id());
        }
    }
}

async fn counted<T>(work: impl Future<Output = T>) -> (T, usize) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| tracing::subscriber::set_global_default(Registry::default().with(Counter)).unwrap());
    // Ids are used again when their span is gone, so it is kept until the count is taken.
    let span = tracing::info_span!("counted");
    let answer = work.instrument(span.clone()).await;
    let mut statements = STATEMENTS.lock().unwrap();
    let before = statements.len();
    statements.retain(|one| span.id().as_ref() != Some(one));
    (answer, before - statements.len())
}

on_both! {
    async fn two_hundred_deployments_cost_one_statement(bench: Bench) {
        let person = bench.person().await;
        let mut expected = Vec::new();
        for _ in 0..201 {
            expected.push(bench.deployment_of(&person).await.id);
        }
        expected.reverse();
        // A fresh connection's own settings are no part of it, so there is one, and it is not fresh.
        let store = bench.narrow_store().await;
        store.ping().await.unwrap();
        let (eyes, all, request) = (person.viewer(), DeploymentFilter::default(), first(200));
        let (page, statements) = counted(store.deployments(&eyes, &all, &request)).await;
        let page = page.unwrap();
        assert_eq!(statements, 1);
        assert_eq!(page.rows.iter().map(|row: &Deployment| row.id).collect::<Vec<_>>(), expected[..200]);
        assert_eq!(page.next, Some((at(0), expected[199].0)));
        store.close().await;
    }
}
