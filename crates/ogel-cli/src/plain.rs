//! Text of others on our terminal: a build's output or an error message must not move the cursor, rename the window
//! or hide what came before. Colours may stay where a log is shown.

use std::iter::Peekable;
use std::str::Chars;

/// One line without any control character; for names and messages.
pub(crate) fn line(text: &str) -> String {
    scrub(text, false)
}

/// One line with its colours (`ESC [ … m`) and tabs; a colour left on is switched off at its end.
pub(crate) fn colored_line(text: &str) -> String {
    let mut clean = scrub(text, true);
    if clean.contains('\x1b') {
        clean.push_str("\x1b[0m");
    }
    clean
}

fn scrub(text: &str, keep_colors: bool) -> String {
    // A progress bar overwrites its line; what it last said is what counts.
    let text = if keep_colors { text.trim_end_matches('\r').rsplit('\r').next().unwrap_or(text) } else { text };
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\x1b' => {
                if let Some(color) = escape(&mut rest).filter(|_| keep_colors) {
                    clean.push_str(&color);
                }
            }
            '\t' => clean.push('\t'),
            '\n' | '\r' => clean.push(' '),
            character if character.is_control() || is_direction(character) => {}
            character => clean.push(character),
        }
    }
    clean
}

/// Reads the rest of an escape sequence; returns it if it is a colour.
fn escape(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    match rest.next()? {
        '[' => {
            let mut sequence = String::from("\x1b[");
            for character in rest.by_ref() {
                sequence.push(character);
                if ('\x40'..='\x7e').contains(&character) {
                    let digits = &sequence[2..sequence.len() - 1];
                    let is_color = character == 'm' && digits.bytes().all(|b| b.is_ascii_digit() || b";:".contains(&b));
                    return is_color.then_some(sequence);
                }
            }
            None
        }
        // A string for the terminal itself, up to BEL or ESC `\`.
        ']' | 'P' | 'X' | '^' | '_' => {
            while let Some(character) = rest.next() {
                if character == '\x07' || (character == '\x1b' && rest.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
            None
        }
        _ => None,
    }
}

/// Characters that reorder what stands around them.
fn is_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_stay_in_logs_and_everything_else_goes() {
        for (given, log, name) in [
            ("plain\ttext ü", "plain\ttext ü", "plain\ttext ü"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m", "red"),
            ("a\x1b[2Jb\x1b[1;1Hc", "abc", "abc"),
            ("a\x1b]0;owned\x07b", "ab", "ab"),
            ("a\x1b]8;;http://x\x1b\\b", "ab", "ab"),
            ("10%\r50%\r100%\r", "100%", "10% 50% 100% "),
            ("bell\x07 back\x08", "bell back", "bell back"),
            ("open \x1b[3", "open ", "open "),
            ("\u{202e}txt.exe", "txt.exe", "txt.exe"),
        ] {
            assert_eq!(colored_line(given), log, "{given:?}");
            assert_eq!(line(given), name, "{given:?}");
        }
    }
}
