//! Where lines come from: a line editor at a terminal, or standard input as it is.

use std::io::{self, IsTerminal};
use std::thread;

use rustyline::config::{ColorMode, Configurer};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use tokio::io::{BufReader, Stdin};
use tokio::sync::mpsc;

use crate::above::{Prompter, lines_above};
use crate::lines::{Line, Lines};
use crate::terminal::Terminal;

/// The longest line of a chat, in bytes; `p2pt pipe` takes longer ones.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// Lines that are remembered, for the arrow keys.
const HISTORY: usize = 500;

/// Lines that may wait to be sent: far more than are pasted, and than wait while the program does anything else.
const MAX_WAITING: usize = 1024;

const TOO_MANY: &str = "more lines came at once than can wait to be sent (1,023)";

const PROMPT: &str = "> ";

/// Lines that are typed or piped.
#[derive(Debug)]
pub(super) enum Source {
    /// A thread with a line editor, from which whole lines come.
    Editor {
        lines: mpsc::Receiver<io::Result<String>>,
        _screen: Screen,
    },
    Plain(Lines<BufReader<Stdin>>),
}

impl Source {
    /// A line editor, if people sit at both ends; what is said then goes through the terminal that comes with it, so that
    /// it does not paste into what is being typed.
    pub(super) fn open() -> (Self, Terminal) {
        let plain =
            || (Self::Plain(Lines::new(BufReader::new(tokio::io::stdin()), MAX_LINE_BYTES)), Terminal::stdout());
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return plain();
        }
        // A terminal that cannot be edited on is read as it is.
        Self::edit().unwrap_or_else(|_| plain())
    }

    fn edit() -> rustyline::Result<(Self, Terminal)> {
        let screen = Screen::save();
        let mut editor = Editor::<Prompter, MemHistory>::with_history(Config::default(), MemHistory::new())?;
        editor.set_max_history_size(HISTORY)?;
        let (lines_above, prompter) = lines_above(editor.create_external_printer()?, io::stdout())?;
        editor.set_helper(Some(prompter));
        // The lines are part of the prompt's decoration, which the editor leaves out where it is to use no colours.
        editor.set_color_mode(ColorMode::Forced);
        let (typed, lines) = mpsc::channel(MAX_WAITING);
        let edit = move || {
            loop {
                let line = editor.readline(PROMPT);
                if let Some(prompter) = editor.helper() {
                    prompter.pause();
                }
                let line = match line {
                    Ok(line) => {
                        // One that cannot be remembered is sent all the same.
                        let _ = editor.add_history_entry(&line);
                        Ok(line)
                    }
                    // Ctrl-C and Ctrl-D, which are no signals while a line is edited.
                    Err(ReadlineError::Interrupted | ReadlineError::Eof) => return,
                    Err(error) => Err(io::Error::other(error)),
                };
                // This thread must not wait for room: an editor that waits draws nothing, and the other side may wait for
                // what it draws. The last place is for saying so.
                let line = if typed.capacity() > 1 { line } else { Err(io::Error::other(TOO_MANY)) };
                let failed = line.is_err();
                if typed.try_send(line).is_err() || failed {
                    return;
                }
            }
        };
        thread::Builder::new().name("line-editor".to_owned()).spawn(edit)?;
        Ok((Self::Editor { lines, _screen: screen }, Terminal::above_an_editor(lines_above)))
    }

    /// Whether people type the lines, so that their end is meant.
    pub(super) fn is_editor(&self) -> bool {
        matches!(self, Self::Editor { .. })
    }

    /// The next line, or `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        match self {
            Self::Editor { lines, .. } => {
                let line = lines.recv().await.transpose()?;
                Ok(line.map(
                    |line| if line.len() > MAX_LINE_BYTES { Line::TooLong } else { Line::Whole(line.into_bytes()) },
                ))
            }
            Self::Plain(lines) => lines.next().await,
        }
    }
}

/// How the terminal was set before the editor, which sets it so again only when a line ends: the program may end before.
#[derive(Debug)]
pub(super) struct Screen {
    #[cfg(unix)]
    saved: Option<rustix::termios::Termios>,
}

impl Screen {
    fn save() -> Self {
        Self {
            #[cfg(unix)]
            saved: rustix::termios::tcgetattr(io::stdin()).ok(),
        }
    }
}

#[cfg(unix)]
impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            // A terminal that is gone needs it no more.
            let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, saved);
        }
    }
}
