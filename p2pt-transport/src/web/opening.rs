//! How far an opening has come, and what it has failed of.

use std::time::Duration;

use p2pt_rt::Instant;

/// What the browser says of a connection that opens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// There is a path that works.
    pub(super) has_path: bool,
    /// No path works, and none will.
    pub(super) no_path: bool,
    /// The encrypted session stands.
    pub(super) has_session: bool,
    /// The connection as a whole has failed or is closed.
    pub(super) is_over: bool,
    /// The channel is open.
    pub(super) is_open: bool,
    /// The channel has been closed.
    pub(super) is_closed: bool,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on; at the latest then it is looked at again.
    Pending(Instant),
    /// The channel is open.
    Open,
    /// No candidate pair worked.
    NoPath,
    /// The encrypted session could not be set up.
    NoSession,
    /// It was closed before the channel was open.
    ClosedEarly,
    /// All of it took too long.
    TimedOut,
}

/// The deadlines of an opening: half of the time is for finding a path, a third for the encrypted session on it, as in
/// the native backend.
#[derive(Debug)]
pub(super) struct Opening {
    path: Instant,
    session: Duration,
    all: Instant,
    session_by: Option<Instant>,
}

impl Opening {
    pub(super) fn new(now: Instant, timeout: Duration) -> Self {
        Self { path: now + timeout / 2, session: timeout / 3, all: now + timeout, session_by: None }
    }

    /// Judges what the browser says now.
    pub(super) fn judge(&mut self, now: Instant, seen: Seen) -> Outcome {
        if seen.is_open {
            return Outcome::Open;
        }
        let has_path = seen.has_path || seen.has_session || self.session_by.is_some();
        if !has_path {
            return match () {
                () if seen.no_path => Outcome::NoPath,
                () if seen.is_over || seen.is_closed => Outcome::ClosedEarly,
                () if now >= self.path => Outcome::NoPath,
                () => Outcome::Pending(self.path),
            };
        }
        let session_by = *self.session_by.get_or_insert(now + self.session);
        if !seen.has_session {
            return match () {
                // The path was lost again before anything came of it.
                () if seen.no_path => Outcome::NoPath,
                () if seen.is_over || seen.is_closed => Outcome::NoSession,
                () if now >= session_by => Outcome::NoSession,
                () => Outcome::Pending(session_by.min(self.all)),
            };
        }
        match () {
            () if seen.is_over || seen.is_closed => Outcome::ClosedEarly,
            () if now >= self.all => Outcome::TimedOut,
            () => Outcome::Pending(self.all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn begun() -> (Instant, Opening) {
        let now = p2pt_rt::now();
        (now, Opening::new(now, TIMEOUT))
    }

    const PATH: Seen =
        Seen { has_path: true, no_path: false, has_session: false, is_over: false, is_open: false, is_closed: false };
    const SESSION: Seen = Seen { has_session: true, ..PATH };

    #[test]
    fn each_stage_has_its_time() {
        let (now, mut opening) = begun();
        assert_eq!(opening.judge(now, Seen::default()), Outcome::Pending(now + TIMEOUT / 2));
        let later = now + Duration::from_secs(14);
        assert_eq!(opening.judge(later, PATH), Outcome::Pending(later + TIMEOUT / 3));
        let last = later + Duration::from_secs(9);
        assert_eq!(opening.judge(last, SESSION), Outcome::Pending(now + TIMEOUT));
        assert_eq!(opening.judge(last, Seen { is_open: true, ..SESSION }), Outcome::Open);
    }

    #[test]
    fn the_stage_that_takes_too_long_is_the_one_that_is_named() {
        let (now, mut opening) = begun();
        assert_eq!(opening.judge(now + TIMEOUT / 2, Seen::default()), Outcome::NoPath);
        let (now, mut opening) = begun();
        opening.judge(now, PATH);
        assert_eq!(opening.judge(now + TIMEOUT / 3, PATH), Outcome::NoSession);
        let (now, mut opening) = begun();
        opening.judge(now, SESSION);
        assert_eq!(opening.judge(now + TIMEOUT, SESSION), Outcome::TimedOut);
    }

    #[test]
    fn what_the_browser_gives_up_is_given_up_at_once() {
        let failed = |seen: Seen| {
            let (now, mut opening) = begun();
            opening.judge(now, seen)
        };
        assert_eq!(failed(Seen { no_path: true, is_over: true, ..Seen::default() }), Outcome::NoPath);
        assert_eq!(failed(Seen { is_over: true, ..PATH }), Outcome::NoSession);
        assert_eq!(failed(Seen { no_path: true, is_over: true, ..PATH }), Outcome::NoPath);
        assert_eq!(failed(Seen { is_over: true, ..SESSION }), Outcome::ClosedEarly);
        assert_eq!(failed(Seen { is_closed: true, ..SESSION }), Outcome::ClosedEarly);
        assert_eq!(failed(Seen { is_closed: true, ..Seen::default() }), Outcome::ClosedEarly);
    }
}
