//! Checks on the wire: requests, their responses, and the role that both sides settle by them.

use std::time::Instant;

use super::{
    super::{
        candidate::CandidateKind,
        datagram::Datagram,
        stun::{IceRole, Request, Response, Transaction, Unverified},
    },
    IceAgent, IceEvent, Path,
    pairs::{MAX_UNANSWERED, PairState},
};

/// Requests whose responses are known, the newest ones.
const MAX_TRANSACTIONS: usize = 64;

/// Messages that wait to be sent; more are made only while the socket takes nothing. In one turn a connection takes 32
/// datagrams, each of which has one answer.
const MAX_TRANSMITS: usize = 128;

/// A request whose response may come.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) transaction: Transaction,
    pub(super) pair: usize,
    /// The role it was made in.
    pub(super) role: IceRole,
    /// It was a nomination.
    pub(super) nominates: bool,
    pub(super) at: Instant,
}

impl IceAgent {
    pub(super) fn send_request(&mut self, now: Instant, pair: usize, nominate: bool) {
        let Some(remote) = &self.remote else { return };
        let mut transaction: Transaction = rand::random();
        transaction[..4].copy_from_slice(&self.key.to_be_bytes());
        // What the other side would learn of this path if it did not know it (RFC 8445 section 7.1.1).
        let rank = u16::MAX - (self.bases[self.pairs[pair].base].priority >> 8) as u16;
        let priority = CandidateKind::PeerReflexive.priority(rank);
        let data = self.writer.request(transaction, &self.local.ufrag, remote, (self.role, priority, nominate));
        if self.sent.len() == MAX_TRANSACTIONS {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { transaction, pair, role: self.role, nominates: nominate, at: now });
        let path = self.path(pair);
        tracing::trace!(connection = self.key, local = %path.local, remote = %path.remote, nominate, "check sent");
        self.transmit(path, data);
    }

    fn transmit(&mut self, path: Path, data: bytes::BytesMut) {
        if self.transmits.len() < MAX_TRANSMITS {
            self.transmits.push_back(Datagram { local: path.local, remote: path.remote, data });
        }
    }

    /// Takes a message that came along `path`. Whether it was authentic.
    pub(crate) fn handle_message(&mut self, now: Instant, path: Path, message: Unverified<'_>) -> bool {
        let Some(remote) = &self.remote else { return false };
        if let Some(request) = message.request(&self.local, &remote.ufrag, &*self.crypto) {
            self.handle_request(now, path, request);
            return true;
        }
        let Some(at) = self.sent.iter().position(|sent| sent.transaction == message.transaction()) else {
            return false;
        };
        let Some(response) = message.response(remote, &*self.crypto) else { return false };
        let Some(sent) = self.sent.remove(at) else { return false };
        // A response from elsewhere says that the path is no path (RFC 8445 section 7.2.5.2.1).
        if self.path(sent.pair) == path {
            self.handle_response(now, &sent, response);
        }
        true
    }

    fn handle_request(&mut self, now: Instant, path: Path, request: Request) {
        let (local, remote) = (path.local, path.remote);
        if !self.destinations.allow(remote) {
            tracing::trace!(connection = self.key, %local, %remote, "check refused: its source is no allowed destination");
            return;
        }
        tracing::trace!(connection = self.key, %local, %remote, nominates = request.use_candidate, "check received");
        if !self.settle_roles(path, &request) {
            return;
        }
        let response = self.writer.success(request.transaction, &self.local, path.remote);
        self.transmit(path, response);
        let Some(index) = self.pair_received_on(now, path, &request) else { return };
        let pair = &mut self.pairs[index];
        pair.last_received = Some(now);
        pair.nominated |= request.use_candidate;
        if pair.state == PairState::Valid {
            if request.use_candidate {
                self.follow(now, index);
            } else if self.selected_is_stale(now) {
                self.select(now, index);
            }
        } else if pair.unanswered < MAX_UNANSWERED {
            // The other side is there: a new series, whose first check is asked for and needs no permission.
            pair.sent = 0;
            self.send_check(now, index);
        }
    }

    /// Whether the request can be answered as its author's role demands; if not, an error response has been sent.
    fn settle_roles(&mut self, path: Path, request: &Request) -> bool {
        let (ours, theirs, conflict) = match (self.role, request.role) {
            (IceRole::Controlling(ours), Some(IceRole::Controlling(theirs))) => (ours, theirs, true),
            (IceRole::Controlled(ours), Some(IceRole::Controlled(theirs))) => (ours, theirs, true),
            _ => (0, 0, false),
        };
        if !conflict {
            return true;
        }
        let controls = matches!(self.role, IceRole::Controlling(_));
        if (ours >= theirs) == controls {
            let response = self.writer.role_conflict(request.transaction, &self.local);
            self.transmit(path, response);
            return false;
        }
        self.switch_role();
        true
    }

    pub(super) fn switch_role(&mut self) {
        self.role = match self.role {
            IceRole::Controlling(number) => IceRole::Controlled(number),
            IceRole::Controlled(number) => IceRole::Controlling(number),
        };
        self.nomination = None;
    }

    fn handle_response(&mut self, now: Instant, sent: &Sent, response: Response) {
        match response {
            Response::Success => {}
            Response::RoleConflict => {
                // Several checks may meet the same conflict, which is settled once (RFC 8445 section 7.2.5.1).
                if self.role == sent.role {
                    self.switch_role();
                }
                self.send_request(now, sent.pair, false);
                return;
            }
            Response::Error => return,
        }
        let (round_trip, path) = (now.saturating_duration_since(sent.at), self.path(sent.pair));
        tracing::trace!(connection = self.key, local = %path.local, remote = %path.remote, ?round_trip, "check answered");
        self.round_trip = Some(round_trip);
        let pair = &mut self.pairs[sent.pair];
        pair.last_received = Some(now);
        pair.unanswered = 0;
        if pair.state != PairState::Valid {
            pair.state = PairState::Valid;
            let nominated = pair.nominated;
            self.events.push_back(IceEvent::Validated(path));
            if nominated {
                self.follow(now, sent.pair);
            }
        }
        // The answer to an earlier check of that pair does not say that the nomination has arrived.
        if sent.nominates && self.nomination.as_ref().is_some_and(|nomination| nomination.pair == sent.pair) {
            self.nomination = None;
            self.select(now, sent.pair);
        } else if self.selected_is_stale(now) {
            self.select(now, sent.pair);
        }
        self.consider_nomination(now);
    }
}
