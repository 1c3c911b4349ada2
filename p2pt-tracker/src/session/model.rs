//! The client of one tracker, between an application, a network and a tracker that all do as they like.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use arbitrary::Arbitrary;
use p2pt_proto::{
    AnnounceEvent, AnnounceReply, ClientMessage, Failure, ForwardedAnswer, ForwardedOffer, InfoHash, Offer, OfferId,
    PeerId, ScrapeReply, ScrapeStats, TrackerMessage,
};

use super::{
    Frame, Input as SessionInput, MAX_EVENTS, MAX_FRAME_BYTES, MAX_OFFERS_PER_ANNOUNCE, Output, Session, SocketId,
};
use crate::{AnnounceUrl, ClientConfig, ConnectError, Family, Route, SocketEnd, TrackerEvent, model};

const ME: [u8; 20] = [1; 20];
/// What the configuration of this target allows to be alive in one swarm.
const MAX_OFFERS: usize = 20;
/// Without a reply, two announces of a swarm are so far apart.
const REPLY_PATIENCE: Duration = Duration::from_secs(5);
/// What a tracker says is shortened to 256 characters of up to four bytes, and a sentence is put around it.
const MAX_WARNING_BYTES: usize = 1400;

#[derive(Debug, Arbitrary)]
struct Input {
    seed: u64,
    /// The application hands in at once what is wanted, and the network writes at once.
    helpful: bool,
    ops: Vec<Op>,
}

#[derive(Debug, Arbitrary)]
enum Op {
    Join(u8),
    Leave(u8),
    SetWanted(u8, u8),
    Announce(u8),
    /// Hand in offers, asked for or not, with SDP of this length.
    Offers(u8, u8, u16),
    Answer(u8, u16),
    Scrape(u8),
    /// The socket opens, perhaps with another address family to go to.
    Connected(bool),
    /// It is lost, or cannot be opened.
    Disconnected,
    Sent,
    Alive,
    Reply {
        swarm: u8,
        interval: Option<u64>,
        counts: Option<(u8, u8)>,
        warning: Option<String>,
    },
    RemoteOffer {
        swarm: u8,
        from: u8,
        sdp: u32,
    },
    /// An answer to an offer that was handed in.
    Answered {
        offer: u16,
        from: u8,
        sdp: u32,
    },
    Failure {
        reason: String,
        scrape: bool,
    },
    Scraped(u8),
    Bytes(Vec<u8>),
    /// Something arrives late from the socket before.
    Stale(Stale),
    /// The application stops reading events, or reads them all.
    Read(bool),
    /// Milliseconds pass, with each timeout when it is due.
    Wait(u32),
    /// Seconds pass unnoticed, as on a machine that sleeps.
    Sleep(u16),
}

#[derive(Debug, Arbitrary)]
enum Stale {
    Connected,
    ConnectFailed,
    Disconnected,
    Sent,
    Alive,
    Received,
}

fn swarm(n: u8) -> InfoHash {
    InfoHash::from([n % 3; 20])
}

fn peer(n: u8) -> PeerId {
    PeerId::from([n % 4; 20])
}

#[derive(Debug)]
struct HandedIn {
    info_hash: InfoHash,
    offer_id: OfferId,
    ended: bool,
    /// It was in an announce and may have gone to another member.
    spent: bool,
}

/// The last announce for a swarm on the present socket.
#[derive(Debug)]
struct Announced {
    at: Instant,
    replied: bool,
    offers: Vec<OfferId>,
}

struct Harness {
    session: Session,
    helpful: bool,
    now: Instant,
    socket: Option<SocketId>,
    old_socket: Option<SocketId>,
    /// What the present attempt to connect is to use.
    family: Option<Family>,
    open: bool,
    writing: bool,
    /// We have been told to close the socket.
    closing: bool,
    reads_events: bool,
    joined: BTreeSet<InfoHash>,
    announced: BTreeMap<InfoHash, Announced>,
    /// Announced on a socket that broke, of which the tracker may not know.
    displaced: BTreeSet<InfoHash>,
    /// Swarms in which the session cannot know that it is alone.
    company: BTreeSet<InfoHash>,
    /// Left after an announce, so that `stopped` is due.
    departing: BTreeSet<InfoHash>,
    offers: Vec<HandedIn>,
    /// What events have asked for.
    wanted: BTreeMap<InfoHash, usize>,
}

impl Harness {
    fn new(seed: u64, helpful: bool) -> Self {
        let now = model::base();
        let url = AnnounceUrl::parse("ws://tracker.test/").expect("a URL");
        let config = ClientConfig::default().max_offers(MAX_OFFERS).seed(Some(seed));
        Self {
            session: Session::new(url, PeerId::from(ME), config, now),
            helpful,
            now,
            socket: None,
            old_socket: None,
            family: None,
            open: false,
            writing: false,
            closing: false,
            reads_events: true,
            joined: BTreeSet::new(),
            announced: BTreeMap::new(),
            displaced: BTreeSet::new(),
            company: BTreeSet::new(),
            departing: BTreeSet::new(),
            offers: Vec::new(),
            wanted: BTreeMap::new(),
        }
    }

    fn input(&mut self, input: SessionInput) {
        self.session.handle_input(self.now, input);
        self.settle();
        if !self.helpful {
            return;
        }
        for (info_hash, count) in std::mem::take(&mut self.wanted) {
            self.hand_in(info_hash, count, 10);
        }
        if self.writing && !self.closing {
            self.apply(Op::Sent);
        }
    }

    /// Carries out everything; a timeout that is due leads somewhere.
    fn settle(&mut self) {
        for _ in 0..20 {
            while let Some(output) = self.session.poll_output() {
                self.carry_out(output);
            }
            if self.reads_events {
                self.read_events();
            }
            if self.session.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
            self.session.handle_input(self.now, SessionInput::Timeout);
        }
        panic!("the session is busy for nothing");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Connect { socket, family } => {
                assert_eq!(self.socket, None, "a second socket");
                (self.socket, self.family) = (Some(socket), family);
            }
            Output::Abort(id) => {
                assert_eq!(self.socket, Some(id));
                self.drop_socket();
            }
            Output::Close(id) => {
                assert_eq!((self.socket, self.open, self.writing), (Some(id), true, false));
                assert!(self.joined.is_disjoint(&self.company), "left a family with other members");
                (self.writing, self.closing) = (true, true);
            }
            Output::Send { socket, frame } => {
                assert_eq!((self.socket, self.open, self.writing), (Some(socket), true, false));
                self.writing = true;
                if let Frame::Text(text) = frame {
                    assert!(text.len() <= MAX_FRAME_BYTES, "a frame of {} bytes", text.len());
                    self.track(ClientMessage::decode(text).expect("a session's messages decode"));
                }
            }
        }
    }

    fn drop_socket(&mut self) {
        self.old_socket = self.socket.take();
        let announced = std::mem::take(&mut self.announced);
        if !self.closing {
            self.displaced.extend(announced.keys().filter(|swarm| self.joined.contains(swarm)));
        }
        (self.open, self.writing, self.closing) = (false, false, false);
        self.departing.clear();
        self.company = self.joined.clone();
    }

    /// The tracker reads a frame.
    fn track(&mut self, message: ClientMessage) {
        match message {
            ClientMessage::Announce(announce) if announce.event == Some(AnnounceEvent::Stopped) => {
                assert!(self.departing.remove(&announce.info_hash), "stopped twice, or without an announce");
            }
            ClientMessage::Announce(announce) => {
                let info_hash = announce.info_hash;
                assert!(self.joined.contains(&info_hash), "an announce after leaving");
                assert!(!self.departing.contains(&info_hash), "an announce before `stopped`");
                if self.displaced.remove(&info_hash) {
                    // It only leads up to a `stopped`, after which comes the announce that counts.
                    assert_eq!(announce.offers, Some(Vec::new()));
                    self.departing.insert(info_hash);
                    return;
                }
                let before = self.announced.get(&info_hash);
                let early = before.is_some_and(|before| !before.replied && self.now < before.at + REPLY_PATIENCE);
                assert!(!early, "an announce while the reply to the one before may still come");
                let offers = announce.offers.expect("offers, or an empty list of them");
                assert!(offers.len() <= MAX_OFFERS_PER_ANNOUNCE);
                assert_eq!(announce.numwant, u32::try_from(offers.len()).ok());
                let offers: Vec<_> = offers.into_iter().map(|offer| offer.offer_id).collect();
                for offer_id in &offers {
                    let offer = self.offers.iter_mut().find(|offer| offer.offer_id == *offer_id);
                    let offer = offer.expect("an offer that was handed in");
                    assert!(offer.info_hash == info_hash && !offer.ended, "an offer that is not alive");
                    assert!(!offer.spent, "an offer was announced after it may have been forwarded");
                    offer.spent = true;
                }
                self.announced.insert(info_hash, Announced { at: self.now, replied: false, offers });
            }
            ClientMessage::Answer(answer) => {
                assert!(self.joined.contains(&answer.info_hash), "an answer after leaving");
            }
            ClientMessage::Scrape(scrape) => assert!(scrape.info_hashes.len() <= 64),
            other => panic!("{other:?}"),
        }
    }

    fn read_events(&mut self) {
        let mut others = 0;
        while let Some(event) = self.session.poll_event() {
            let ended = match event {
                TrackerEvent::Answer { info_hash, offer_id, .. } => (info_hash, offer_id),
                TrackerEvent::OfferEnded { info_hash, offer_id, .. } => (info_hash, offer_id),
                event => {
                    others += 1;
                    self.check_event(event);
                    continue;
                }
            };
            let offer = self.offers.iter_mut().find(|offer| (offer.info_hash, offer.offer_id) == ended);
            let offer = offer.expect("an offer that was handed in");
            assert!(!std::mem::replace(&mut offer.ended, true), "an offer ended twice");
        }
        assert!(others <= MAX_EVENTS + 64, "{others} events were waiting");
    }

    fn check_event(&mut self, event: TrackerEvent) {
        match event {
            TrackerEvent::OffersWanted { info_hash, count, .. } => {
                assert!(self.joined.contains(&info_hash));
                assert!((1..=MAX_OFFERS_PER_ANNOUNCE).contains(&count));
                self.wanted.insert(info_hash, count);
            }
            TrackerEvent::Offer { info_hash: _, from, sdp, .. } => {
                assert_ne!(from, PeerId::from(ME));
                assert!(sdp.len() <= 64 * 1024);
            }
            TrackerEvent::Warning { warning, .. } => {
                let text = warning.to_string();
                assert!(text.len() <= MAX_WARNING_BYTES, "a warning of {} bytes", text.len());
                assert!(!text.contains(char::is_control), "{text:?}");
            }
            TrackerEvent::Announced { interval, .. } => {
                assert!((Duration::from_secs(10)..=Duration::from_secs(120)).contains(&interval));
            }
            _ => {}
        }
    }

    /// A frame comes in, unless the session wants none.
    fn receive(&mut self, frame: impl Into<Vec<u8>>) {
        if let Some(socket) = self.socket.filter(|_| self.session.wants_frames()) {
            self.input(SessionInput::Received { socket, frame: frame.into() });
        }
    }

    /// Another member's frame comes in. If the session passes it on, it knows that it is not alone.
    fn receive_from_member(&mut self, swarm: InfoHash, message: TrackerMessage) {
        let passed_on = |session: &Session| (session.counters.offers_received, session.counters.answers_received);
        let before = passed_on(&self.session);
        self.receive(message.encode());
        if passed_on(&self.session) != before {
            self.company.insert(swarm);
        }
    }

    fn reply(&mut self, swarm: InfoHash, interval: Option<u64>, counts: Option<(u8, u8)>, warning: Option<String>) {
        let mut reply = AnnounceReply::new(swarm);
        reply.interval = interval.map(Duration::from_secs);
        (reply.complete, reply.incomplete) = counts.map(|(a, b)| (u32::from(a), u32::from(b))).unzip();
        reply.warning = warning;
        if self.open
            && self.session.wants_frames()
            && let Some(announced) = self.announced.get_mut(&swarm)
        {
            if let Some((complete, incomplete)) = counts.filter(|_| !announced.replied) {
                // By the tracker's own words there was no member to forward these to.
                let others = usize::from(complete) + usize::from(incomplete);
                let surplus = announced.offers.get(others.saturating_sub(1)..).unwrap_or_default();
                for offer in self.offers.iter_mut().filter(|offer| surplus.contains(&offer.offer_id)) {
                    offer.spent = false;
                }
            }
            announced.replied = true;
            if counts.is_some_and(|(complete, incomplete)| u32::from(complete) + u32::from(incomplete) <= 1) {
                self.company.remove(&swarm);
            } else {
                self.company.insert(swarm);
            }
        }
        self.receive(TrackerMessage::Announced(reply).encode());
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Join(n) => {
                if self.joined.insert(swarm(n)) {
                    self.company.insert(swarm(n));
                }
                self.input(SessionInput::Join(swarm(n)));
            }
            Op::Leave(n) => {
                let info_hash = swarm(n);
                self.displaced.remove(&info_hash);
                if self.joined.remove(&info_hash) && self.announced.remove(&info_hash).is_some() {
                    self.departing.insert(info_hash);
                }
                self.input(SessionInput::Leave(info_hash));
            }
            Op::SetWanted(n, offers) => {
                self.input(SessionInput::SetWanted { info_hash: swarm(n), offers: offers.into() });
            }
            Op::Announce(n) => self.input(SessionInput::Announce(swarm(n))),
            Op::Offers(n, count, bytes) => self.hand_in(swarm(n), usize::from(count % 8), bytes % 20_000),
            Op::Answer(n, bytes) => {
                let (info_hash, to, offer_id) = (swarm(n), peer(2), OfferId::from([9; 20]));
                let sdp = "\n".repeat((bytes % 20_000).into());
                self.input(SessionInput::Answer { info_hash, to, offer_id, sdp });
            }
            Op::Scrape(count) => self.input(SessionInput::Scrape((0..count).map(|n| [n; 20].into()).collect())),
            Op::Connected(has_other) => {
                if let Some(socket) = self.socket.filter(|_| !self.open) {
                    self.open = true;
                    let route = Route::new(self.family.unwrap_or(Family::V6), has_other);
                    self.input(SessionInput::Connected { socket, route });
                }
            }
            Op::Disconnected => {
                if let Some(socket) = self.socket {
                    let was_open = self.open;
                    self.drop_socket();
                    self.input(if was_open {
                        SessionInput::Disconnected { socket, end: SocketEnd::Broken("lost".into()) }
                    } else {
                        SessionInput::ConnectFailed {
                            socket,
                            error: ConnectError::Status(crate::HttpRefusal::new(500)),
                        }
                    });
                }
            }
            Op::Sent => {
                if let Some(socket) = self.socket.filter(|_| self.writing) {
                    self.writing = false;
                    self.input(SessionInput::Sent(socket));
                }
            }
            Op::Alive => {
                if let Some(socket) = self.socket {
                    self.input(SessionInput::Alive(socket));
                }
            }
            Op::Reply { swarm: n, interval, counts, warning } => self.reply(swarm(n), interval, counts, warning),
            Op::RemoteOffer { swarm: n, from, sdp } => {
                let (info_hash, peer_id, offer_id) = (swarm(n), peer(from), OfferId::from([7; 20]));
                let offer = ForwardedOffer::new(info_hash, peer_id, offer_id, "o".repeat(sdp as usize % 70_000));
                self.receive_from_member(info_hash, TrackerMessage::Offer(offer));
            }
            Op::Answered { offer, from, sdp } => {
                let Some(offer) = self.offers.get(usize::from(offer) % self.offers.len().max(1)) else { return };
                let (info_hash, offer_id, peer_id) = (offer.info_hash, offer.offer_id, peer(from));
                let answer = ForwardedAnswer::new(info_hash, peer_id, offer_id, "a".repeat(sdp as usize % 70_000));
                self.receive_from_member(info_hash, TrackerMessage::Answer(answer));
            }
            Op::Failure { reason, scrape } => {
                let mut failure = Failure::new(reason);
                failure.action = scrape.then(|| "scrape".to_owned());
                self.receive(TrackerMessage::Failure(failure).encode());
            }
            Op::Scraped(count) => {
                let stats = ScrapeStats::new(1, 2, 3);
                let files = (0..count).map(|n| (InfoHash::from([n; 20]), stats));
                self.receive(TrackerMessage::Scrape(ScrapeReply::new(files)).encode());
            }
            Op::Bytes(frame) => self.receive(frame),
            Op::Stale(stale) => self.stale(stale),
            Op::Read(reads) => {
                self.reads_events = reads;
                self.settle();
            }
            Op::Wait(millis) => self.wait(Duration::from_millis((millis % 300_000).into())),
            Op::Sleep(seconds) => {
                self.now += Duration::from_secs(seconds.into());
                self.input(SessionInput::Timeout);
            }
        }
        let state = self.session.state(self.now);
        assert_eq!(state.swarms.keys().copied().collect::<BTreeSet<_>>(), self.joined);
        assert!(state.swarms.values().all(|swarm| swarm.offers <= MAX_OFFERS));
        assert!(state.last_error.is_none_or(|error| error.warning.to_string().len() <= MAX_WARNING_BYTES));
    }

    fn hand_in(&mut self, info_hash: InfoHash, count: usize, bytes: u16) {
        let offers: Vec<_> = (self.offers.len()..self.offers.len() + count)
            .map(|number| {
                let mut offer_id = [0; 20];
                offer_id[..8].copy_from_slice(&(number as u64).to_be_bytes());
                Offer::new(offer_id.into(), "\n".repeat(bytes.into()))
            })
            .collect();
        let handed_in = |offer: &Offer| HandedIn { info_hash, offer_id: offer.offer_id, ended: false, spent: false };
        self.offers.extend(offers.iter().map(handed_in));
        self.input(SessionInput::Offers { info_hash, offers });
    }

    fn stale(&mut self, stale: Stale) {
        let Some(socket) = self.old_socket.filter(|old| Some(*old) != self.socket) else { return };
        let counters = self.session.state(self.now).counters;
        let input = match stale {
            Stale::Connected => SessionInput::Connected { socket, route: Route::new(Family::V4, true) },
            Stale::ConnectFailed => {
                SessionInput::ConnectFailed { socket, error: ConnectError::Status(crate::HttpRefusal::new(500)) }
            }
            Stale::Disconnected => SessionInput::Disconnected { socket, end: SocketEnd::Broken("late".into()) },
            Stale::Sent => SessionInput::Sent(socket),
            Stale::Alive => SessionInput::Alive(socket),
            Stale::Received => SessionInput::Received { socket, frame: b"late".to_vec() },
        };
        // Not by `input`, after which a helpful application hands in offers.
        self.session.handle_input(self.now, input);
        assert_eq!(self.session.state(self.now).counters, counters, "something came of what came late");
        self.settle();
    }

    fn wait(&mut self, by: Duration) {
        let end = self.now + by;
        let mut steps = 0;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            steps += 1;
            assert!(steps <= 200 + 5 * by.as_secs(), "{steps} timeouts in {by:?}");
            assert!(at > self.now, "a timeout leads nowhere");
            self.now = at;
            self.input(SessionInput::Timeout);
        }
        self.now = end;
    }
}

/// One socket at a time, announces neither too often nor too large, each offer ends exactly once, and an
/// application that does not read makes it grow no further than its bounds.
///
/// # Panics
/// When a promise is broken.
pub fn session(data: &[u8]) {
    if let Some(input) = model::read(data) {
        run(input);
    }
}

fn run(Input { seed, helpful, ops }: Input) {
    let mut harness = Harness::new(seed, helpful);
    for op in ops {
        harness.apply(op);
    }
    harness.reads_events = true;
    for info_hash in std::mem::take(&mut harness.joined) {
        if harness.announced.remove(&info_hash).is_some() {
            harness.departing.insert(info_hash);
        }
    }
    harness.input(SessionInput::Stop);
    harness.wait(Duration::from_secs(2));
    assert!(harness.session.is_stopped());
    assert_eq!((harness.socket, harness.session.poll_timeout()), (None, None));
    assert!(harness.offers.iter().all(|offer| offer.ended), "an offer has no end");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Half of the operations are what leads on: the socket opens, frames are written and replied to, time passes.
    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let reply = (0..3u8, 0..4u8).prop_map(|(swarm, members)| Op::Reply {
            swarm,
            interval: Some(20),
            counts: Some((0, members)),
            warning: None,
        });
        let op = prop_oneof![
            10 => model::any_value::<Op>(),
            2 => (0..3u8).prop_map(Op::Join),
            2 => any::<bool>().prop_map(Op::Connected),
            2 => Just(()).prop_map(|()| Op::Sent),
            2 => reply,
            2 => (0..30_000u32).prop_map(Op::Wait),
        ];
        prop::collection::vec(op, 1..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn promises_are_kept(seed: u64, helpful: bool, ops in ops()) {
            run(Input { seed, helpful, ops });
        }

        /// With a tracker that behaves, a member announces at least every two minutes and a bit, whatever it did before.
        #[test]
        fn a_swarm_is_kept_alive(seed: u64, ops in ops()) {
            let mut harness = Harness::new(seed, true);
            for op in ops {
                harness.apply(op);
            }
            harness.apply(Op::Read(true));
            harness.apply(Op::Join(0));
            let before = harness.session.counters;
            let mut confirmed = false;
            for _ in 0..200 {
                let (interval, warning) = (Some(20), None);
                let reply = Op::Reply { swarm: 0, interval, counts: Some((0, 3)), warning };
                for op in [Op::Wait(1000), Op::Connected(true), Op::Sent, Op::Alive, reply] {
                    harness.apply(op);
                }
                confirmed |= harness.session.state(harness.now).swarms[&swarm(0)].announced;
            }
            prop_assert!(harness.session.counters.announces_sent > before.announces_sent);
            prop_assert!(confirmed);
        }
    }
}
