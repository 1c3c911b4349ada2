//! What became of datagrams.

/// Why a datagram did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DropReason {
    Lost,
    QueueFull,
    TooLarge,
    Nat,
    NoHost,
    NoSocket,
    Disconnected,
    BufferFull,
}

/// What became of the datagrams that a host has sent, and how many it has received.
///
/// Each datagram sent is counted once more when it is delivered or dropped, by the reason of the drop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Datagrams that this host has sent.
    pub sent: u64,
    /// Sent ones that came into the receive buffer of a socket, or to a STUN server.
    pub delivered: u64,
    /// Sent ones that were lost on a line, by [`Path::loss`](super::Path::loss).
    pub lost: u64,
    /// Sent ones that would have waited too long for the datagrams before them.
    pub queue_full: u64,
    /// Sent ones that were larger than a line's largest packet.
    pub too_large: u64,
    /// Sent ones that a NAT did not let through.
    pub refused_by_nat: u64,
    /// Sent ones to addresses that no host has.
    pub no_host: u64,
    /// Sent ones to ports of hosts where no socket is bound.
    pub no_socket: u64,
    /// Sent ones that a pulled cable or a partition kept back.
    pub disconnected: u64,
    /// Sent ones that did not fit into the receive buffer of the socket.
    pub buffer_full: u64,
    /// Datagrams of others that came into the receive buffer of a socket of this host.
    pub received: u64,
}

impl Counters {
    /// Sent datagrams that were dropped.
    pub fn dropped(&self) -> u64 {
        self.lost
            + self.queue_full
            + self.too_large
            + self.refused_by_nat
            + self.no_host
            + self.no_socket
            + self.disconnected
            + self.buffer_full
    }

    /// Sent ones that are still on their way.
    pub fn in_flight(&self) -> u64 {
        self.sent - self.delivered - self.dropped()
    }

    pub(super) fn count(&mut self, reason: DropReason) {
        let counter = match reason {
            DropReason::Lost => &mut self.lost,
            DropReason::QueueFull => &mut self.queue_full,
            DropReason::TooLarge => &mut self.too_large,
            DropReason::Nat => &mut self.refused_by_nat,
            DropReason::NoHost => &mut self.no_host,
            DropReason::NoSocket => &mut self.no_socket,
            DropReason::Disconnected => &mut self.disconnected,
            DropReason::BufferFull => &mut self.buffer_full,
        };
        *counter += 1;
    }
}
