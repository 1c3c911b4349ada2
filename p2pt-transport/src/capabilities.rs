//! What not every backend can promise.

/// What a backend promises of that which not every one can. By default, everything.
///
/// What is missing here is missing in a way that is promised too, and that the `conformance` suite checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// A reader that stalls makes the other side's senders wait.
    ///
    /// Without it, as in a browser, everything that arrives is taken until the backend holds as much as it is configured to;
    /// then the channel ends with [`ChannelClosed::Overflow`](crate::ChannelClosed::Overflow), what is held can still be read, and
    /// the other side sees it closed.
    pub back_pressure: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { back_pressure: true }
    }
}
