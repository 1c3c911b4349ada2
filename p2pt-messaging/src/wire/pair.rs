//! Two sessions and the channels between them, for tests.

use bytes::Bytes;

use super::{
    Frame, FrameKind, Frames, LinkId, MAX_PACKET, MessageKind, OutMessage, Session, SessionConfig, SessionError,
    SessionEvent, Urgency,
};
use crate::Instant;

pub(super) const LINK: LinkId = LinkId(1);
pub(super) const OTHER: LinkId = LinkId(2);

/// Two sessions with a channel between them, on which packets go when they are told to.
pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) a: Session,
    pub(super) b: Session,
}

impl Pair {
    pub(super) fn new(a: SessionConfig, b: SessionConfig) -> Self {
        let (to_b, to_a) = (a.hello([1; 16], ""), b.hello([2; 16], ""));
        let mut pair = Self { now: start(), a: Session::new(a, &to_a), b: Session::new(b, &to_b) };
        pair.open(LINK);
        pair
    }

    pub(super) fn usual() -> Self {
        Self::new(SessionConfig::default(), SessionConfig::default())
    }

    /// `b` takes what this configuration says.
    pub(super) fn taking(b: SessionConfig) -> Self {
        Self::new(SessionConfig::default(), b)
    }

    pub(super) fn open(&mut self, link: LinkId) {
        self.a.link_opened(self.now, link);
        self.b.link_opened(self.now, link);
    }

    /// A packet of `a`'s on the first channel.
    pub(super) fn transmit_a(&mut self) -> Option<Bytes> {
        self.a.poll_transmit(self.now, LINK, MAX_PACKET)
    }

    /// One packet from `a` to `b`; whether there was one.
    pub(super) fn a_to_b(&mut self) -> bool {
        let packet = self.transmit_a();
        packet.inspect(|packet| self.b.receive(self.now, LINK, packet).unwrap()).is_some()
    }

    /// One packet from `b` to `a`; whether there was one.
    pub(super) fn b_to_a(&mut self) -> bool {
        let packet = self.b.poll_transmit(self.now, LINK, MAX_PACKET);
        packet.inspect(|packet| self.a.receive(self.now, LINK, packet).unwrap()).is_some()
    }

    /// Until there is nothing to say.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.a_to_b() & !self.b_to_a() {
                return;
            }
        }
        panic!("two sessions talk without end");
    }

    /// `a` gets a packet of these frames.
    pub(super) fn feed_a(&mut self, frames: &[(FrameKind, &[u8])]) -> Result<(), SessionError> {
        let packet = packet(frames);
        self.a.receive(self.now, LINK, &packet)
    }
}

pub(super) fn start() -> Instant {
    // The clock is read once, to have any instant at all.
    #[allow(clippy::disallowed_methods)]
    Instant::now()
}

pub(super) fn packet(frames: &[(FrameKind, &[u8])]) -> Bytes {
    let mut out = Vec::new();
    frames.iter().for_each(|(kind, body)| Frame { kind: *kind, body }.encode(&mut out).unwrap());
    out.into()
}

/// The kinds of a packet's frames.
pub(super) fn kinds(packet: &[u8]) -> Vec<FrameKind> {
    Frames::new(packet).map(|frame| frame.unwrap().kind).collect()
}

pub(super) fn message(id: u64, urgency: Urgency, bytes: impl Into<Bytes>) -> OutMessage {
    OutMessage { id, response: false, kind: MessageKind::Bytes, urgency, bytes: bytes.into() }
}

pub(super) fn events(session: &mut Session) -> Vec<SessionEvent> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// The numbers of the messages that have come, in the order in which they are taken.
pub(super) fn messages(session: &mut Session) -> Vec<u64> {
    std::iter::from_fn(|| session.receive_message()).map(|message| message.id).collect()
}
