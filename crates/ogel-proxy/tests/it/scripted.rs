//! An HTTP/1.1 upstream in memory that does as the test says: answers, hangs, closes, refuses. It counts connections
//! and remembers requests byte for byte. Time can be paused, because nothing here is a socket.

use ogel_proxy::{BoxFuture, Connect, Connector, Io};
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Counted from 1, over all connections.
    pub(crate) number: usize,
    /// Which connection, counted from 1.
    #[allow(dead_code, reason = "each test binary uses some")]
    pub(crate) connection: usize,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    /// `GET /path`
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().and_then(|line| line.strip_suffix(" HTTP/1.1")).unwrap_or_default()
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// What the upstream does with a request it has read.
#[allow(dead_code, reason = "each test binary uses some")]
pub(crate) enum Reply {
    /// Writes this and waits for the next request.
    Raw(String),
    /// Writes this and closes.
    Last(String),
    /// Writes these, each this long after the one before, and waits for the next request.
    Drip(Vec<&'static str>, Duration),
    /// Closes without a word.
    Close,
    /// Never answers.
    Hang,
}

pub(crate) fn answer(status: u16, content_type: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Raw(format!("HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"))
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

#[derive(Clone)]
pub(crate) struct Scripted {
    handler: Arc<Handler>,
    seen: Arc<Mutex<Vec<Seen>>>,
    connects: Arc<AtomicUsize>,
    refusals: Arc<AtomicUsize>,
}

impl Scripted {
    pub(crate) fn new(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), seen: Arc::default(), connects: Arc::default(), refusals: Arc::default() }
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::custom(Arc::new(self.clone()))
    }

    /// Refuses this many connections to come.
    #[allow(dead_code, reason = "each test binary uses some")]
    pub(crate) fn refuse(&self, connections: usize) {
        self.refusals.store(connections, SeqCst);
    }

    pub(crate) fn connects(&self) -> usize {
        self.connects.load(SeqCst)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn serve(self, mut stream: DuplexStream, connection: usize) {
        while let Some((head, body)) = read_request(&mut stream).await {
            let seen = {
                let mut all = self.seen.lock().unwrap();
                let number = all.len() + 1;
                all.push(Seen { number, connection, head, body });
                all.last().cloned().unwrap()
            };
            let (text, goes_on) = match (self.handler)(&seen) {
                Reply::Raw(text) => (text, true),
                Reply::Last(text) => (text, false),
                Reply::Drip(pieces, gap) => {
                    for piece in pieces {
                        tokio::time::sleep(gap).await;
                        if stream.write_all(piece.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                    continue;
                }
                Reply::Close => return,
                Reply::Hang => std::future::pending().await,
            };
            if stream.write_all(text.as_bytes()).await.is_err() || !goes_on {
                return;
            }
        }
    }
}

async fn read_request(stream: &mut DuplexStream) -> Option<(String, String)> {
    let mut text = Vec::new();
    loop {
        if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(text[..end].to_vec()).unwrap();
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let body_end = end + 4 + length.unwrap_or(0);
            if text.len() >= body_end {
                return Some((head, String::from_utf8(text[end + 4..body_end].to_vec()).unwrap()));
            }
        }
        if stream.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
    }
}

impl Connect for Scripted {
    fn connect<'a>(&'a self, _: &'a str, _: u16, _: bool) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            if self.refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let connection = self.connects.fetch_add(1, SeqCst) + 1;
            tokio::spawn(self.clone().serve(theirs, connection));
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}
