//! What the tests of this crate share.

use std::time::Duration;

use web_time::Instant;

use p2pt_proto::{
    Announce, AnnounceReply, ClientMessage, ForwardedAnswer, ForwardedOffer, InfoHash, Offer, OfferId, PeerId,
    TrackerMessage,
};

use super::{Frame, Input, Output, Session, SocketId};
use crate::{AnnounceUrl, ClientConfig, ConnectError, Family, Route, SocketEnd, TrackerEvent};

/// Some instant to count from.
#[allow(clippy::disallowed_methods, reason = "cores only add to it; which one it is does not matter")]
pub(crate) fn base() -> Instant {
    Instant::now()
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn offer_id(n: u32) -> OfferId {
    let mut id = [0; 20];
    id[..4].copy_from_slice(&n.to_be_bytes());
    OfferId::from(id)
}

pub(crate) fn offer(n: u32) -> Offer {
    Offer::new(offer_id(n), format!("offer {n}"))
}

pub(crate) fn offers(numbers: impl IntoIterator<Item = u32>) -> Vec<Offer> {
    numbers.into_iter().map(offer).collect()
}

pub(crate) fn url() -> AnnounceUrl {
    AnnounceUrl::parse("ws://tracker.test/").unwrap()
}

/// The swarm most tests are about.
pub(crate) const SWARM: fn() -> InfoHash = || InfoHash::of("swarm");
pub(crate) const OTHER_SWARM: fn() -> InfoHash = || InfoHash::of("other swarm");
pub(crate) const ME: fn() -> PeerId = || PeerId::from([1; 20]);
pub(crate) const PEER: fn() -> PeerId = || PeerId::from([2; 20]);

pub(crate) fn reply(info_hash: InfoHash, interval: u64, members: u32) -> TrackerMessage {
    let mut reply = AnnounceReply::new(info_hash);
    reply.interval = Some(secs(interval));
    reply.complete = Some(0);
    reply.incomplete = Some(members);
    TrackerMessage::Announced(reply)
}

pub(crate) fn forwarded_offer(info_hash: InfoHash, peer_id: PeerId, n: u32) -> TrackerMessage {
    TrackerMessage::Offer(ForwardedOffer::new(info_hash, peer_id, offer_id(n), "their offer"))
}

pub(crate) fn forwarded_answer(info_hash: InfoHash, peer_id: PeerId, n: u32) -> TrackerMessage {
    TrackerMessage::Answer(ForwardedAnswer::new(info_hash, peer_id, offer_id(n), "their answer"))
}

pub(crate) fn refusal() -> ConnectError {
    ConnectError::Io { kind: std::io::ErrorKind::ConnectionRefused, message: "refused".into() }
}

/// What a session did, in the order of doing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    Connect,
    Close,
    Abort,
    Ping,
    Sent(ClientMessage),
    Event(TrackerEvent),
}

/// A session under a clock that stands still unless moved.
pub(crate) struct Harness {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) socket: Option<SocketId>,
    /// What the last attempt to connect was to use.
    pub(crate) family: Option<Family>,
    /// Whether frames count as written at once.
    pub(crate) writes: bool,
    /// Whether pings are answered at once.
    pub(crate) pongs: bool,
    acts: Vec<Act>,
}

impl Harness {
    pub(crate) fn new(config: ClientConfig) -> Self {
        let now = base();
        let session = Session::new(url(), ME(), ClientConfig { seed: Some(7), ..config }, now);
        Self { session, now, socket: None, family: None, writes: true, pongs: true, acts: Vec::new() }
    }

    /// A session that has joined [`SWARM`], is connected, and has announced offers 1 to 5.
    pub(crate) fn announced() -> Self {
        let mut harness = Self::new(ClientConfig::default());
        harness.input(Input::Join(SWARM()));
        harness.connected();
        harness.input(Input::Offers { info_hash: SWARM(), offers: offers(1..=5) });
        assert_eq!(harness.announces(), [(SWARM(), vec![1, 2, 3, 4, 5])]);
        harness
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.session.handle_input(self.now, input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            let act = match output {
                Output::Connect { socket, family } => {
                    assert_eq!(self.socket, None, "a second socket");
                    self.socket = Some(socket);
                    self.family = family;
                    Act::Connect
                }
                Output::Send { socket, frame } => {
                    assert_eq!(self.socket, Some(socket));
                    if self.writes {
                        self.session.handle_input(self.now, Input::Sent(socket));
                    }
                    match frame {
                        Frame::Ping => {
                            if self.pongs {
                                self.session.handle_input(self.now, Input::Alive(socket));
                            }
                            Act::Ping
                        }
                        Frame::Text(text) => Act::Sent(ClientMessage::decode(text).unwrap()),
                    }
                }
                Output::Close(socket) => {
                    assert_eq!(self.socket, Some(socket));
                    Act::Close
                }
                Output::Abort(socket) => {
                    assert_eq!(self.socket.take(), Some(socket));
                    Act::Abort
                }
            };
            self.acts.push(act);
        }
        while let Some(event) = self.session.poll_event() {
            self.acts.push(Act::Event(event));
        }
    }

    pub(crate) fn connected(&mut self) {
        self.connected_by(Route::default());
    }

    pub(crate) fn connected_by(&mut self, route: Route) {
        self.input(Input::Connected { socket: self.socket.unwrap(), route });
    }

    pub(crate) fn refused(&mut self) {
        let socket = self.socket.take().unwrap();
        self.input(Input::ConnectFailed { socket, error: refusal() });
    }

    pub(crate) fn disconnected(&mut self) {
        self.disconnected_by(SocketEnd::Closed { code: None, reason: None });
    }

    pub(crate) fn disconnected_by(&mut self, end: SocketEnd) {
        let socket = self.socket.take().unwrap();
        self.input(Input::Disconnected { socket, end });
    }

    pub(crate) fn receive(&mut self, message: TrackerMessage) {
        self.receive_text(&message.encode());
    }

    pub(crate) fn receive_text(&mut self, text: &str) {
        self.input(Input::Received { socket: self.socket.unwrap(), frame: text.into() });
    }

    /// Lets time pass, with every timeout at its time.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        let mut rounds = 0;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            rounds = if at > self.now { 0 } else { rounds + 1 };
            assert!(rounds < 100, "the session is busy for nothing");
            self.now = self.now.max(at);
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    pub(crate) fn acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    pub(crate) fn events(&mut self) -> Vec<TrackerEvent> {
        let events = |act| if let Act::Event(event) = act { Some(event) } else { None };
        self.acts().into_iter().filter_map(events).collect()
    }

    pub(crate) fn sent(&mut self) -> Vec<ClientMessage> {
        let sent = |act| if let Act::Sent(message) = act { Some(message) } else { None };
        self.acts().into_iter().filter_map(sent).collect()
    }

    /// The announces sent, by their swarms and the numbers of their offers.
    pub(crate) fn announces(&mut self) -> Vec<(InfoHash, Vec<u32>)> {
        self.sent().iter().filter_map(announce).map(|announce| (announce.info_hash, numbers(announce))).collect()
    }
}

pub(crate) fn announce(message: &ClientMessage) -> Option<&Announce> {
    if let ClientMessage::Announce(announce) = message { Some(announce) } else { None }
}

/// The numbers of the offers in an announce, see [`offer`].
pub(crate) fn numbers(announce: &Announce) -> Vec<u32> {
    let number = |offer: &Offer| u32::from_be_bytes(offer.offer_id.as_bytes()[..4].try_into().unwrap());
    announce.offers.iter().flatten().map(number).collect()
}
