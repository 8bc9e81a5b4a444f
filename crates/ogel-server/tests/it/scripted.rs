//! A backend that says exactly the bytes a test gives it and remembers exactly the bytes it got.

use parking_lot::Mutex;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What it does once a request's head is there; the connection comes back if it may have another request.
type Script =
    Arc<dyn Fn(String, TcpStream) -> futures_util::future::BoxFuture<'static, Option<TcpStream>> + Send + Sync>;

pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Answers every request with these bytes, as often as one connection asks.
    pub(crate) async fn saying(answer: &'static str) -> Self {
        Self::start(Arc::new(move |head, mut stream| {
            Box::pin(async move {
                // A body may have come by now; the next head is found behind it.
                if read_body(&mut stream, &head).await.is_some() && stream.write_all(answer.as_bytes()).await.is_ok() {
                    return Some(stream);
                }
                None
            })
        }))
        .await
    }

    /// Answers in pieces, each as it is said, and with the trailer behind the last.
    pub(crate) async fn dictated(trailer: &'static str) -> (Self, mpsc::Sender<&'static str>) {
        let (say, said) = mpsc::channel::<&'static str>(1);
        let said = Arc::new(tokio::sync::Mutex::new(said));
        let studio = Self::start(Arc::new(move |_, mut stream| {
            let said = said.clone();
            Box::pin(async move {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes()).await.unwrap();
                while let Some(piece) = said.lock().await.recv().await {
                    stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes()).await.unwrap();
                }
                stream.write_all(format!("0\r\n{trailer}\r\n\r\n").as_bytes()).await.unwrap();
                Some(stream)
            })
        }))
        .await;
        (studio, say)
    }

    /// Runs `script` for every request.
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (script, seen) = (script.clone(), seen.clone());
                tokio::spawn(async move {
                    while let Some(head) = read_head(&mut stream).await {
                        seen.lock().push(head.clone());
                        match script(head, stream).await {
                            Some(kept) => stream = kept,
                            None => return,
                        }
                    }
                });
            }
        });
        Self { address, heads }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The head of each request, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }
}

/// Answers with more than anybody will read, until the connection is closed.
pub(crate) async fn say_without_end(mut stream: TcpStream) -> Option<TcpStream> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1000000000\r\n\r\n";
    let _ = stream.write_all(head.as_bytes()).await;
    let piece = vec![b'x'; 64 << 10];
    while stream.write_all(&piece).await.is_ok() {}
    None
}

/// A head up to its empty line, byte by byte so that nothing after it is taken; None at the end of the connection.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap().to_ascii_lowercase())
}

/// The body that `head` announces, chunks and all.
pub(crate) async fn read_body(stream: &mut TcpStream, head: &str) -> Option<Vec<u8>> {
    if !head.contains("transfer-encoding: chunked") {
        let mut body = vec![0; length_of(head)];
        return stream.read_exact(&mut body).await.ok().map(|_| body);
    }
    let mut body = Vec::new();
    while !body.ends_with(b"0\r\n\r\n") {
        body.push(stream.read_u8().await.ok()?);
    }
    Some(body)
}

pub(crate) fn length_of(head: &str) -> usize {
    let rest = head.split("\r\ncontent-length: ").nth(1);
    rest.and_then(|rest| rest.split("\r\n").next()).map_or(0, |text| text.parse().unwrap())
}
