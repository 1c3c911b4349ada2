//! How often each kind of warning is reported.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use web_time::Instant;

use crate::TrackerWarning;

/// The shortest time between two reported warnings of a kind.
const SPACING: Duration = Duration::from_secs(60);

/// Reports the first warning of each kind at once, and then one a minute, which counts those left out in between: what a
/// tracker sends decides how often a session warns, and must not decide how much its user has to read.
#[derive(Debug, Default)]
pub(super) struct Warnings(HashMap<Discriminant<TrackerWarning>, Kind>);

#[derive(Debug, Default)]
struct Kind {
    reported: Option<Instant>,
    missed: u64,
}

impl Warnings {
    /// Whether the warning is to be reported now, and if so, how many of its kind were left out before it.
    pub(super) fn admit(&mut self, now: Instant, warning: &TrackerWarning) -> Option<u64> {
        let kind = self.0.entry(discriminant(warning)).or_default();
        if kind.reported.is_some_and(|at| now.saturating_duration_since(at) < SPACING) {
            kind.missed += 1;
            return None;
        }
        kind.reported = Some(now);
        Some(std::mem::take(&mut kind.missed))
    }

    /// Counts a warning that cannot be reported for another reason.
    pub(super) fn leave_out(&mut self, warning: &TrackerWarning) {
        self.0.entry(discriminant(warning)).or_default().missed += 1;
    }
}
