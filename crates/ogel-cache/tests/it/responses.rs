//! Answers kept for a short time: the same over memory and over Redis.

use crate::server::{Server, connected, eventually, process};
use bytes::Bytes;
use ogel_cache::{CacheKey, Entry, Event, Lifetimes, Look, Responses, Shared, Tag, Token};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;

const TAGS: &[Tag] = &[Tag::all("t")];
const LIFETIMES: Lifetimes = Lifetimes {
    fresh: Duration::from_secs(10),
    negative: Duration::from_secs(1),
    while_revalidating: Duration::from_secs(10),
    if_error: Duration::from_secs(10),
};

fn key(name: &str) -> CacheKey {
    CacheKey { scope: "tenant".into(), name: name.into() }
}

fn entry(text: &'static str) -> Entry {
    Entry::new(200, Bytes::from_static(text.as_bytes()), "\"e\"".into())
}

async fn fetch(cache: &Arc<Responses>, now: u64, text: &'static str) -> Bytes {
    let read = async { Ok::<_, &'static str>(entry(text)) };
    cache.fetch(&key("k"), TAGS, now, &LIFETIMES, false, read).await.unwrap().body.clone()
}

/// Runs a case without Redis, and with one.
macro_rules! on_both {
    ($(async fn $name:ident($shared:ident: Shared) $body:block)+) => { $(
        mod $name {
            use super::*;
            async fn case($shared: Shared) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn memory() {
                case(Shared::memory()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn redis() {
                let server = Server::start(&[]);
                let shared = process(&format!("redis://127.0.0.1:{}", server.port), 1, Duration::from_secs(2));
                connected(&shared).await;
                case(shared).await;
            }
        }
    )+ };
}

on_both! {
    async fn an_answer_ages_and_ends(shared: Shared) {
        let cache = Arc::new(Responses::new(shared, 1 << 20));
        assert!(matches!(cache.look(&key("k"), TAGS, 0, &LIFETIMES), Look::Nothing));
        assert_eq!(fetch(&cache, 1_000, "one").await, "one");
        let look = |now| match cache.look(&key("k"), TAGS, now, &LIFETIMES) {
            Look::Fresh(_) => "fresh",
            Look::Aging(_) => "aging",
            Look::Old(_) => "old",
            Look::Nothing => "nothing",
        };
        assert_eq!([10_999, 11_000, 20_999, 21_000, 30_999, 31_000].map(look), ["fresh", "aging", "aging", "old", "old", "nothing"]);
        let other = CacheKey { scope: "other tenant".into(), ..key("k") };
        assert!(matches!(cache.look(&other, TAGS, 1_000, &LIFETIMES), Look::Nothing));
    }

    async fn a_read_that_began_before_a_change_does_not_bring_it_back(shared: Shared) {
        let cache = Arc::new(Responses::new(shared, 1 << 20));
        let (go, wait) = oneshot::channel::<()>();
        let (began, has_begun) = oneshot::channel();
        let reader = tokio::spawn({
            let cache = cache.clone();
            async move {
                let read = async {
                    began.send(()).unwrap();
                    wait.await.unwrap();
                    Ok::<_, ()>(entry("before"))
                };
                cache.fetch(&key("k"), TAGS, 1_000, &LIFETIMES, false, read).await.unwrap().body.clone()
            }
        });
        has_begun.await.unwrap();
        cache.advance(&"tenant".into(), TAGS, 1_000).await;
        go.send(()).unwrap();
        assert_eq!(reader.await.unwrap(), "before", "it was asked before the change");
        assert!(matches!(cache.look(&key("k"), TAGS, 1_000, &LIFETIMES), Look::Nothing));
        assert_eq!(fetch(&cache, 1_000, "after").await, "after");
    }

    async fn a_change_of_one_ends_its_own_answers_and_a_change_of_all_everyones(shared: Shared) {
        let cache = Arc::new(Responses::new(shared, 1 << 20));
        let of = |one: u128| [TAGS[0], TAGS[0].one(one)];
        let keep = async |one: u128| {
            let read = async { Ok::<_, ()>(entry("kept")) };
            cache.fetch(&key(&one.to_string()), &of(one), 1_000, &LIFETIMES, false, read).await.unwrap();
        };
        let kept = |cache: &Responses| {
            [1, 2].map(|one| matches!(cache.look(&key(&one.to_string()), &of(one), 1_000, &LIFETIMES), Look::Fresh(_)))
        };
        keep(1).await;
        keep(2).await;
        let token = cache.advance(&"tenant".into(), &[TAGS[0].one(1)], 1_000).await;
        assert_eq!(kept(&cache), [false, true]);
        keep(1).await;
        assert_eq!(kept(&cache), [true, true]);
        cache.advance(&"tenant".into(), TAGS, 1_000).await;
        assert_eq!(kept(&cache), [false, false]);
        // Its token says of which one it is, to whoever has not heard.
        let deaf = Arc::new(Responses::new(Shared::memory(), 1 << 20));
        for one in [1, 2] {
            let read = async { Ok::<_, ()>(entry("kept")) };
            deaf.fetch(&key(&one.to_string()), &of(one), 1_000, &LIFETIMES, false, read).await.unwrap();
        }
        let token = Token::parse(&token.to_string()).unwrap();
        [1, 2].into_iter().for_each(|one| deaf.observe(&token, &of(one)));
        assert_eq!(kept(&deaf), [false, true]);
    }

    async fn when_the_reader_goes_away_one_who_waits_reads(shared: Shared) {
        let cache = Arc::new(Responses::new(shared, 1 << 20));
        let reads = Arc::new(AtomicU32::new(0));
        let (began, has_begun) = oneshot::channel();
        let leader = tokio::spawn({
            let (cache, reads) = (cache.clone(), reads.clone());
            async move {
                let read = async {
                    reads.fetch_add(1, Ordering::SeqCst);
                    began.send(()).unwrap();
                    std::future::pending::<Result<Entry, ()>>().await
                };
                let _ = cache.fetch(&key("k"), TAGS, 1_000, &LIFETIMES, false, read).await;
            }
        });
        has_begun.await.unwrap();
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let (cache, reads) = (cache.clone(), reads.clone());
                tokio::spawn(async move {
                    let read = async {
                        reads.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok::<_, ()>(entry("read"))
                    };
                    cache.fetch(&key("k"), TAGS, 1_000, &LIFETIMES, false, read).await.unwrap().body.clone()
                })
            })
            .collect();
        tokio::task::yield_now().await;
        leader.abort();
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), "read");
        }
        assert!((2..=3).contains(&reads.load(Ordering::SeqCst)), "{reads:?}: the one that left, and one for all who waited");
    }

    async fn what_is_kept_has_a_bound(shared: Shared) {
        let cache = Arc::new(Responses::new(shared, 100_000));
        let body: &'static str = "x".repeat(1000).leak();
        for n in 0..1000 {
            let read = async { Ok::<_, ()>(entry(body)) };
            cache.fetch(&key(&n.to_string()), TAGS, 1_000, &LIFETIMES, false, read).await.unwrap();
        }
        eventually("the rest has gone", async || {
            cache.look(&key("0"), TAGS, 0, &LIFETIMES);
            cache.size().1 <= 100_000
        })
        .await;
    }

    async fn an_error_is_not_kept(shared: Shared) {
        let cache = Arc::new(Responses::new(shared, 1 << 20));
        let fails = cache.fetch(&key("k"), TAGS, 1_000, &LIFETIMES, false, async { Err("no") }).await;
        assert_eq!(*fails.unwrap_err(), "no");
        assert_eq!(fetch(&cache, 1_000, "yes").await, "yes");
    }
}

#[tokio::test]
async fn what_reads_has_its_room_twice_at_most_and_is_not_copied_from_layer_to_layer() {
    const ROOM: usize = 16 << 10;
    let cache = Arc::new(Responses::new(Shared::memory(), 1 << 20));
    let read = async {
        let room = [1_u8; ROOM];
        tokio::task::yield_now().await;
        // So that all of it lives across the wait.
        if std::hint::black_box(&room).iter().all(|byte| *byte == 1) { Ok(entry("large")) } else { Err("no") }
    };
    let name = key("k");
    let fetching = cache.fetch(&name, TAGS, 0, &LIFETIMES, false, read);
    let size = size_of_val(&fetching);
    assert!(size < 3 * ROOM, "{size} bytes for a reader of {ROOM}");
    assert_eq!(fetching.await.unwrap().body, "large");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_a_write_that_no_redis_knows_ends_what_was_kept_before_it_was_seen() {
    let (writer, reader) =
        (Arc::new(Responses::new(Shared::memory(), 1 << 20)), Arc::new(Responses::new(Shared::memory(), 1 << 20)));
    // The reader's clock is an hour ahead.
    assert_eq!(fetch(&reader, 3_600_000, "old").await, "old");
    reader.advance(&"tenant".into(), TAGS, 3_600_000).await;
    assert_eq!(fetch(&reader, 3_600_000, "old").await, "old");
    let token = writer.advance(&"tenant".into(), TAGS, 1_000).await;
    reader.observe(&token, TAGS);
    assert!(matches!(reader.look(&key("k"), TAGS, 3_600_000, &LIFETIMES), Look::Nothing));
    assert_eq!(fetch(&reader, 3_600_000, "new").await, "new");
    reader.observe(&Token::parse(&token.to_string()).unwrap(), TAGS);
    assert!(matches!(reader.look(&key("k"), TAGS, 3_600_000, &LIFETIMES), Look::Fresh(_)), "it counts once");
}

/// The caller writes it, so nothing is remembered of it that this caller's read does not need.
#[tokio::test]
async fn what_a_token_names_besides_what_is_read_ends_nothing() {
    let cache = Arc::new(Responses::new(Shared::memory(), 1 << 20));
    let others = [Tag::all("u")];
    assert_eq!(fetch(&cache, 1_000, "kept").await, "kept");
    for token in ["1s.tenant.u~t.5000", "1l.tenant.u~t.6000"] {
        let token = Token::parse(token).unwrap();
        cache.observe(&token, &others);
        assert!(matches!(cache.look(&key("k"), TAGS, 1_000, &LIFETIMES), Look::Fresh(_)));
    }
    cache.observe(&Token::parse("1l.tenant.u~t.6000").unwrap(), TAGS);
    assert!(matches!(cache.look(&key("k"), TAGS, 1_000, &LIFETIMES), Look::Nothing), "seen for another read before");
}

/// More things change than can be remembered, and many of them more often than this.
#[tokio::test]
async fn a_change_counts_however_many_others_there_are() {
    let cache = Arc::new(Responses::new(Shared::memory(), 1 << 20));
    let change = |scope: &str, epoch: u64, names: std::ops::Range<u32>| {
        let tags = names.map(|n| format!("t-{n}").into()).collect();
        cache.hear(&Event::Changed { scope: scope.into(), epoch, tags });
    };
    (1..=3).for_each(|epoch| change("others", epoch, 0..210_000));
    let of = |one: u128| (key(&one.to_string()), [TAGS[0].one(one)]);
    for one in 0..100 {
        let (key, tags) = of(one);
        let read = async { Ok::<_, ()>(entry("kept")) };
        cache.fetch(&key, &tags, 1_000, &LIFETIMES, false, read).await.unwrap();
        let tags = vec![format!("t-{one:032x}").into()];
        cache.hear(&Event::Changed { scope: "tenant".into(), epoch: 1_000, tags });
    }
    // Whatever has no room is out by now.
    change("others", 1, 300_000..310_000);
    let old = (0..100).map(of).filter(|(key, tags)| !matches!(cache.look(key, tags, 1_000, &LIFETIMES), Look::Nothing));
    assert_eq!(old.count(), 0);
}
