//! What a panic ends, and what it does not.
//!
//! One task serves all connections of a transport, over stacks that others wrote and that what strangers send goes through.
//! A panic there is a defect, and must not end what it has nothing to do with: in the turn of one connection it ends this
//! connection, in what all share the driver begins anew. Both are said by the ends of the connections, and in the log.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the ends of connections say that are lost so.
pub(super) const DEFECT: &str = "a defect in this node's transport, which its log tells of";

/// Does something that may panic; `None` where it has.
///
/// What has panicked may have left half-changed what it worked on, so callers use nothing of that any more: they take the
/// connection out, or begin anew with everything.
pub(super) fn contained<R>(turn: impl FnOnce() -> R) -> Option<R> {
    // Unwind-safe by what is asked of callers above.
    catch_unwind(AssertUnwindSafe(turn)).ok()
}
