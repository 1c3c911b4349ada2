//! What is being waited for, on a terminal: one line on standard error that is written again and again, and gone before
//! anything else is printed.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

/// What takes no longer than this is not worth a line.
const PATIENCE: Duration = Duration::from_millis(700);

/// How often the seconds in the line are written anew.
const STEP: Duration = Duration::from_secs(1);

/// Longer lines are cut, so that none is wrapped by a terminal of 80 columns: only one line can be written again.
pub(crate) const MAX_CHARS: usize = 78;

/// Whether people look at a terminal, so that a line may come and go: both at standard output and standard error, so that
/// nothing of it is seen beside a pipe.
pub(crate) fn is_watched() -> bool {
    can_rewrite() && io::stdout().is_terminal()
}

/// Whether a line of standard error can be written over.
pub(crate) fn can_rewrite() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Writes over the line.
pub(crate) fn rewrite(text: &str) {
    let cut: String = text.chars().take(MAX_CHARS).collect();
    let mark = if cut.len() < text.len() { "…" } else { "" };
    say(&format!("\r\x1b[K{cut}{mark}"));
}

/// Takes the line away, so that what is printed next begins on a clean one.
pub(crate) fn erase() {
    say("\r\x1b[K");
}

/// A reader of progress that is gone is no reason to stop.
pub(crate) fn say(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What is being waited for.
#[derive(Debug)]
pub(crate) struct Waiting {
    began: Instant,
    is_watched: bool,
    is_shown: bool,
}

impl Waiting {
    /// Nothing is shown where there is no terminal, or if it is to be quiet.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { began: Instant::now(), is_watched: !quiet && is_watched(), is_shown: false }
    }

    /// Whether people look at a terminal.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Waits for something, and says what it is as soon as it takes long. What is said may change meanwhile.
    pub(crate) async fn until<T>(&mut self, what: impl fmt::Display, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if !self.is_watched {
            return work.await;
        }
        let first = if self.is_shown { Instant::now() } else { self.began + PATIENCE };
        let mut steps = interval_at(first, STEP);
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    self.clear();
                    return done;
                }
                _ = steps.tick() => {
                    self.is_shown = true;
                    rewrite(&line(&what, self.began.elapsed()));
                }
            }
        }
    }

    /// Takes the line away, if there is one.
    pub(crate) fn clear(&mut self) {
        if self.is_shown {
            erase();
        }
    }
}

/// However the waiting ends.
impl Drop for Waiting {
    fn drop(&mut self) {
        self.clear();
    }
}

fn line(what: &impl fmt::Display, elapsed: Duration) -> String {
    format!("waiting {} s for {what}", elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_waited_for_and_how_long() {
        assert_eq!(line(&"wss://a.example", Duration::from_millis(2900)), "waiting 2 s for wss://a.example");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_watched_is_waited_for_all_the_same() {
        let mut waiting = Waiting { began: Instant::now(), is_watched: false, is_shown: false };
        assert_eq!(waiting.until("?", async { 7 }).await, 7);
        assert!(!waiting.is_shown);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_appears_only_when_it_takes_long() {
        for (time, shown) in [(Duration::from_millis(600), false), (Duration::from_millis(800), true)] {
            let mut waiting = Waiting { began: Instant::now(), is_watched: true, is_shown: false };
            waiting.until("?", tokio::time::sleep(time)).await;
            assert_eq!(waiting.is_shown, shown, "{time:?}");
        }
    }
}
