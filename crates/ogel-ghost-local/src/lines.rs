//! Bytes of a child process cut into lines: `\n` ends a line, `\r\n` too; after a lone `\r` the rest of the line replaces
//! what came before it, as on a terminal, so a progress bar is one line. Never holds more than one cut line, however
//! long the line is. Next: `log.rs`.

/// Cuts one stream.
pub(crate) struct Splitter {
    line: Vec<u8>,
    dropped: usize,
    pending_return: bool,
    max: usize,
}

impl Splitter {
    pub(crate) fn new(max: usize) -> Splitter {
        Splitter { line: Vec::new(), dropped: 0, pending_return: false, max }
    }

    /// Takes the next bytes and hands every finished line to `emit`.
    pub(crate) fn push(&mut self, bytes: &[u8], mut emit: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n' || byte == b'\r') {
            let (text, end) = match piece.last() {
                Some(b'\n') => (&piece[..piece.len() - 1], b'\n'),
                Some(b'\r') => (&piece[..piece.len() - 1], b'\r'),
                _ => (piece, 0),
            };
            if !text.is_empty() {
                if self.pending_return {
                    self.line.clear();
                    self.dropped = 0;
                    self.pending_return = false;
                }
                let room = self.max.saturating_sub(self.line.len()).min(text.len());
                self.line.extend_from_slice(&text[..room]);
                self.dropped += text.len() - room;
            }
            match end {
                b'\n' => emit(self.take()),
                b'\r' => self.pending_return = true,
                _ => {}
            }
        }
    }

    /// The last line, if the stream did not end with a newline.
    pub(crate) fn finish(mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        // SQLite's JSON reads text up to a NUL, so a NUL is shown as what it is: not a character.
        let mut text = String::from_utf8_lossy(&self.line).replace('\0', "\u{fffd}");
        if self.dropped > 0 {
            text.push_str(&format!(" … [line cut, {} bytes more]", self.dropped));
        }
        self.line.clear();
        self.dropped = 0;
        self.pending_return = false;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(max: usize, chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut splitter = Splitter::new(max);
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push(line));
        }
        lines.extend(splitter.finish());
        lines
    }

    #[test]
    fn lines_survive_any_chunking() {
        assert_eq!(split(99, &[b"a\r", b"\nb", b"c\n\nd"]), ["a", "bc", "", "d"]);
    }

    #[test]
    fn a_progress_bar_is_one_line() {
        assert_eq!(split(99, &[b"10%\r50%\r", b"100%\r\ndone\n"]), ["100%", "done"]);
    }

    #[test]
    fn a_long_line_is_cut_and_marked() {
        assert_eq!(split(4, &[b"abc", b"defgh\nx\n"]), ["abcd … [line cut, 4 bytes more]", "x"]);
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        assert_eq!(split(99, &[b"a\xff\0b\n"]), ["a\u{fffd}\u{fffd}b"]);
    }
}
