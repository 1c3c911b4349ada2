//! Which test runs and how far it is, on standard error, so that standard output holds nothing but the figures.

use crate::progress::{can_rewrite, erase, rewrite, say};

/// How often a test that runs to its end is shown at most.
const STEPS: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Silent,
    /// One line for each test.
    Lines,
    /// One line, written again and again.
    Rewritten,
}

/// Shows how far a test is.
#[derive(Debug)]
pub(super) struct Progress {
    style: Style,
    test: &'static str,
    total: u64,
    /// It is shown again from here on.
    next: u64,
}

impl Progress {
    /// For people it is a line that is rewritten, on a terminal; elsewhere a line for each test, or nothing if `quiet`.
    pub(super) fn new(quiet: bool) -> Self {
        let style = match can_rewrite() {
            true => Style::Rewritten,
            false if quiet => Style::Silent,
            false => Style::Lines,
        };
        Self { style, test: "", total: 0, next: 0 }
    }

    /// A test begins, of so many steps.
    pub(super) fn begin(&mut self, test: &'static str, total: u64) {
        (self.test, self.total, self.next) = (test, total, 0);
        match self.style {
            Style::Silent => {}
            Style::Lines => say(&format!("{}\n", line(test, None))),
            Style::Rewritten => self.step(0),
        }
    }

    /// Before the first step there is something to wait for.
    pub(super) fn wait(&self, what: &str) {
        match self.style {
            Style::Silent => {}
            Style::Lines => say(&format!("waiting for {what}\n")),
            Style::Rewritten => rewrite(&format!("waiting for {what}")),
        }
    }

    /// The test that runs.
    pub(super) fn test(&self) -> &'static str {
        self.test
    }

    /// So many steps are done. Cheap, unless it is time to show it.
    pub(super) fn step(&mut self, done: u64) {
        if done < self.next || self.style != Style::Rewritten {
            return;
        }
        self.next = done + (self.total / STEPS).max(1);
        rewrite(&line(self.test, Some((done, self.total))));
    }
}

/// What is printed next begins on a clean line, however the tests have ended.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.style == Style::Rewritten {
            erase();
        }
    }
}

fn line(test: &str, progress: Option<(u64, u64)>) -> String {
    match progress {
        Some((done, total)) if total > 1 => format!("measuring: {test}, {done} of {total}"),
        _ => format!("measuring: {test}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_a_test_is() {
        assert_eq!(line("connect", Some((3, 15))), "measuring: connect, 3 of 15");
        assert_eq!(line("memory", Some((0, 1))), "measuring: memory");
        assert_eq!(line("raw frames", None), "measuring: raw frames");
        assert!(
            line("small messages from the partner", Some((100_000_000, 100_000_000))).len()
                <= crate::progress::MAX_CHARS
        );
    }

    #[test]
    fn steps_are_shown_now_and_then() {
        let mut progress = Progress { style: Style::Rewritten, test: "test", total: 1_000, next: 0 };
        let mut shown = 0;
        for done in 0..=1_000 {
            let before = progress.next;
            progress.step(done);
            shown += u32::from(progress.next != before);
        }
        assert!((90..=101).contains(&shown), "{shown}");
    }
}
