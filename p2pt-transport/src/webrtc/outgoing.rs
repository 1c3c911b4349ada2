//! Datagrams on their way to the sockets they leave from: a queue for each, so that a full send buffer, as that of a slow
//! uplink, keeps nothing waiting that leaves from another socket. Sans-I/O.

use std::{collections::VecDeque, net::SocketAddr};

use super::datagram::Datagram;

/// Datagrams that wait for one socket, beyond which the connections that send from it wait too: four windows.
pub(super) const MAX_WAITING: usize = 4096;

/// What is more than this waits for no socket and is lost, as in a full send buffer. Connections that wait send nothing;
/// beyond the limit of those come what they have sent last, and checks that try a socket beside the one that is sent from.
const MAX_HELD: usize = 2 * MAX_WAITING;

/// All that is to be sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queues: Vec<(SocketAddr, VecDeque<Datagram>)>,
}

impl Outgoing {
    pub(super) fn push(&mut self, datagram: Datagram) {
        match self.queues.iter_mut().find(|(local, _)| *local == datagram.local) {
            Some((_, queue)) if queue.len() < MAX_HELD => queue.push_back(datagram),
            Some(_) => {}
            None => self.queues.push((datagram.local, VecDeque::from([datagram]))),
        }
    }

    /// Whether connections that send from `local` shall wait.
    pub(super) fn is_full(&self, local: SocketAddr) -> bool {
        self.queues.iter().any(|(of, queue)| *of == local && queue.len() >= MAX_WAITING)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(|(_, queue)| queue.is_empty())
    }

    pub(super) fn clear(&mut self) {
        self.queues.clear();
    }

    /// Has `send` take from each queue what its socket takes. A queue of which it says `false` is of no socket, and is
    /// forgotten.
    pub(super) fn drain(&mut self, mut send: impl FnMut(SocketAddr, &mut VecDeque<Datagram>) -> bool) {
        self.queues.retain_mut(|(local, queue)| queue.is_empty() || send(*local, queue));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> Datagram {
        Datagram { local: at(port), remote: at(9), data: [0; 8][..].into() }
    }

    fn at(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    #[test]
    fn what_waits_for_one_socket_keeps_no_other_waiting_and_is_bounded() {
        let mut outgoing = Outgoing::default();
        for count in 0..2 * MAX_HELD {
            assert_eq!(outgoing.is_full(at(1)), count >= MAX_WAITING);
            outgoing.push(from(1));
        }
        outgoing.push(from(2));
        assert!(!outgoing.is_full(at(2)) && !outgoing.is_empty());
        let mut held = Vec::new();
        outgoing.drain(|local, queue| {
            held.push((local, queue.len()));
            queue.clear();
            local == at(1)
        });
        assert_eq!(held, [(at(1), MAX_HELD), (at(2), 1)]);
        assert!(outgoing.is_empty() && !outgoing.is_full(at(1)));
        assert_eq!(outgoing.queues.len(), 1, "the queue of a socket that is gone goes with it");
    }
}
