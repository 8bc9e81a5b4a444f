//! An upstream inside this process whose bodies are long, or come slowly and say when they left: nobody can say how late
//! a piece is but whoever sent it.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// Between two pieces of a slow body.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);

/// Microseconds of a clock that begins with this process.
pub(crate) fn now() -> u128 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros()
}

/// Starts it; it lives as long as this process. The last segments of a path say what is wanted: `chunks/COUNT`,
/// `download/BYTES`, or anything else, whose body is read and counted.
pub(crate) fn start() -> Result<SocketAddr> {
    now();
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away ends its connection and nothing else.
            thread::spawn(move || serve(&stream).ok());
        }
    });
    Ok(address)
}

fn serve(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = (BufReader::with_capacity(64 << 10, stream), stream);
    loop {
        let (mut length, mut chunked, mut path) = (0, false, String::new());
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or("/").to_owned();
            } else if let Some((name, value)) = line.split_once(':') {
                match name {
                    "content-length" => length = value.trim().parse().unwrap_or(0),
                    "transfer-encoding" => chunked = value.contains("chunked"),
                    _ => {}
                }
            } else {
                break;
            }
        }
        let mut parts = path.rsplit('/');
        let count: u64 = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        match parts.next() {
            Some("chunks") => chunks(&mut output, count)?,
            Some("download") => download(&mut output, count)?,
            _ => {
                let got = if chunked {
                    read_chunks(&mut input)?
                } else {
                    io::copy(&mut (&mut input).take(length), &mut io::sink())?
                };
                let body = got.to_string();
                write!(
                    output,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )?;
            }
        }
    }
}

fn chunks(output: &mut &TcpStream, count: u64) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
                X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";
    output.write_all(head.as_bytes())?;
    for _ in 0..count {
        thread::sleep(INTERVAL);
        let event = format!("data: {}\n\n", now());
        output.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
    }
    output.write_all(b"0\r\n\r\n")
}

fn download(output: &mut &TcpStream, mut left: u64) -> io::Result<()> {
    write!(output, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {left}\r\n\r\n")?;
    let piece = vec![b'x'; 64 << 10];
    while left > 0 {
        let size = left.min(piece.len() as u64);
        output.write_all(&piece[..size as usize])?;
        left -= size;
    }
    Ok(())
}

fn read_chunks(input: &mut BufReader<&TcpStream>) -> io::Result<u64> {
    let mut got = 0;
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        // And the line's end after it.
        io::copy(&mut input.take(size + 2), &mut io::sink())?;
        if size == 0 {
            return Ok(got);
        }
        got += size;
    }
}
