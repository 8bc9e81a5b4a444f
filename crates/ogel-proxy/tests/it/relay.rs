//! Two WebSockets joined by the relay: what passes, who waits for whom, and how it ends.

use futures_util::{FutureExt, SinkExt, StreamExt};
use ogel_proxy::{
    RelayLimits, Relayed, WebSocketLimits, accept_websocket, relay,
    relay::{Party, RelayEnd, Traffic},
};
use std::{future::pending, time::Duration};
use tokio::{
    io::DuplexStream,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

type Socket = WebSocketStream<DuplexStream>;

const LIMITS: WebSocketLimits = WebSocketLimits {
    connect_timeout: Duration::from_secs(1),
    handshake_timeout: Duration::from_secs(1),
    max_message_bytes: 64 << 10,
    max_frame_bytes: 64 << 10,
    max_write_buffer_bytes: 1 << 20,
    read_buffer_bytes: 16 << 10,
};

struct Joined {
    client: Socket,
    upstream: Socket,
    relayed: JoinHandle<Relayed>,
    stop: oneshot::Sender<()>,
}

/// A client, a relay and an upstream in a row.
async fn join() -> Joined {
    join_with(RelayLimits::default()).await
}

async fn join_with(limits: RelayLimits) -> Joined {
    let (client, outer) = tokio::io::duplex(16 << 10);
    let (inner, upstream) = tokio::io::duplex(16 << 10);
    let (stop, stopped) = oneshot::channel::<()>();
    let relayed = tokio::spawn(async move {
        let outer = accept_websocket(outer, &LIMITS).await;
        let config = WebSocketConfig::default().write_buffer_size(16 << 10).max_message_size(Some(64 << 10));
        let inner = WebSocketStream::from_raw_socket(inner, Role::Client, Some(config)).await;
        let stopped = stopped.then(|stopped| async move {
            if stopped.is_err() {
                pending::<()>().await;
            }
        });
        relay(outer, inner, &limits, stopped).await
    });
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let upstream = WebSocketStream::from_raw_socket(upstream, Role::Server, None).await;
    Joined { client, upstream, relayed, stop }
}

async fn close_frame(socket: &mut Socket) -> Option<CloseFrame> {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Close(frame) => return frame,
            Message::Ping(_) | Message::Pong(_) => {}
            message => panic!("{message}"),
        }
    }
}

fn code(frame: Option<CloseFrame>) -> (u16, String) {
    frame.map(|frame| (frame.code.into(), frame.reason.to_string())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn messages_of_both_kinds_pass_both_ways_and_are_counted() {
    let mut joined = join().await;
    joined.client.send(Message::text("hello")).await.unwrap();
    assert_eq!(joined.upstream.next().await.unwrap().unwrap(), Message::text("hello"));
    joined.upstream.send(Message::binary(vec![1, 2])).await.unwrap();
    joined.upstream.send(Message::text("x".repeat(60_000))).await.unwrap();
    assert_eq!(joined.client.next().await.unwrap().unwrap(), Message::binary(vec![1, 2]));
    assert_eq!(joined.client.next().await.unwrap().unwrap().len(), 60_000);
    joined.client.close(None).await.unwrap();
    assert_eq!(close_frame(&mut joined.upstream).await, None);
    drop((joined.client, joined.upstream));
    let relayed = joined.relayed.await.unwrap();
    assert!(matches!(relayed.end, RelayEnd::Closed { by: Party::Client, code: None }), "{relayed:?}");
    assert_eq!(relayed.to_upstream, Traffic { messages: 1, bytes: 5 });
    assert_eq!(relayed.to_client, Traffic { messages: 2, bytes: 60_002 });
}

#[tokio::test(start_paused = true)]
async fn codes_and_reasons_are_carried_over_and_answered() {
    for by_client in [true, false] {
        let joined = join().await;
        let (mut one, mut other) =
            if by_client { (joined.client, joined.upstream) } else { (joined.upstream, joined.client) };
        let frame = CloseFrame { code: CloseCode::Library(4001), reason: "bye".into() };
        // What was said before the goodbye arrives before it.
        one.send(Message::text("last")).await.unwrap();
        one.close(Some(frame)).await.unwrap();
        assert_eq!(other.next().await.unwrap().unwrap(), Message::text("last"));
        assert_eq!(code(close_frame(&mut other).await), (4001, "bye".to_owned()));
        assert_eq!(code(close_frame(&mut one).await), (4001, "bye".to_owned()));
        drop((one, other));
        let by = if by_client { Party::Client } else { Party::Upstream };
        let relayed = joined.relayed.await.unwrap();
        assert!(matches!(relayed.end, RelayEnd::Closed { by: who, code: Some(4001) } if who == by), "{relayed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_here_and_keep_it_alive() {
    // Its own pings are not answered by sides that are asleep.
    let ping_every = Duration::from_secs(3600);
    let mut joined = join_with(RelayLimits { ping_every, ..RelayLimits::default() }).await;
    let started = Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(200)).await;
        joined.client.send(Message::Ping(b"p"[..].into())).await.unwrap();
        assert_eq!(joined.client.next().await.unwrap().unwrap(), Message::Pong(b"p"[..].into()));
    }
    assert!(joined.upstream.next().now_or_never().is_none(), "they are not passed on");
    assert_eq!(code(close_frame(&mut joined.upstream).await), (4408, "idle for too long".to_owned()));
    assert_eq!(started.elapsed().as_secs(), 800 + 300);
    assert_eq!(code(close_frame(&mut joined.client).await).0, 4408);
    drop((joined.client, joined.upstream));
    assert!(matches!(joined.relayed.await.unwrap().end, RelayEnd::Idle));
}

#[tokio::test(start_paused = true)]
async fn when_we_stop_both_are_told_and_one_that_does_not_answer_is_not_waited_for_long() {
    let Joined { mut client, mut upstream, relayed, stop } = join().await;
    let started = Instant::now();
    stop.send(()).unwrap();
    assert_eq!(code(close_frame(&mut client).await), (1012, "service restart".to_owned()));
    assert_eq!(code(close_frame(&mut upstream).await).0, 1012);
    // The client answers by reading on; the upstream never does.
    assert!(client.next().await.is_none());
    assert!(matches!(relayed.await.unwrap().end, RelayEnd::Shutdown));
    assert!(started.elapsed() <= RelayLimits::default().close_timeout + Duration::from_millis(10));
    drop(upstream);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_goes_away_without_a_word_is_reported_to_the_other() {
    let Joined { client, mut upstream, relayed, stop: _stop } = join().await;
    drop(client);
    assert_eq!(code(close_frame(&mut upstream).await), (1001, "the client is gone".to_owned()));
    drop(upstream);
    assert!(matches!(relayed.await.unwrap().end, RelayEnd::Broke { by: Party::Client, .. }));

    let Joined { mut client, upstream, relayed, stop: _stop } = join().await;
    drop(upstream);
    assert_eq!(code(close_frame(&mut client).await), (1011, "the upstream is gone".to_owned()));
    drop(client);
    assert!(matches!(relayed.await.unwrap().end, RelayEnd::Broke { by: Party::Upstream, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_ends_it_and_says_why() {
    let Joined { mut client, mut upstream, relayed, stop: _stop } = join().await;
    let large = client.send(Message::text("x".repeat(70_000)));
    let (_, frame) = tokio::join!(timeout(Duration::from_secs(60), large), close_frame(&mut upstream));
    assert_eq!(code(frame).0, 1001);
    assert_eq!(code(close_frame(&mut client).await), (1009, "message too large".to_owned()));
    drop((client, upstream));
    assert!(matches!(relayed.await.unwrap().end, RelayEnd::Broke { by: Party::Client, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_stops_the_writer_and_not_the_other_direction() {
    let Joined { mut client, mut upstream, relayed, stop: _stop } = join().await;
    // Nobody reads at the client: the upstream can say so much and no more.
    let mut said = 0_u64;
    let message = || Message::binary(vec![7; 8 << 10]);
    while timeout(Duration::from_secs(1), upstream.send(message())).await.is_ok() {
        said += 8 << 10;
        assert!(said < 512 << 10, "the relay holds {said} bytes");
    }
    client.send(Message::text("still here")).await.unwrap();
    assert_eq!(upstream.next().await.unwrap().unwrap(), Message::text("still here"));
    // Now the client reads, and gets all of it, the message that was waiting included.
    let mut heard = 0;
    while heard < said {
        heard += client.next().await.unwrap().unwrap().len() as u64;
    }
    drop((client, upstream));
    relayed.await.unwrap();
}

/// Both sides say nothing by themselves, and each answers pings because it is read.
#[tokio::test(start_paused = true)]
async fn sides_that_answer_pings_stay_joined_until_both_are_idle() {
    let Joined { mut client, mut upstream, relayed, stop: _stop } = join().await;
    let started = Instant::now();
    let (mut by_client, mut by_upstream) = (0, 0);
    loop {
        tokio::select! {
            message = client.next() => match message {
                Some(Ok(Message::Ping(_))) => by_client += 1,
                _ => break,
            },
            message = upstream.next() => match message {
                Some(Ok(Message::Ping(_))) => by_upstream += 1,
                _ => break,
            },
        }
    }
    assert_eq!(started.elapsed().as_secs(), RelayLimits::default().idle_timeout.as_secs());
    drop((client, upstream));
    let relayed = relayed.await.unwrap();
    assert!(matches!(relayed.end, RelayEnd::Idle), "{relayed:?}");
    assert!(by_client >= 5 && by_upstream >= 5, "{by_client} {by_upstream}");
}

#[tokio::test(start_paused = true)]
async fn a_side_that_does_not_answer_pings_is_gone() {
    for silent in [Party::Client, Party::Upstream] {
        let Joined { client, upstream, relayed, stop: _stop } = join().await;
        let (_dead, mut alive) = if silent == Party::Client { (client, upstream) } else { (upstream, client) };
        let started = Instant::now();
        let code = loop {
            match alive.next().await.unwrap().unwrap() {
                Message::Close(frame) => break code(frame),
                Message::Ping(_) => {}
                message => panic!("{message}"),
            }
        };
        assert!(code.1.ends_with("is gone"), "{code:?}");
        assert!(started.elapsed() <= RelayLimits::default().ping_every * 3, "{:?}", started.elapsed());
        drop(alive);
        let relayed = relayed.await.unwrap();
        assert!(matches!(relayed.end, RelayEnd::Broke { by, .. } if by == silent), "{relayed:?}");
    }
}
