//! Lines printed above the one that is being typed, in the order in which they are given.
//!
//! A line editor has the terminal while a line is typed. Between two lines, and after the last, it has not, and its own printer
//! then writes past what still waits for the editor: lines that were given first come out last. So there is one path here:
//! every line joins a [`Backlog`], and the editor's thread takes all of it whenever it draws its prompt, as text before the
//! prompt. The editor's printer only [wakes](WAKE) it, which says nothing and which may come late or twice.
//!
//! The editor's thread waits for nothing but a lock that is held for moments. The side that prints waits for the editor in two
//! places: for room in the backlog, and at its end, for [a second](PATIENCE) at most, until the last line is drawn.

use std::borrow::Cow;
use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{ExternalPrinter, Helper};

/// How much text may wait to be drawn, in bytes, before the side that prints waits: an editor draws at once, unless its
/// terminal is stopped (Ctrl-S) or its history is being searched, and peers may go on talking meanwhile.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// How long the end of the program waits for the editor to draw the last lines, which takes it milliseconds. An editor whose
/// history is being searched does not draw; the lines are then written as they are.
const PATIENCE: Duration = Duration::from_secs(1);

/// What makes an editor draw its prompt again. It prints this on the prompt's cleared row, and the prompt below: up and down
/// again is the same row. Only on the topmost row of the screen, which is where Ctrl-L puts the prompt, it leaves one row empty.
const WAKE: &str = "\x1b[A\n";

/// Clears the row of the prompt, where lines are written in the editor's place.
const CLEAR_ROW: &str = "\r\x1b[K";

/// What waits to be drawn, and by which of the two sides.
#[derive(Debug, Default)]
struct Backlog {
    waiting: String,
    editor: Phase,
    /// Whether the editor took text that it may not have written yet: it has by the time it comes here again.
    is_drawing: bool,
}

/// What the editor's thread does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It is between two lines, and draws before it reads the next.
    #[default]
    Paused,
    /// It reads a line, and draws when it is woken.
    Editing,
    /// It draws no more; the other side writes.
    Ended,
}

impl Backlog {
    /// Takes a line for the editor, or gives it back where the caller is to write it.
    fn push<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if self.editor == Phase::Ended {
            return Some(line);
        }
        self.waiting.push_str(line);
        None
    }

    /// The text that the editor draws above its prompt, now.
    fn draw(&mut self) -> String {
        if self.editor != Phase::Ended {
            self.editor = Phase::Editing;
        }
        let text = mem::take(&mut self.waiting);
        self.is_drawing = !text.is_empty();
        text
    }

    /// A line has been read.
    fn pause(&mut self) {
        if self.editor != Phase::Ended {
            self.editor = Phase::Paused;
        }
        self.is_drawing = false;
    }

    /// The editor draws no more; what it has not drawn is the caller's to write.
    fn end(&mut self) -> String {
        self.editor = Phase::Ended;
        self.is_drawing = false;
        mem::take(&mut self.waiting)
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING_BYTES
    }

    /// Whether all that was pushed is on the screen.
    fn is_shown(&self) -> bool {
        self.waiting.is_empty() && !self.is_drawing
    }
}

/// The two sides' common state.
struct Shared {
    backlog: Mutex<Backlog>,
    changed: Condvar,
    /// Where lines are written that no editor draws; used with the backlog's lock held, so that they come in their order.
    out: Mutex<Box<dyn Write + Send>>,
}

impl Shared {
    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the backlog on the editor's side, and tells the side that prints.
    fn change<T>(&self, change: impl FnOnce(&mut Backlog) -> T) -> T {
        let changed = change(&mut self.backlog());
        self.changed.notify_all();
        changed
    }

    /// Ends the editor's part, with what is left of it written.
    fn end(&self, before: &str) -> io::Result<()> {
        self.change(|backlog| {
            let rest = backlog.end();
            if rest.is_empty() { Ok(()) } else { self.write(&[before, &rest].concat()) }
        })
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }
}

/// The side that prints. Dropping it waits until the editor has drawn all that was printed.
pub(crate) struct LinesAbove {
    shared: Arc<Shared>,
    wake: SyncSender<()>,
}

/// The editor's side: what [draws](Highlighter::highlight_prompt) the lines. Dropping it writes what is left, and lets the other
/// side write from then on.
pub(crate) struct Prompter {
    shared: Arc<Shared>,
}

/// Both sides of an editor that is woken through its printer; `out` is its terminal.
pub(crate) fn lines_above(
    printer: impl ExternalPrinter + Send + 'static,
    out: impl Write + Send + 'static,
) -> io::Result<(LinesAbove, Prompter)> {
    let out = Mutex::new(Box::new(out) as Box<dyn Write + Send>);
    let shared = Arc::new(Shared { backlog: Mutex::default(), changed: Condvar::new(), out });
    // One is enough: the thread that takes it wakes the editor after all that was pushed before.
    let (wake, woken) = mpsc::sync_channel(1);
    let editor = shared.clone();
    thread::Builder::new().name("line-editor-wake".to_owned()).spawn(move || wakes(&editor, &woken, printer))?;
    Ok((LinesAbove { shared: shared.clone(), wake }, Prompter { shared }))
}

/// Wakes the editor when asked to. A thread of its own does so because the editor's printer waits while keys are typed.
fn wakes(editor: &Shared, woken: &mpsc::Receiver<()>, mut printer: impl ExternalPrinter) {
    while woken.recv().is_ok() {
        // An editor that is paused draws without being woken, and its printer would write to the terminal itself.
        if editor.backlog().editor == Phase::Editing && printer.print(WAKE.to_owned()).is_err() {
            return;
        }
    }
}

impl LinesAbove {
    /// Prints one or more whole lines, each with its line break.
    ///
    /// # Errors
    /// When the editor has ended, and standard output takes no text. An editor that cannot draw says so itself.
    pub(crate) fn print(&self, lines: &str) -> io::Result<()> {
        let backlog = self.shared.backlog();
        let waits = self.shared.changed.wait_while(backlog, |backlog| backlog.is_full());
        let mut backlog = waits.unwrap_or_else(PoisonError::into_inner);
        match backlog.push(lines) {
            // The lock is held, so the editor's last lines are written before this.
            Some(lines) => self.shared.write(lines),
            None => {
                drop(backlog);
                self.wake();
                Ok(())
            }
        }
    }

    fn wake(&self) {
        // Where there is no room, the editor is going to be woken; where there is no waking thread, the editor has ended.
        let _ = self.wake.try_send(());
    }

    /// Waits until all is shown, for a time at most; whether it is.
    fn wait_until_shown(&self, patience: Duration) -> bool {
        let waits = self.shared.changed.wait_timeout_while(self.shared.backlog(), patience, |backlog| {
            let waits = !backlog.is_shown();
            if waits {
                // An editor that has taken text says with its next drawing that it has written it.
                self.wake();
            }
            waits
        });
        waits.unwrap_or_else(PoisonError::into_inner).0.is_shown()
    }

    /// Waits for the editor for a time at most, and writes what it has not drawn by then.
    fn leave(&self, patience: Duration) {
        if !self.wait_until_shown(patience) {
            // A terminal that is gone shows nothing, and there is no later line to say so in.
            let _ = self.shared.end(CLEAR_ROW);
        }
    }
}

impl Drop for LinesAbove {
    fn drop(&mut self) {
        self.leave(PATIENCE);
    }
}

impl Prompter {
    /// Says that a line has been read: what is printed now is drawn with the next prompt.
    pub(crate) fn pause(&self) {
        self.shared.change(Backlog::pause);
    }
}

impl Drop for Prompter {
    fn drop(&mut self) {
        // The editor has left the terminal at the beginning of a row. If the terminal is gone, the next line says so.
        let _ = self.shared.end("");
    }
}

impl Highlighter for Prompter {
    /// The lines that wait, and the prompt. An editor draws this where its prompt begins, on cleared rows, and counts its own
    /// rows from the end, so that the lines stay above it.
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        let lines = self.shared.change(Backlog::draw);
        if lines.is_empty() { Cow::Borrowed(prompt) } else { Cow::Owned(lines + prompt) }
    }
}

impl Helper for Prompter {}

impl Completer for Prompter {
    type Candidate = String;
}

impl Hinter for Prompter {
    type Hint = String;
}

impl Validator for Prompter {}

#[cfg(test)]
#[path = "above_tests.rs"]
mod tests;
