//! What the retransmission of handshake flights needs beside the stack.
//!
//! In `rtc-dtls` 0.21.1 any handshake message that does not complete a flight stops the timer that would send one's own
//! flight again, and a repeated message is such a one: when a flight is lost, the other side repeats its own, and both wait
//! for ever. So datagrams with nothing but messages that have come before do not reach the stack, which keeps its timer.
//! Upstream would have to arm the timer again in `DTLSConn::wait`.
//!
//! The stack repeats a flight seven times at equal intervals, and then fails for good: two blocked seconds would end a
//! handshake. Here each interval is twice as long as the one before.
//!
//! The first flight of a client is sent again sooner. The client begins as soon as a check has been answered, and libdatachannel
//! answers checks before it has read the description that says who the client is: the flight is lost, and is due again when the
//! other side shows by a check of its own that it knows the client. What is sent again is a copy, as the network could make one,
//! so a server that has the first passes over it as a replay (RFC 6347 section 4.1.2.6), and the stack counts nothing.

use std::time::{Duration, Instant};

use bytes::BytesMut;

/// The header of a record, and that of a handshake message in it, in bytes (RFC 6347 sections 4.1 and 4.2.2).
const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// A handshake has some ten messages. Fragments beyond are not remembered.
const MAX_FRAGMENTS: usize = 64;

/// No interval is longer: with those before, seven of them last 9.75 s.
const LONGEST: Duration = Duration::from_secs(2);

/// No copy of the first flight follows sooner, however near the other side: a server needs some milliseconds for its answer.
const SHORTEST_GAP: Duration = Duration::from_millis(10);

/// The most copies of the first flight, whatever the other side does. Each has some 200 bytes.
const MAX_COPIES: u8 = 12;

/// A piece of a handshake message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fragment {
    kind: u8,
    message: u16,
    offset: u32,
}

/// The handshake of one session, as its datagrams show it.
#[derive(Debug)]
pub(crate) struct Flights {
    seen: Vec<Fragment>,
    first: Duration,
    interval: Duration,
    /// A client's, until it is answered.
    unanswered: Option<Unanswered>,
}

/// The first flight of a client, and when copies of it are sent.
#[derive(Debug)]
struct Unanswered {
    datagrams: Vec<BytesMut>,
    sent_at: Instant,
    copies: u8,
    /// In which an answer should have come.
    first_gap: Duration,
    /// Doubled with each copy. One as long as the stack's interval is left to the stack.
    gap: Duration,
}

impl Unanswered {
    fn copy(&mut self, now: Instant) -> Vec<BytesMut> {
        if self.copies == MAX_COPIES {
            return Vec::new();
        }
        self.copies += 1;
        self.sent_at = now;
        self.gap *= 2;
        self.datagrams.clone()
    }
}

impl Flights {
    /// A handshake whose flights are first repeated after `first`, as the stack is configured.
    pub(crate) fn new(first: Duration) -> Self {
        Self { seen: Vec::new(), first, interval: first, unanswered: None }
    }

    /// The first flight of a client is sent, over a path with this round trip.
    pub(crate) fn began(&mut self, now: Instant, datagrams: Vec<BytesMut>, round_trip: Duration) {
        let gap = (round_trip * 2).clamp(SHORTEST_GAP, self.first.max(SHORTEST_GAP));
        self.unanswered = Some(Unanswered { datagrams, sent_at: now, copies: 0, first_gap: gap, gap });
    }

    /// The other side knows this one's description: from now on it can read the first flight, which is sent once more if its
    /// answer should be here.
    pub(crate) fn is_known(&mut self, now: Instant) -> Vec<BytesMut> {
        let Some(unanswered) = &mut self.unanswered else { return Vec::new() };
        unanswered.gap = unanswered.first_gap;
        if now < unanswered.sent_at + unanswered.gap { Vec::new() } else { unanswered.copy(now) }
    }

    /// When the first flight is sent once more, unless the stack does that as soon.
    pub(crate) fn copy_due(&self) -> Option<Instant> {
        let unanswered = self.unanswered.as_ref()?;
        (unanswered.copies < MAX_COPIES && unanswered.gap < self.first).then(|| unanswered.sent_at + unanswered.gap)
    }

    /// The first flight once more, if that is due.
    pub(crate) fn copies(&mut self, now: Instant) -> Vec<BytesMut> {
        let is_due = self.copy_due().is_some_and(|at| at <= now);
        self.unanswered.as_mut().filter(|_| is_due).map_or_else(Vec::new, |unanswered| unanswered.copy(now))
    }

    /// Takes note of a received datagram. Whether it has something new.
    pub(crate) fn is_new(&mut self, datagram: &[u8]) -> bool {
        let Some(fragments) = fragments(datagram) else { return true };
        self.unanswered = None;
        let mut is_new = fragments.is_empty();
        for fragment in fragments {
            if !self.seen.contains(&fragment) {
                is_new = true;
                self.interval = self.first;
                if self.seen.len() < MAX_FRAGMENTS {
                    self.seen.push(fragment);
                }
            } else if fragment.kind == CLIENT_HELLO && self.seen.iter().all(|seen| seen.message == fragment.message) {
                // The answer to a first hello is not repeated by a timer, but by the next hello.
                is_new = true;
            }
        }
        is_new
    }

    /// How much later than the stack says a flight is repeated.
    pub(crate) fn patience(&self) -> Duration {
        self.interval - self.first
    }

    /// A flight is repeated.
    pub(crate) fn repeated(&mut self) {
        self.interval = (self.interval * 2).min(LONGEST).max(self.first);
    }
}

/// The pieces of messages in a datagram, if it consists of nothing else, and all of it is in the clear.
fn fragments(mut datagram: &[u8]) -> Option<Vec<Fragment>> {
    let mut fragments = Vec::new();
    while !datagram.is_empty() {
        let (header, rest) = datagram.split_at_checked(RECORD_HEADER)?;
        if header[0] != HANDSHAKE || header[3..5] != [0, 0] {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (mut record, rest) = rest.split_at_checked(length)?;
        datagram = rest;
        while !record.is_empty() {
            let (header, rest) = record.split_at_checked(MESSAGE_HEADER)?;
            let number = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]);
            fragments.push(Fragment {
                kind: header[0],
                message: u16::from_be_bytes([header[4], header[5]]),
                offset: number(6),
            });
            record = rest.get(number(9) as usize..)?;
        }
    }
    Some(fragments)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(250);

    fn message(kind: u8, message: u8, offset: u8) -> Vec<u8> {
        let mut record = vec![HANDSHAKE, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 12 + 5];
        record.extend([kind, 0, 0, 10, 0, message, 0, 0, offset, 0, 0, 5]);
        record.extend([7; 5]);
        record
    }

    #[test]
    fn repeated_messages_are_nothing_new() {
        let mut flights = Flights::new(FIRST);
        let flight = [message(2, 1, 0), message(11, 2, 0), message(11, 2, 5)].concat();
        assert!(flights.is_new(&flight));
        assert!(!flights.is_new(&flight) && !flights.is_new(&message(11, 2, 5)));
        assert!(flights.is_new(&message(12, 3, 0)));
        let mixed = [message(11, 2, 0), message(14, 5, 0)].concat();
        assert!(flights.is_new(&mixed) && !flights.is_new(&mixed));
    }

    #[test]
    fn the_first_hello_is_new_until_a_second_message_comes() {
        let mut flights = Flights::new(FIRST);
        assert!(flights.is_new(&message(CLIENT_HELLO, 0, 0)) && flights.is_new(&message(CLIENT_HELLO, 0, 0)));
        assert!(flights.is_new(&message(CLIENT_HELLO, 1, 0)));
        assert!(!flights.is_new(&message(CLIENT_HELLO, 0, 0)) && !flights.is_new(&message(CLIENT_HELLO, 1, 0)));
    }

    #[test]
    fn what_is_no_plain_handshake_is_for_the_stack_to_judge() {
        let mut flights = Flights::new(FIRST);
        let plain = message(11, 2, 0);
        let mut encrypted = plain.clone();
        encrypted[4] = 1;
        let mut alert = plain.clone();
        alert[0] = 21;
        for other in [encrypted, alert, plain[..20].to_vec(), [plain.clone(), vec![20; 14]].concat(), Vec::new()] {
            assert!(flights.is_new(&other) && flights.is_new(&other));
        }
    }

    /// When copies of a first flight are sent, in milliseconds after it, over a path of this round trip, if the other side makes
    /// itself known then.
    fn copied(round_trip: u64, known: impl Fn(u64) -> bool) -> Vec<u64> {
        let begin = crate::webrtc::sim::epoch();
        let mut flights = Flights::new(FIRST);
        flights.began(begin, vec![BytesMut::from(&message(CLIENT_HELLO, 0, 0)[..])], Duration::from_millis(round_trip));
        let is_copied = |at: &u64| {
            let now = begin + Duration::from_millis(*at);
            let mut copies = flights.copies(now);
            if known(*at) {
                copies.extend(flights.is_known(now));
            }
            assert!(copies.iter().all(|copy| **copy == message(CLIENT_HELLO, 0, 0)));
            !copies.is_empty()
        };
        (0..5000).filter(is_copied).collect()
    }

    #[test]
    fn the_first_flight_is_copied_at_growing_gaps_until_the_stack_repeats_it() {
        assert_eq!(copied(0, |_| false), [10, 30, 70, 150, 310]);
        assert_eq!(copied(20, |_| false), [40, 120, 280]);
        assert_eq!(copied(100, |_| false), [200]);
        assert!(copied(125, |_| false).is_empty());
    }

    #[test]
    fn a_side_that_makes_itself_known_is_sent_a_copy_at_once() {
        assert_eq!(copied(1, |at| at == 700), [10, 30, 70, 150, 310, 700, 720, 760, 840, 1000]);
        assert_eq!(copied(20, |at| at == 35), [40, 120, 280], "an answer may still be on its way");
        assert_eq!(copied(600, |at| at == 900), [900]);
    }

    #[test]
    fn copies_are_bounded() {
        assert_eq!(copied(1, |_| true).len(), usize::from(MAX_COPIES));
    }

    #[test]
    fn an_answered_flight_is_not_copied() {
        let begin = crate::webrtc::sim::epoch();
        let mut flights = Flights::new(FIRST);
        flights.began(begin, vec![BytesMut::new()], Duration::ZERO);
        assert!(flights.is_new(&[22]) && flights.copy_due().is_some(), "that was no answer");
        assert!(flights.is_new(&message(3, 0, 0)));
        assert_eq!(flights.copy_due(), None);
        assert!(flights.is_known(begin + FIRST).is_empty());
    }

    #[test]
    fn intervals_double_until_something_new_comes() {
        let mut flights = Flights::new(FIRST);
        let mut gaps = Vec::new();
        for _ in 0..7 {
            gaps.push((FIRST + flights.patience()).as_millis());
            flights.repeated();
        }
        assert_eq!(gaps, [250, 500, 1000, 2000, 2000, 2000, 2000]);
        assert!(flights.is_new(&message(11, 2, 0)));
        assert_eq!(flights.patience(), Duration::ZERO);
    }
}
