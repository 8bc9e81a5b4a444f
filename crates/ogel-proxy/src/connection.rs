//! An open connection, owned by whoever uses it: nothing is spawned for it, and it holds no buffer. What is read comes in
//! pieces of a buffer that all connections of a thread share; its timer is kept, because most waits end long before.
//! Refuses to know what is said on it. Next: `exchange.rs`, who says it.

use crate::connector::Stream;
use bytes::{Bytes, BytesMut};
use std::{
    cell::Cell,
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf},
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// What a read has room for at least: most answers, head and body.
const LEAST_ROOM: usize = 8 << 10;
const ROOM: usize = 16 << 10;
/// The same, where much is on its way.
const BULK_ROOM: usize = 64 << 10;

thread_local! {
    /// Taken for one read and put back. What was read is a part of it; when all parts are gone, their room is used again.
    static BUFFER: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) alarm: Alarm,
    /// No further request is sent on it from then on.
    pub(crate) until: Instant,
}

impl Connection {
    pub(crate) fn new(stream: Stream, until: Instant) -> Self {
        Self { stream, alarm: Alarm(None), until }
    }

    /// The next piece; an empty one is the end. `much`: whether a large piece is expected.
    pub(crate) fn poll_read(&mut self, much: bool, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut buffer = BUFFER.take().unwrap_or_default();
        let (least, room) = if much { (BULK_ROOM / 2, BULK_ROOM) } else { (LEAST_ROOM, ROOM) };
        // From its beginning, if all that was read is gone: the same lines of the processor's cache.
        if buffer.capacity() < room && !buffer.try_reclaim(room) && buffer.capacity() < least {
            buffer.reserve(room);
        }
        let read = pin!(self.stream.read_buf(&mut buffer)).poll(cx);
        let piece = read.map_ok(|_| buffer.split().freeze());
        BUFFER.set(Some(buffer));
        piece
    }

    /// Whether it is open and the other side has said nothing that nobody asked for. Costs no system call as long as the
    /// runtime knows of nothing new.
    pub(crate) fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        match &mut self.stream {
            Stream::Plain(stream) => {
                matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Stream::Boxed(stream) => {
                let mut buffer = ReadBuf::new(&mut byte);
                let read = std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer));
                // A task that has used up its turn would hear "nothing" whatever there is.
                pin!(unconstrained(read)).poll(&mut Context::from_waker(Waker::noop())).is_pending()
            }
        }
    }
}

/// A timer that is set anew only when it would ring too late, or has rung too early: on a connection that is used again and
/// again that is once in the length of a wait, and not once for each of them.
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `at` has passed.
    pub(crate) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        loop {
            std::task::ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= at || Instant::now() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;

    fn pair() -> (Connection, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        (Connection::new(Stream::Boxed(Box::new(ours)), Instant::now() + Duration::from_secs(60)), theirs)
    }

    #[tokio::test]
    async fn the_room_of_what_was_read_is_used_again_at_once_when_it_is_gone() {
        let (mut connection, mut theirs) = pair();
        let mut places = std::collections::HashSet::new();
        for _ in 0..100 {
            theirs.write_all(&[7; 1000]).await.unwrap();
            let piece = std::future::poll_fn(|cx| connection.poll_read(false, cx)).await.unwrap();
            assert_eq!(piece.len(), 1000);
            places.insert(piece.as_ptr());
        }
        assert_eq!(places.len(), 1);
    }

    #[tokio::test]
    async fn what_nobody_asked_for_and_the_end_are_noticed() {
        let (mut connection, mut theirs) = pair();
        assert!(connection.is_silent());
        theirs.write_all(b"x").await.unwrap();
        assert!(!connection.is_silent());
        let (mut connection, theirs) = pair();
        drop(theirs);
        assert!(!connection.is_silent());
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_at_its_time_whatever_it_was_set_to_before() {
        let mut alarm = Alarm(None);
        let mut rings = async |seconds: u64| {
            let started = Instant::now();
            std::future::poll_fn(|cx| alarm.poll(started + Duration::from_secs(seconds), cx)).await;
            started.elapsed().as_secs()
        };
        for seconds in [5, 3, 9, 0, 9, 1] {
            assert_eq!(rings(seconds).await, seconds);
        }
        // Set for later and not awaited: what rings in between is not what is waited for.
        let at = Instant::now() + Duration::from_secs(2);
        assert!(std::future::poll_fn(|cx| Poll::Ready(alarm.poll(at, cx))).await.is_pending());
        let started = Instant::now();
        std::future::poll_fn(|cx| alarm.poll(started + Duration::from_secs(7), cx)).await;
        assert_eq!(started.elapsed().as_secs(), 7);
    }
}
