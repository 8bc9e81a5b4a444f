//! One line of JSON per request, written off the data plane: a thread collects its lines in a buffer of its own and
//! hands full buffers to one writer thread. When the disk cannot keep up, lines are dropped and counted: a slow disk
//! must not slow a request.

mod line;

pub use line::Line;

use crate::metrics::Counters;
use parking_lot::Mutex;
use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Off,
    Stderr,
    File(String),
}

impl Destination {
    /// As `log.access` says it.
    pub fn parse(text: &str) -> Self {
        match text {
            "" | "off" => Self::Off,
            "stderr" => Self::Stderr,
            path => Self::File(path.to_owned()),
        }
    }

    fn open(&self) -> io::Result<Box<dyn io::Write + Send>> {
        Ok(match self {
            Self::Off => Box::new(io::sink()),
            Self::Stderr => Box::new(io::stderr()),
            Self::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        })
    }
}

enum Message {
    Lines(Vec<u8>),
    /// After a rotation: the file of this name is another one now.
    Reopen(Destination),
    Flushed(SyncSender<()>),
}

/// The writer. Clones write to the same place.
#[derive(Clone)]
pub struct AccessLog(Option<SyncSender<Message>>);

/// Full buffers that may wait for the disk: with [`FULL`] bytes each, 4 MiB.
const WAITING: usize = 128;
const FULL: usize = 32 << 10;

impl AccessLog {
    /// Errors: the file cannot be opened.
    pub fn start(destination: &Destination) -> io::Result<Self> {
        if *destination == Destination::Off {
            return Ok(Self(None));
        }
        let out = destination.open()?;
        let (sender, receiver) = sync_channel(WAITING);
        thread::Builder::new().name("access-log".to_owned()).spawn(move || write(out, &receiver))?;
        Ok(Self(Some(sender)))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Opens the destination again.
    pub fn reopen(&self, destination: Destination) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(Message::Reopen(destination));
        }
    }

    /// Waits until what was handed over before is written. Blocks.
    pub fn flush(&self) {
        let Some(sender) = &self.0 else { return };
        let (done, wait) = sync_channel(1);
        if sender.send(Message::Flushed(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    /// A buffer for one thread.
    pub fn buffer(&self, counters: Arc<Counters>) -> Buffer {
        Buffer { log: self.clone(), lines: Mutex::new(Lines::default()), counters }
    }
}

fn write(mut out: Box<dyn io::Write + Send>, messages: &Receiver<Message>) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Lines(lines) => {
                if let Err(error) = out.write_all(&lines) {
                    tracing::error!(%error, "the access log cannot be written");
                }
            }
            Message::Reopen(destination) => match destination.open() {
                Ok(fresh) => out = fresh,
                Err(error) => tracing::error!(%error, "the access log cannot be opened again; the old file is kept"),
            },
            Message::Flushed(done) => {
                let _ = out.flush();
                let _ = done.send(());
            }
        }
    }
}

/// One thread's lines that have not been handed over. The lock is that thread's alone.
pub struct Buffer {
    log: AccessLog,
    lines: Mutex<Lines>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    count: u64,
    clock: line::Stamp,
}

impl Buffer {
    pub fn write(&self, line: &Line<'_>) {
        if !self.log.is_on() {
            return;
        }
        let mut lines = self.lines.lock();
        let Lines { bytes, count, clock } = &mut *lines;
        line.append(bytes, clock);
        *count += 1;
        if bytes.len() >= FULL {
            self.hand_over(&mut lines);
        }
    }

    /// Hands over what there is; called a few times a second, so that a quiet service's lines show as well.
    pub fn tick(&self) {
        let mut lines = self.lines.lock();
        if lines.count > 0 {
            self.hand_over(&mut lines);
        }
    }

    fn hand_over(&self, lines: &mut Lines) {
        let full = std::mem::replace(&mut lines.bytes, Vec::with_capacity(FULL + 1024));
        let count = std::mem::take(&mut lines.count);
        let Some(sender) = &self.log.0 else { return };
        match sender.try_send(Message::Lines(full)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.counters.log_lines_lost.add(count),
        }
    }
}
