//! Processes that come and go under load: drained, replaced, told to read their configuration again.

use crate::scripted::Scripted;
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// `ogeld serve` with a configuration file.
pub(crate) struct Process {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    pub(crate) address: SocketAddr,
}

pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the configuration: what every server here needs, and `more` of `[server]` and of other sections.
    pub(crate) fn configure(&self, listen: &str, more: &str) {
        let folder = self.0.path().display();
        let text = format!(
            "[database]\nurl = \"sqlite:{folder}/ogel.db\"\n\
             [ghost]\nurl = \"http://127.0.0.1:9\"\napi_key = \"k\"\n\
             [secrets]\nencryption_key = \"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\"\n\
             [log]\naccess = \"{folder}/access.log\"\n\
             [server]\nlisten = \"{listen}\"\noperations_listen = \"\"\nthreads = 2\n{more}"
        );
        // Whole or not at all: the server looks at the file while we write.
        let (fresh, file) = (self.path("ogeld.toml.new"), self.path("ogeld.toml"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, file).unwrap();
    }

    pub(crate) fn start(&self) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ogeld"))
            .args(["serve", "--config"])
            .arg(self.path("ogeld.toml"))
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = said(&mut log, "ready");
        let address = ready["address"].as_str().unwrap().parse().unwrap();
        Process { child, log, address }
    }
}

/// The next line of the log with this message.
fn said(log: &mut Lines<BufReader<ChildStderr>>, message: &str) -> Value {
    let lines = log.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut seen = Vec::new();
    for line in lines {
        if line["message"].as_str().unwrap_or_default().starts_with(message) {
            return line;
        }
        seen.push(line);
    }
    panic!("`{message}` was never said, but {seen:?}");
}

impl Process {
    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// At once, with whatever it was doing.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The most bytes it ever had in memory.
    fn resident_at_most(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    fn end(mut self) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// One connection that is used again and again, opened anew when the server has said that it closes it.
struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// The status and the head of the answer.
    fn get(&mut self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(self.address)?),
        };
        stream.get_ref().set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body)?;
        if !head.contains("connection: close") {
            self.stream = Some(stream);
        }
        Ok((head[9..12].parse().unwrap(), head))
    }
}

/// Asks from several threads, some with a connection each and some with one per request, until told to stop.
fn load(address: SocketAddr, stop: &Arc<AtomicBool>) -> impl FnOnce() -> (u64, Vec<String>) + use<> {
    let count = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..6)
        .map(|number| {
            let (stop, count) = (stop.clone(), count.clone());
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                let mut client = Client::new(address);
                while !stop.load(Ordering::Relaxed) {
                    match client.get("/api/v2/version") {
                        Ok((200, _)) => drop(count.fetch_add(1, Ordering::Relaxed)),
                        Ok((status, _)) => failures.push(format!("status {status}")),
                        Err(error) => failures.push(error.to_string()),
                    }
                    if number % 2 == 0 {
                        client = Client::new(address);
                    }
                }
                failures
            })
        })
        .collect();
    move || {
        let failures = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (count.load(Ordering::Relaxed), failures)
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "this never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_new_binary_takes_over_without_one_failed_request() {
    let folder = Folder::new();
    let limits = "[limits]\nanonymous = 0\naddress = 0\n";
    let takeover = format!("takeover_socket = \"{}\"\n{limits}", folder.path("takeover.sock").display());
    folder.configure("127.0.0.1:0", &takeover);
    let mut current = folder.start();
    let address = current.address;
    folder.configure(&address.to_string(), &takeover);
    let stop = Arc::new(AtomicBool::new(false));
    let outcome = load(address, &stop);
    for _ in 0..3 {
        let next = folder.start();
        assert_eq!(next.address, address);
        said(&mut current.log, "a successor has taken over");
        assert_eq!(current.child.wait().unwrap().code(), Some(0));
        current = next;
    }
    stop.store(true, Ordering::Relaxed);
    let (count, failures) = outcome();
    assert!(failures.is_empty(), "{} of {count} failed: {:?}", failures.len(), &failures[..failures.len().min(5)]);
    assert!(count > 100, "only {count} requests were made");
    current.end();
}

#[test]
fn a_configuration_is_swapped_under_open_connections_and_a_broken_one_is_refused() {
    let folder = Folder::new();
    let limited = |limit: u64| format!("[limits]\nanonymous = {limit}\n");
    folder.configure("127.0.0.1:0", &limited(1000));
    let mut process = folder.start();
    let address = process.address.to_string();
    let mut client = Client::new(process.address);
    let mut sees = |limit: &str| {
        let (_, head) = client.get("/api/v2/projects").unwrap();
        // Whatever happens, it is the same connection.
        assert!(client.stream.is_some());
        head.contains(&format!("x-ratelimit-limit: {limit}\r\n"))
    };
    assert!(sees("1000"));
    folder.configure(&address, &limited(2000));
    wait_until("the changed file is noticed", || sees("2000"));
    // Refused as a whole: nothing of it is taken over.
    folder.configure(&address, "[limits]\nanonymous = 3000\nanonymus = 1\n");
    let error = said(&mut process.log, "the configuration cannot be used");
    assert!(error["error"].as_str().unwrap().contains("did you mean `limits.anonymous`?"), "{error}");
    assert!(sees("2000"));
    folder.configure(&address, &limited(4000));
    process.signal("-HUP");
    wait_until("the signal is obeyed", || sees("4000"));
    folder.configure("127.0.0.1:1", &limited(4000));
    let warned = said(&mut process.log, "configuration read again; some");
    assert_eq!(warned["pending"], "server.listen");
    process.end();
}

#[test]
fn the_access_log_goes_on_in_a_new_file_after_a_rotation() {
    let folder = Folder::new();
    folder.configure("127.0.0.1:0", "");
    let process = folder.start();
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    let (log, old) = (folder.path("access.log"), folder.path("access.log.1"));
    let mut client = Client::new(process.address);
    client.get("/api/v2/version").unwrap();
    wait_until("the first line is there", || lines(&log) == 1);
    std::fs::rename(&log, &old).unwrap();
    process.signal("-HUP");
    wait_until("the new file is there", || log.exists());
    client.get("/api/v2/version").unwrap();
    wait_until("the second line is there", || lines(&log) == 1);
    assert_eq!(lines(&old), 1);
    process.end();
}

#[test]
fn a_process_told_to_stop_answers_what_it_has_begun_and_lets_its_clients_go() {
    let folder = Folder::new();
    folder.configure("127.0.0.1:0", "unready_seconds = 1\n");
    let mut process = folder.start();
    let mut client = Client::new(process.address);
    assert_eq!(client.get("/api/v2/ready").unwrap().0, 200);
    process.signal("-TERM");
    said(&mut process.log, "draining");
    // Readiness is off while everything else still works, each answer on its last connection.
    let (status, head) = client.get("/api/v2/ready").unwrap();
    assert!(status == 503 && head.contains("connection: close"), "{head}");
    assert_eq!(client.get("/api/v2/version").unwrap().0, 200);
    assert_eq!(process.child.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(process.address).is_err());
}

/// A certificate for `localhost`, signed by itself, with its key; and its bytes.
fn certificate(folder: &Folder) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    // The key first: the pair is complete once the certificate, which is looked at first, has changed.
    std::fs::write(folder.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().to_vec()
}

/// The protocol that was agreed on, and whether the server showed the certificate `trusted`.
async fn handshake(address: SocketAddr, trusted: &[u8], protocols: &[&str]) -> Option<Vec<u8>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.to_vec().into()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.ok()?;
    stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_offers_http2_and_a_renewed_certificate_is_served_without_a_restart() {
    let folder = Folder::new();
    let first = certificate(&folder);
    let files = ["certificate", "key"].map(|name| {
        let file = if name == "key" { "key.pem" } else { "cert.pem" };
        format!("tls_{name} = \"{}\"\n", folder.path(file).display())
    });
    folder.configure("127.0.0.1:0", &files.concat());
    let mut process = folder.start();
    assert_eq!(handshake(process.address, &first, &["h2", "http/1.1"]).await.unwrap(), b"h2");
    assert_eq!(handshake(process.address, &first, &["http/1.1"]).await.unwrap(), b"http/1.1");
    // Clear text on the same port is nobody's request.
    assert!(Client::new(process.address).get("/api/v2/version").is_err());
    let second = certificate(&folder);
    said(&mut process.log, "a new certificate is served");
    assert!(handshake(process.address, &first, &["h2"]).await.is_none());
    assert_eq!(handshake(process.address, &second, &["h2"]).await.unwrap(), b"h2");
    std::fs::write(folder.path("cert.pem"), "no certificate").unwrap();
    said(&mut process.log, "the certificate cannot be read again");
    assert_eq!(handshake(process.address, &second, &["h2"]).await.unwrap(), b"h2");
    process.end();
}

/// In a process of its own, so that what is counted is the server's alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_in_both_directions_without_being_held() {
    const SIZE: usize = 96 << 20;
    let studio = Scripted::start(Arc::new(|head, mut stream| {
        Box::pin(async move {
            let (mut left, mut sum) = (crate::scripted::length_of(&head), 0u64);
            let mut piece = vec![0; 256 << 10];
            while left > 0 {
                let count = stream.read(&mut piece).await.unwrap();
                sum += piece[..count].iter().map(|byte| u64::from(*byte)).sum::<u64>();
                left -= count;
            }
            let head = format!("HTTP/1.1 200 OK\r\netag: \"{sum}\"\r\ncontent-length: {SIZE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            for _ in 0..SIZE / piece.len() {
                stream.write_all(&piece).await.unwrap();
            }
            Some(stream)
        })
    }))
    .await;
    let folder = Folder::new();
    folder.configure("127.0.0.1:0", &format!("[studio]\nurl = \"{}\"\nforward = [\"billing\"]\n", studio.url()));
    let process = folder.start();
    let before = process.resident_at_most();
    let pieces = futures_util::stream::iter((0..SIZE / 65536).map(|_| Ok::<_, std::io::Error>(vec![1u8; 65536])));
    let request = ogel_testkit::http_client().put(format!("http://{}/api/v2/billing/file", process.address));
    let request = request.header("content-length", SIZE).body(reqwest::Body::wrap_stream(pieces));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["etag"], format!("\"{SIZE}\"").as_str());
    let mut got = 0;
    while let Some(piece) = response.chunk().await.unwrap() {
        got += piece.len();
    }
    assert_eq!(got, SIZE);
    let grown = process.resident_at_most() - before;
    assert!(grown < 32 << 20, "{} MiB more than before", grown >> 20);
    process.end();
}
