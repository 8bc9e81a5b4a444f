//! What other replicas say, through Redis' pub/sub, and whether we hear them at all.
//!
//! Pub/sub repeats nothing: whoever was away has missed what was said. So every (re)connection begins with
//! [`Event::Missed`], and a heartbeat to ourselves tells a connection that is silent from one that is dead.

use super::{
    Redis,
    address::{Address, CONNECT},
};
use crate::Event;
use futures_util::StreamExt as _;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    sync::broadcast,
    time::{Instant, interval, sleep, sleep_until, timeout},
};

const BEAT_EVERY: Duration = Duration::from_millis(200);
/// Without a beat of our own for this long, we are deaf.
const DEAF_AFTER: Duration = Duration::from_millis(800);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(1);

/// Listens until nobody holds `redis` any more.
pub(crate) async fn listen(
    redis: Weak<Redis>,
    address: Arc<Address>,
    channel: String,
    events: broadcast::Sender<Event>,
) {
    let mut retry = RETRY_FIRST;
    while let Some(strong) = redis.upgrade() {
        let own_beat = strong.beat();
        drop(strong);
        if let Ok(Ok(connection)) = timeout(CONNECT, address.listen()).await {
            let (mut sink, mut stream) = connection.split();
            if let Ok(Ok(())) = timeout(CONNECT, sink.subscribe(&channel)).await {
                retry = RETRY_FIRST;
                hear(&redis, &own_beat, &mut stream, &events).await;
                if let Some(strong) = redis.upgrade() {
                    strong.set_hearing(false);
                }
            }
        }
        sleep(retry).await;
        retry = RETRY_LAST.min(retry * 2);
    }
}

async fn hear(
    redis: &Weak<Redis>,
    own_beat: &str,
    stream: &mut redis::aio::PubSubStream,
    events: &broadcast::Sender<Event>,
) {
    let mut beat = interval(BEAT_EVERY);
    let mut last = Instant::now();
    let mut heard_once = false;
    loop {
        tokio::select! {
            message = stream.next() => {
                let Some(message) = message else { return };
                let Some(strong) = redis.upgrade() else { return };
                let Ok(text) = message.get_payload::<String>() else { continue };
                if text == own_beat {
                    last = Instant::now();
                    if !std::mem::replace(&mut heard_once, true) {
                        // Live from here on; what was said before may be lost.
                        let _ = events.send(Event::Missed);
                        strong.set_hearing(true);
                    }
                } else if let Some(event) = Event::parse(&text) {
                    // Nobody listening is no fault.
                    let _ = events.send(event);
                }
            }
            _ = beat.tick() => {
                let Some(strong) = redis.upgrade() else { return };
                let text = own_beat.to_owned();
                // Beside us: what is heard meanwhile must not wait for it.
                tokio::spawn(async move { strong.say(&text).await });
            }
            () = sleep_until(last + DEAF_AFTER) => return,
        }
    }
}
