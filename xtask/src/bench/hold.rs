//! Many connections that are opened and then only kept, from a process of their own: what they cost the client must not
//! be counted, and descriptors are limited by process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::Result;
use crate::http::Connection;

/// Opens a share of the connections each.
const THREADS: usize = 4;

/// Connections that stay open as long as this value.
pub(crate) struct Held(Child);

/// Opens `count` connections to `address`, each after one request for `path` that was answered well.
pub(crate) fn open(address: SocketAddr, count: usize, path: &str, headers: &[String]) -> Result<Held> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let raise = r#"ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", raise, "sh"]).arg(program).args(["bench-hold", &address.to_string(), &count.to_string(), path]);
    command.args(headers).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut held = Held(command.spawn().map_err(|error| error.to_string())?);
    let mut answer = String::new();
    let stdout = held.0.stdout.take().ok_or("the holder has no output")?;
    BufReader::new(stdout).read_line(&mut answer).map_err(|error| error.to_string())?;
    match answer.trim() {
        "open" => Ok(held),
        _ => Err(format!("{count} connections could not be opened; the reason is above")),
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("warning: connections may still be open: {error}");
        }
    }
}

/// `xtask bench-hold ADDRESS COUNT PATH HEADER…`: until its standard input ends.
pub(crate) fn child(words: &[&str]) -> Result {
    let [address, count, path, headers @ ..] = words else { return Err("bench-hold is for the benchmark".to_owned()) };
    let address: SocketAddr = address.parse().map_err(|_| format!("`{address}` is no address"))?;
    let count: usize = count.parse().map_err(|_| format!("`{count}` is no count"))?;
    let headers: Vec<String> = headers.iter().map(|&line| line.to_owned()).collect();
    let endless = headers.iter().any(|line| line.ends_with("text/event-stream"));
    let open = |share: usize| -> Result<Vec<Connection>> {
        (0..share)
            .map(|_| {
                let mut connection = Connection::open(address)?;
                let head = connection.send("GET", path, &headers, &[])?;
                if head.status != 200 {
                    return Err(format!("GET {path} was answered with {}", head.status));
                }
                if !endless {
                    connection.body(&head, |_| {})?;
                }
                Ok(connection)
            })
            .collect()
    };
    let shares = (0..THREADS).map(|thread| count / THREADS + usize::from(thread < count % THREADS));
    let connections: Result<Vec<Vec<Connection>>> = thread::scope(|scope| {
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || open(share))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?).collect()
    });
    let connections = connections?;
    println!("open");
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    // Ends when whoever started us ends, however that happens.
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(|error| error.to_string())?;
    drop(connections);
    Ok(())
}
