//! Buffers that a thread's connections share: one is borrowed while there are bytes in it, and an idle connection has
//! none. Also the date, which a thread need not write anew for every answer.

use bytes::BytesMut;
use chrono::{DateTime, Utc};
use std::cell::RefCell;

/// Room for what one read brings while heads are expected, and while a body is.
pub(in crate::edge) const HEADS: usize = 16 << 10;
pub(super) const BODY: usize = 64 << 10;
/// What a thread keeps of each kind; more are made and freed as they are needed.
const KEPT: usize = 16;
/// A buffer for output that has grown beyond this is not kept.
const LARGEST_OUTPUT: usize = 64 << 10;
/// Less room than this in a buffer is not worth a read.
const LEAST: usize = 4 << 10;
const DATE_LENGTH: usize = 29;

#[derive(Default)]
struct Kept {
    heads: Vec<BytesMut>,
    bodies: Vec<BytesMut>,
    outputs: Vec<Vec<u8>>,
    date: (i64, Vec<u8>),
}

thread_local! {
    static KEPT_HERE: RefCell<Kept> = RefCell::default();
}

fn with<T>(work: impl FnOnce(&mut Kept) -> T) -> T {
    KEPT_HERE.with_borrow_mut(work)
}

/// A buffer without bytes and with room for at least [`LEAST`] of them. What was split off it before may still be in use.
pub(super) fn input(size: usize) -> BytesMut {
    let mut buffer = with(|kept| if size == BODY { kept.bodies.pop() } else { kept.heads.pop() }).unwrap_or_default();
    // Takes the whole of it back, and so the same lines of the processor's cache, if nothing that was split off is in use.
    if buffer.capacity() < size && !buffer.try_reclaim(size) && buffer.capacity() < LEAST {
        buffer.reserve(size);
    }
    buffer
}

pub(super) fn give_input(mut buffer: BytesMut) {
    buffer.clear();
    with(|kept| {
        let place = if buffer.capacity() > HEADS { &mut kept.bodies } else { &mut kept.heads };
        if place.len() < KEPT {
            place.push(buffer);
        }
    });
}

pub(in crate::edge) fn output() -> Vec<u8> {
    with(|kept| kept.outputs.pop()).unwrap_or_else(|| Vec::with_capacity(HEADS))
}

pub(in crate::edge) fn give_output(mut buffer: Vec<u8>) {
    buffer.clear();
    if (1..=LARGEST_OUTPUT).contains(&buffer.capacity()) {
        with(|kept| {
            if kept.outputs.len() < KEPT {
                kept.outputs.push(buffer);
            }
        });
    }
}

/// Appends `now` as a `Date` says it, written anew only when the second changes.
pub(in crate::edge) fn append_date(now: DateTime<Utc>, to: &mut Vec<u8>) {
    with(|kept| {
        let (second, text) = &mut kept.date;
        if *second != now.timestamp() || text.len() != DATE_LENGTH {
            *second = now.timestamp();
            *text = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string().into_bytes();
        }
        to.extend_from_slice(text);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_http_and_follows_the_clock() {
        let mut text = Vec::new();
        for seconds in [784_111_777, 784_111_777, 784_111_778] {
            append_date(DateTime::from_timestamp(seconds, 999_000_000).unwrap(), &mut text);
            text.push(b'\n');
        }
        let text = String::from_utf8(text).unwrap();
        let first = "Sun, 06 Nov 1994 08:49:37 GMT\n";
        assert_eq!(text, format!("{first}{first}Sun, 06 Nov 1994 08:49:38 GMT\n"));
    }

    #[test]
    fn a_buffer_is_used_again_once_nothing_of_it_is_in_use() {
        let mut buffer = input(HEADS);
        buffer.extend_from_slice(&[1; HEADS - 10]);
        let piece = buffer.split().freeze();
        let place = piece.as_ptr();
        drop(piece);
        give_input(buffer);
        let mut again = input(HEADS);
        again.extend_from_slice(&[2]);
        assert_eq!((again.as_ptr(), again.capacity() >= LEAST), (place, true));
    }
}
