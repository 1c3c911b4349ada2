//! What people see: colours where they are wanted, and nothing with which a peer could play tricks on a terminal.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Stdout, Write};

use p2pt::PeerId;
use p2pt::tracker::ConnectError;
use p2pt::transport::TransportError;

use crate::above::LinesAbove;

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal").field("colours", &self.colours).field("times", &self.times).finish_non_exhaustive()
    }
}

/// The colours used, by their SGR codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Magenta = 35,
    Cyan = 36,
    BrightMagenta = 95,
    BrightCyan = 96,
}

/// Whether the environment allows colours; see <https://no-color.org>.
pub(crate) fn colours_wanted() -> bool {
    let unset = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    unset && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Standard output, for people.
pub(crate) struct Terminal {
    out: Out,
    colours: bool,
    times: bool,
}

/// Where lines are written.
enum Out {
    Stdout(Stdout),
    /// Above a line that is being typed.
    Editor(LinesAbove),
}

impl Terminal {
    pub(crate) fn stdout() -> Self {
        let out = io::stdout();
        let colours = out.is_terminal() && colours_wanted();
        Self { out: Out::Stdout(out), colours, times: false }
    }

    /// The terminal above a line editor; lines have the time before them.
    pub(crate) fn above_an_editor(lines: LinesAbove) -> Self {
        Self { out: Out::Editor(lines), colours: colours_wanted(), times: true }
    }

    /// The time of day where people live, before a line that has one.
    pub(crate) fn time(&self) -> String {
        if self.times {
            self.paint(Colour::Dim, format_args!("{} ", chrono::Local::now().format("%H:%M")))
        } else {
            String::new()
        }
    }

    /// The text in a colour, if this terminal takes colours.
    pub(crate) fn paint(&self, colour: Colour, text: impl fmt::Display) -> String {
        if self.colours { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_string() }
    }

    /// Writes one line, at once.
    ///
    /// # Errors
    /// [In words](output_error), when the reader of standard output is gone or the disk is full.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        match &mut self.out {
            Out::Stdout(out) => writeln!(out, "{text}").and_then(|()| out.flush()).map_err(output_error),
            Out::Editor(lines) => lines.print(&format!("{text}\n")).map_err(output_error),
        }
    }
}

/// Says in words why standard output could not be written.
pub(crate) fn output_error(error: io::Error) -> io::Error {
    let text = match error.kind() {
        ErrorKind::BrokenPipe => "standard output is closed: its reader is gone".to_owned(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!("the disk that standard output goes to is full: {error}")
        }
        _ => format!("standard output: {error}"),
    };
    io::Error::new(error.kind(), text)
}

/// Why a connection failed, and what to do about it.
pub(crate) fn explained(error: &TransportError) -> String {
    match error.advice() {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

/// What the option is called with which a tracker is reached that a library says more of than this program's users know;
/// to be shown behind the error.
pub(crate) fn option_for(error: &ConnectError) -> Option<&'static str> {
    matches!(error, ConnectError::Untrusted(_)).then_some(": --root-certificate FILE")
}

/// The first eight digits of an id: enough for people to tell peers apart.
pub(crate) fn short(id: PeerId) -> String {
    id.to_string()[..8].to_owned()
}

/// The text of another peer, harmless to a terminal: control characters, which could move the cursor or worse, and those that
/// reorder text become U+FFFD; line breaks are kept, with an indent to show that the next line is the same message's.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c == '\n' || is_unsafe(c)) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => cleaned.push_str("\n    "),
            c if is_unsafe(c) => cleaned.push('\u{fffd}'),
            c => cleaned.push(c),
        }
    }
    Cow::Owned(cleaned)
}

fn is_unsafe(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_stays_as_it_is() {
        for text in ["", "hello", "tabs\tand emoji 👩\u{200d}👩\u{200d}👧", "עברית"] {
            assert!(matches!(clean(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn what_moves_the_cursor_or_reorders_text_goes() {
        assert_eq!(clean("\x1b[2Jgone\r\x07"), "\u{fffd}[2Jgone\u{fffd}\u{fffd}");
        assert_eq!(clean("\u{9b}2J \u{202e}txt"), "\u{fffd}2J \u{fffd}txt");
        assert_eq!(clean("one\n<mallory> two"), "one\n    <mallory> two");
    }

    #[test]
    fn colours_appear_only_where_they_are_wanted() {
        let mut terminal = Terminal { out: Out::Stdout(io::stdout()), colours: true, times: false };
        assert_eq!(terminal.paint(Colour::Green, "ok"), "\x1b[32mok\x1b[0m");
        terminal.colours = false;
        assert_eq!(terminal.paint(Colour::Green, "ok"), "ok");
    }

    #[test]
    fn short_ids_are_the_beginning_of_long_ones() {
        assert_eq!(short(PeerId::from([0xab; 20])), "abababab");
    }
}
