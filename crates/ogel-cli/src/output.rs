//! Where things are written: data to stdout, everything for people to stderr.
//!
//! A reader that goes away (`ogel logs … | head`) is no error: what would follow is dropped, and commands that would
//! go on for long ask [`Output::reader_is_gone`].

use crate::{
    Result,
    failure::{Exit, Failure},
};
use anstream::{AutoStream, ColorChoice};
use serde::Serialize;
use std::{
    cell::Cell,
    io::{ErrorKind, IsTerminal as _, Write as _},
    rc::Rc,
};

#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) json: bool,
    quiet: bool,
    choice: Option<ColorChoice>,
    reader_is_gone: Rc<Cell<bool>>,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool, no_color: bool) -> Self {
        Self { json, quiet, choice: no_color.then_some(ColorChoice::Never), reader_is_gone: Rc::default() }
    }

    /// Lines of data, as a person reads them. Colours are dropped when stdout is no terminal.
    pub(crate) fn data(&self, text: &str) -> Result {
        let stdout = std::io::stdout();
        let choice = self.choice.unwrap_or_else(|| AutoStream::choice(&stdout));
        let mut stream = AutoStream::new(stdout.lock(), choice);
        self.check(stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(b"\n")))?;
        self.check(stream.flush())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result {
        let mut stdout = std::io::stdout().lock();
        self.check(stdout.write_all(bytes).and_then(|()| stdout.flush()))
    }

    /// One JSON document: indented for a terminal, one line otherwise.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result {
        let stdout = std::io::stdout();
        let text =
            if stdout.is_terminal() { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        let text = text.map_err(|error| Failure::new(Exit::Failed, "SYSTEM", error.to_string()))?;
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// One line of a JSON Lines document.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result {
        let text = serde_json::to_string(value);
        let text = text.map_err(|error| Failure::new(Exit::Failed, "SYSTEM", error.to_string()))?;
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Nobody reads stdout any more.
    pub(crate) fn reader_is_gone(&self) -> bool {
        self.reader_is_gone.get()
    }

    /// Progress, and whatever else is nice to know.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.stderr(text);
        }
    }

    /// What a person must read to go on.
    pub(crate) fn ask(&self, text: &str) {
        self.stderr(text);
    }

    pub(crate) fn warn(&self, text: &str) {
        self.stderr(&format!("\x1b[1;33mwarning\x1b[0m: {text}"));
    }

    /// The last word on stderr, and on stdout too if JSON was asked for.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json && !failure.reported {
            // If stdout is broken, what is left is stderr and the exit code.
            let _ = self.json(&failure.envelope());
        }
        self.stderr(&failure.text());
    }

    /// What cannot be written to stderr is lost: there is nowhere left to complain.
    fn stderr(&self, text: &str) {
        let stderr = std::io::stderr();
        let choice = self.choice.unwrap_or_else(|| AutoStream::choice(&stderr));
        let _ = writeln!(AutoStream::new(stderr.lock(), choice), "{text}");
    }

    fn check(&self, outcome: std::io::Result<()>) -> Result {
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.reader_is_gone.set(true);
                Ok(())
            }
            Err(error) => Err(Failure::new(Exit::Failed, "SYSTEM", format!("cannot write to stdout: {error}"))),
        }
    }
}
