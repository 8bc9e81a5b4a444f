//! The smallest HTTP/1.1 client that can sign up at a gateway, follow a stream and hold ten thousand connections. The
//! benchmark's load is made by `wrk` and `h2load`; `chaos` needs to know what became of each single request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::Result;

/// One connection that is kept.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// The beginning of an answer.
pub(crate) struct Head {
    pub(crate) status: u16,
    length: Option<usize>,
    chunked: bool,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        Self::open_within(address, Duration::from_secs(60))
    }

    /// One that waits so long for each piece of an answer.
    pub(crate) fn open_within(address: SocketAddr, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect(address).map_err(|error| format!("cannot connect to {address}: {error}"))?;
        let prepare = || {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(patience))
        };
        prepare().map_err(|error: std::io::Error| error.to_string())?;
        Ok(Self { address, stream: BufReader::new(stream) })
    }

    /// Sends a request with a body and reads the head of the answer. `headers` are whole lines.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[String], body: &[u8]) -> Result<Head> {
        self.begin(method, path, headers, body.len())?;
        self.write(body)?;
        self.head()
    }

    /// Sends a request's head for a body of `length` bytes that the caller writes.
    pub(crate) fn begin(&mut self, method: &str, path: &str, headers: &[String], length: usize) -> Result {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for line in headers {
            text.push_str(line);
            text.push_str("\r\n");
        }
        if length > 0 {
            text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"));
        }
        text.push_str("\r\n");
        self.write(text.as_bytes())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result {
        self.stream.get_mut().write_all(bytes).map_err(|error| format!("cannot write to {}: {error}", self.address))
    }

    pub(crate) fn head(&mut self) -> Result<Head> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut head = Head { status: status.ok_or("the answer has no status")?, length: None, chunked: false };
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", value)) => head.length = value.trim().parse().ok(),
                Some(("transfer-encoding", value)) => head.chunked = value.contains("chunked"),
                Some(_) => {}
                None => return Ok(head),
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Err(format!("{} closed the connection", self.address)),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(format!("cannot read from {}: {error}", self.address)),
        }
    }

    /// The next piece of the body as it came over the wire; empty at the end. `left` is what remains of a body with a
    /// length.
    fn piece(&mut self, head: &Head, left: &mut usize) -> Result<Vec<u8>> {
        let size = if head.chunked {
            let line = self.line()?;
            usize::from_str_radix(&line, 16).map_err(|_| format!("`{line}` is not the size of a chunk"))?
        } else {
            (*left).min(64 << 10)
        };
        let mut piece = vec![0; size];
        self.stream.read_exact(&mut piece).map_err(|error| format!("cannot read a body: {error}"))?;
        if head.chunked {
            self.line()?;
        } else {
            *left -= size;
        }
        Ok(piece)
    }

    /// Hands the body to `each`, piece by piece.
    pub(crate) fn body(&mut self, head: &Head, mut each: impl FnMut(&[u8])) -> Result {
        let mut left = head.length.unwrap_or(0);
        loop {
            let piece = self.piece(head, &mut left)?;
            if piece.is_empty() {
                return Ok(());
            }
            each(&piece);
        }
    }

    /// A whole exchange.
    pub(crate) fn call(&mut self, method: &str, path: &str, headers: &[String], body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let head = self.send(method, path, headers, body)?;
        let mut bytes = Vec::new();
        self.body(&head, |piece| bytes.extend_from_slice(piece))?;
        Ok((head.status, bytes))
    }

    /// A whole exchange in JSON that must succeed.
    pub(crate) fn json(&mut self, method: &str, path: &str, headers: &[String], body: Option<&Value>) -> Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let (status, answer) = self.call(method, path, headers, body.as_bytes())?;
        if !(200..300).contains(&status) {
            return Err(format!("{method} {path} was answered with {status}: {}", String::from_utf8_lossy(&answer)));
        }
        serde_json::from_slice(&answer).map_err(|error| format!("{method} {path} did not answer in JSON: {error}"))
    }
}

/// `Authorization` as a whole line.
pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A text in an answer, by its JSON pointer.
pub(crate) fn text<'a>(answer: &'a Value, place: &str) -> Result<&'a str> {
    answer.pointer(place).and_then(Value::as_str).ok_or_else(|| format!("an answer lacks `{place}`: {answer}"))
}
