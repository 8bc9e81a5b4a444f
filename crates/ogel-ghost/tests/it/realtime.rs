//! Realtime against a WebSocket Ghost in memory that records what it is asked and says what the test wants.

use crate::{config, ghost_with};
use futures_util::{SinkExt, StreamExt};
use ogel_ghost::{Ghost, RealtimeEvent, Subscription, channel};
use ogel_proxy::{BoxFuture, Connect, Connector, Io};
use serde_json::{Value, json};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

/// What the test makes all open connections do.
#[derive(Clone, Debug)]
enum Order {
    Say(String),
    Close,
}

#[derive(Clone)]
struct FakeGhost {
    orders: broadcast::Sender<Order>,
    /// Every client frame, with the number of its connection.
    frames: Arc<Mutex<Vec<(usize, Value)>>>,
    upgrades: Arc<Mutex<Vec<String>>>,
    /// Counts connections and frames, so that a test can wait for them.
    progress: watch::Sender<u64>,
    /// Refuses upgrades with 401.
    is_closed: Arc<Mutex<bool>>,
    /// Never answers a ping.
    is_deaf: Arc<Mutex<bool>>,
    /// Channels it refuses.
    forbidden: Arc<Mutex<&'static str>>,
}

impl FakeGhost {
    fn new() -> Self {
        Self {
            orders: broadcast::channel(4096).0,
            frames: Arc::default(),
            upgrades: Arc::default(),
            progress: watch::channel(0).0,
            is_closed: Arc::default(),
            is_deaf: Arc::default(),
            forbidden: Arc::new(Mutex::new("builds.secret.logs")),
        }
    }

    fn ghost(&self) -> Ghost {
        let mut config = config();
        config.realtime.events_per_subscriber = 8;
        config.realtime.channels_per_connection = 3;
        ghost_with(config, Connector::custom(Arc::new(self.clone())))
    }

    fn say(&self, frame: &Value) {
        self.orders.send(Order::Say(frame.to_string())).unwrap();
    }

    fn log(&self, build: &str, n: u64) {
        let line = json!({ "n": n, "at": "2026-11-23T10:00:00.000Z", "stream": "stdout", "text": "x" });
        let channels = [channel::build_logs(build)];
        self.say(&json!({ "type": "event", "data": { "channels": channels, "events": [], "payload": line } }));
    }

    fn frames_of(&self, kind: &str) -> Vec<(usize, String)> {
        let frames = self.frames.lock().unwrap();
        let of_kind = frames.iter().filter(|(_, frame)| frame["type"] == kind);
        of_kind.map(|(connection, frame)| (*connection, frame["channels"].to_string())).collect()
    }

    fn connections(&self) -> usize {
        self.upgrades.lock().unwrap().len()
    }

    async fn until(&self, is_true: impl Fn(&Self) -> bool) {
        let mut progress = self.progress.subscribe();
        let reached = async {
            while !is_true(self) {
                progress.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(600), reached).await.expect("the condition comes true");
    }

    async fn serve(self, io: tokio::io::DuplexStream) {
        let is_closed = *self.is_closed.lock().unwrap();
        #[expect(clippy::result_large_err, reason = "the signature is the library's")]
        let upgrade = |request: &Request, response: Response| {
            let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            let credential = (header("x-appwrite-key"), header("x-appwrite-jwt"));
            self.upgrades.lock().unwrap().push(format!("{} {credential:?}", request.uri().path()));
            if is_closed {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = http::StatusCode::UNAUTHORIZED;
                return Err(refusal);
            }
            Ok(response)
        };
        let mut orders = self.orders.subscribe();
        let socket = accept_hdr_async(io, upgrade).await;
        let connection = self.connections();
        self.progress.send_modify(|count| *count += 1);
        let Ok(mut socket) = socket else { return };
        let mut answers = vec![json!({ "type": "connected", "data": { "channels": [], "user": null } })];
        loop {
            for answer in answers.drain(..) {
                if socket.send(Message::text(answer.to_string())).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                order = orders.recv() => match order.unwrap() {
                    Order::Say(text) => { if socket.send(Message::text(text)).await.is_err() { return } }
                    Order::Close => return,
                },
                message = socket.next() => {
                    let Some(Ok(Message::Text(text))) = message else { return };
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    self.frames.lock().unwrap().push((connection, frame.clone()));
                    let refuses = frame["channels"].to_string().contains(*self.forbidden.lock().unwrap());
                    match frame["type"].as_str().unwrap() {
                        "ping" if !*self.is_deaf.lock().unwrap() => answers.push(json!({ "type": "pong" })),
                        "subscribe" if refuses => {
                            answers.push(json!({ "type": "error", "data": { "code": 1008, "message": "no" } }));
                        }
                        _ => {}
                    }
                    self.progress.send_modify(|count| *count += 1);
                }
            }
        }
    }
}

impl Connect for FakeGhost {
    fn connect<'a>(&'a self, _: &'a str, _: u16, _: bool) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::spawn(self.clone().serve(theirs));
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

async fn next(subscription: &mut Subscription) -> RealtimeEvent {
    let next = tokio::time::timeout(Duration::from_secs(600), subscription.next());
    next.await.expect("an event comes").expect("the connection lives")
}

async fn line(subscription: &mut Subscription) -> u64 {
    match next(subscription).await {
        RealtimeEvent::Log { line, .. } => line.n,
        other => panic!("{other:?} is no line"),
    }
}

const FIRST: RealtimeEvent = RealtimeEvent::Connected { first: true };
const AGAIN: RealtimeEvent = RealtimeEvent::Connected { first: false };

#[tokio::test(start_paused = true)]
async fn lines_arrive_after_the_channel_is_confirmed_with_one_credential() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut logs = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut logs).await, FIRST);
    fake.log("b1", 1);
    fake.log("other", 7);
    fake.log("b1", 2);
    assert_eq!((line(&mut logs).await, line(&mut logs).await), (1, 2));
    assert_eq!(*fake.upgrades.lock().unwrap(), [r#"/v1/realtime (Some("platform-key"), None)"#]);
    assert_eq!(fake.frames_of("subscribe"), [(1, r#"["builds.b1.logs"]"#.to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_person_s_connection_carries_only_the_token() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime_as(ogel_ghost::Credential::Jwt("token"));
    assert_eq!(next(&mut realtime.subscribe(&channel::build_logs("b1")).await).await, FIRST);
    assert_eq!(*fake.upgrades.lock().unwrap(), [r#"/v1/realtime (None, Some("token"))"#]);
}

#[tokio::test(start_paused = true)]
async fn deployments_arrive_as_documents() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut changes = realtime.subscribe(&channel::project_deployments("p1")).await;
    assert_eq!(next(&mut changes).await, FIRST);
    let payload = json!({ "$id": "d1", "buildId": "b1", "status": "building" });
    let data = json!({ "channels": ["projects.p1.deployments"], "events": [], "payload": payload });
    fake.say(&json!({ "type": "event", "data": data }));
    let RealtimeEvent::Deployment(document) = next(&mut changes).await else { panic!("no deployment") };
    assert_eq!(document.id, "d1");
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_connection_every_channel_is_asked_for_again_and_every_subscriber_told() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut one = realtime.subscribe(&channel::build_logs("b1")).await;
    let mut two = realtime.subscribe(&channel::build_logs("b2")).await;
    assert_eq!((next(&mut one).await, next(&mut two).await), (FIRST, FIRST));
    for round in 2..5 {
        fake.orders.send(Order::Close).unwrap();
        assert_eq!((next(&mut one).await, next(&mut two).await), (AGAIN, AGAIN));
        let asked: Vec<_> = fake.frames_of("subscribe").into_iter().filter(|(number, _)| *number == round).collect();
        assert_eq!(asked.len(), 2, "{asked:?}");
    }
    fake.log("b2", 9);
    assert_eq!(line(&mut two).await, 9);
    let stats = realtime.stats();
    assert_eq!((stats.connects, stats.failures), (4, 3));
}

#[tokio::test(start_paused = true)]
async fn subscribers_share_a_channel_and_the_last_to_leave_ends_it() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut early = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut early).await, FIRST);
    let mut late = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut late).await, FIRST, "the channel is live already");
    fake.log("b1", 1);
    assert_eq!((line(&mut early).await, line(&mut late).await), (1, 1));
    drop(early);
    fake.log("b1", 2);
    assert_eq!(line(&mut late).await, 2);
    assert_eq!(fake.frames_of("unsubscribe"), []);
    drop(late);
    fake.until(|fake| !fake.frames_of("unsubscribe").is_empty()).await;
    assert_eq!(fake.frames_of("unsubscribe"), [(1, r#"["builds.b1.logs"]"#.to_owned())]);
    assert_eq!((fake.frames_of("subscribe").len(), fake.connections()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_is_told_that_it_lagged_and_goes_on_with_the_newest() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut slow = realtime.subscribe(&channel::build_logs("b1")).await;
    let mut other = realtime.subscribe(&channel::build_logs("b2")).await;
    assert_eq!((next(&mut slow).await, next(&mut other).await), (FIRST, FIRST));
    for n in 1..=20 {
        fake.log("b1", n);
    }
    fake.log("b2", 1);
    assert_eq!(line(&mut other).await, 1, "one slow subscriber holds up nobody else");
    assert_eq!(next(&mut slow).await, RealtimeEvent::Lagged);
    assert_eq!(line(&mut slow).await, 13, "the eight newest are kept");
}

#[tokio::test(start_paused = true)]
async fn a_refused_channel_says_so_and_leaves_the_others_alone() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut refused = realtime.subscribe(&channel::build_logs("secret")).await;
    let mut fine = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!((next(&mut refused).await, next(&mut fine).await), (RealtimeEvent::Refused, FIRST));
    *fake.forbidden.lock().unwrap() = "nothing";
    assert_eq!(next(&mut refused).await, FIRST, "it is asked for again");
    assert_eq!(fake.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_says_so_and_is_tried_again() {
    let fake = FakeGhost::new();
    *fake.is_closed.lock().unwrap() = true;
    let realtime = fake.ghost().realtime();
    let mut logs = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut logs).await, RealtimeEvent::Refused);
    *fake.is_closed.lock().unwrap() = false;
    while next(&mut logs).await != FIRST {}
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_connection_is_down_is_greeted_when_it_is_back() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut early = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut early).await, FIRST);
    *fake.is_closed.lock().unwrap() = true;
    fake.orders.send(Order::Close).unwrap();
    assert_eq!(next(&mut early).await, RealtimeEvent::Refused);
    let mut late = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut late).await, RealtimeEvent::Refused, "the next attempt, and no greeting before it");
    *fake.is_closed.lock().unwrap() = false;
    let (mut early_event, mut late_event) = (next(&mut early).await, next(&mut late).await);
    while early_event == RealtimeEvent::Refused {
        early_event = next(&mut early).await;
    }
    while late_event == RealtimeEvent::Refused {
        late_event = next(&mut late).await;
    }
    assert_eq!((early_event, late_event), (AGAIN, FIRST));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stays_silent_is_given_up_and_replaced() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut logs = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut logs).await, FIRST);
    *fake.is_deaf.lock().unwrap() = true;
    let started = tokio::time::Instant::now();
    fake.until(|fake| fake.connections() == 2).await;
    assert!((44..=66).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    *fake.is_deaf.lock().unwrap() = false;
    assert_eq!(next(&mut logs).await, AGAIN);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_is_kept_alive_by_pings_and_closed_when_nobody_listens() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut logs = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut logs).await, FIRST);
    fake.until(|fake| fake.frames_of("ping").len() > 10).await;
    assert_eq!(fake.connections(), 1);
    drop(logs);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let pings = fake.frames_of("ping").len();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(fake.frames_of("ping").len(), pings, "the connection is closed");
    let mut logs = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!((next(&mut logs).await, fake.connections()), (FIRST, 2));
}

#[tokio::test(start_paused = true)]
async fn more_channels_than_a_connection_takes_open_another() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut subscriptions = Vec::new();
    for build in ["b1", "b2", "b3", "b4", "b1"] {
        let mut subscription = realtime.subscribe(&channel::build_logs(build)).await;
        assert_eq!(next(&mut subscription).await, FIRST);
        subscriptions.push(subscription);
    }
    assert_eq!((fake.connections(), fake.frames_of("subscribe").len()), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn frames_that_make_no_sense_are_counted_and_skipped() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut logs = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut logs).await, FIRST);
    fake.say(&json!({ "type": "weather" }));
    fake.say(&json!("what"));
    fake.say(&json!({ "type": "event", "data": { "channels": ["builds.b1.logs"], "payload": { "n": "one" } } }));
    fake.log("b1", 1);
    assert_eq!(line(&mut logs).await, 1);
    assert_eq!((realtime.stats().unknown_frames, fake.connections()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_the_limit_ends_the_connection_and_not_the_subscription() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut logs = realtime.subscribe(&channel::build_logs("b1")).await;
    assert_eq!(next(&mut logs).await, FIRST);
    fake.say(&json!({ "type": "x".repeat(300 << 10) }));
    assert_eq!((next(&mut logs).await, fake.connections()), (AGAIN, 2));
}

#[tokio::test(start_paused = true)]
async fn the_connection_ends_with_its_last_owner() {
    let fake = FakeGhost::new();
    let realtime = fake.ghost().realtime();
    let mut logs = realtime.subscribe(&channel::build_logs("b1")).await;
    drop(realtime);
    assert_eq!(next(&mut logs).await, FIRST, "a subscription keeps it");
    assert_eq!(fake.orders.receiver_count(), 1);
    drop(logs);
    let gone = async {
        while fake.orders.receiver_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the connection is closed");
}
