//! What a panic ends, and what it does not.
//!
//! One task serves all connections of a transport, over third-party stacks that handle packets of unauthenticated
//! senders. A panic there is a defect, and must not end what it has nothing to do with: in the turn of one connection it ends
//! this connection; in what all connections share, the driver begins anew. The connections that end give it as their reason,
//! and the log has an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The reason that connections give which are lost by a panic.
pub(super) const DEFECT: &str = "a defect in this node's transport; see its log";

/// Takes a turn that may panic; `None` if it has.
///
/// What has panicked may have left half-changed what it worked on, so callers use nothing of that any more: they take the
/// connection out, or begin anew with everything.
pub(super) fn contained<R>(turn: impl FnOnce() -> R) -> Option<R> {
    // Unwind-safe by what is asked of callers above.
    catch_unwind(AssertUnwindSafe(turn)).ok()
}
