//! Random histories: whatever the application, the tracker and the network do, the session keeps its promises.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use p2pt_proto::{AnnounceEvent, ClientMessage, InfoHash, OfferId};
use proptest::prelude::*;

use super::test_support::*;
use super::{Frame, Input, MAX_FRAME_BYTES, MAX_OFFERS_PER_ANNOUNCE, Output, Session, SocketId};
use crate::{ClientConfig, Family, Route, SocketEnd, TrackerEvent};

const SWARMS: u8 = 3;

fn swarm(n: u8) -> InfoHash {
    InfoHash::of(&format!("swarm {}", n % SWARMS))
}

#[derive(Debug, Clone)]
enum Op {
    Join(u8),
    Leave(u8),
    SetWanted(u8, usize),
    Announce(u8),
    /// Hand in offers, asked for or not; the number is the length of the SDP.
    Offers(u8, usize, usize),
    Answer(u8),
    Scrape(usize),
    /// The socket opens, perhaps with another family to go to, or fails to.
    Connected(bool),
    /// It is lost, or closed if that was asked for.
    Disconnected,
    /// The frame under way has been written.
    Sent,
    /// The tracker sends its oldest reply, or loses it.
    Reply,
    LoseReply,
    /// A member answers an offer it was given: which one, and whether it answers for the second time.
    Answered(usize),
    RemoteOffer(u8),
    Frame(Vec<u8>),
    Alive,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let swarm = 0..SWARMS;
    prop_oneof![
        3 => swarm.clone().prop_map(Op::Join),
        1 => swarm.clone().prop_map(Op::Leave),
        1 => (swarm.clone(), 0usize..8).prop_map(|(n, wanted)| Op::SetWanted(n, wanted)),
        2 => swarm.clone().prop_map(Op::Announce),
        6 => (swarm.clone(), 0usize..8, prop_oneof![Just(10usize), 10usize..20_000])
            .prop_map(|(n, count, len)| Op::Offers(n, count, len)),
        2 => swarm.clone().prop_map(Op::Answer),
        1 => (0usize..100).prop_map(Op::Scrape),
        6 => any::<bool>().prop_map(Op::Connected),
        1 => Just(Op::Disconnected),
        8 => Just(Op::Sent),
        8 => Just(Op::Reply),
        1 => Just(Op::LoseReply),
        3 => any::<usize>().prop_map(Op::Answered),
        2 => swarm.prop_map(Op::RemoteOffer),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Op::Frame),
        1 => Just(Op::Alive),
        6 => prop_oneof![0u64..100, 0u64..6_000, 0u64..130_000].prop_map(Op::Wait),
    ]
}

/// What a tracker will say to something it has read.
struct PendingReply {
    info_hash: InfoHash,
    members: u32,
    until: Instant,
}

/// The application, the network and the tracker around a session, which check what it does.
struct Harness {
    session: Session,
    now: Instant,
    socket: Option<SocketId>,
    open: bool,
    writing: bool,
    joined: BTreeSet<InfoHash>,
    /// How often `stopped` may still be sent, by swarms that are not joined.
    stopped_allowed: BTreeSet<InfoHash>,
    next_offer: u32,
    /// How many times each offer that was handed in has ended.
    ends: BTreeMap<(InfoHash, OfferId), u32>,
    forwarded: Vec<(InfoHash, OfferId)>,
    replies: VecDeque<PendingReply>,
    /// Draws the number of members.
    dice: u32,
    /// Whether this tracker replies to answers, as aquatic does, and to `stopped`.
    chatty: bool,
    /// What the present attempt to connect is to use.
    family: Option<Family>,
    /// The session has asked to close the socket.
    closing: bool,
    /// Swarms announced on the present socket, and those that were on one that broke.
    announced: BTreeSet<InfoHash>,
    displaced: BTreeSet<InfoHash>,
    /// Swarms in which the session cannot know that it is alone.
    company: BTreeSet<InfoHash>,
}

impl Harness {
    fn new(seed: u64, chatty: bool) -> Self {
        let now = base();
        let config = ClientConfig { max_offers: 20, seed: Some(seed), ..ClientConfig::default() };
        Self {
            session: Session::new(url(), ME(), config, now),
            now,
            socket: None,
            open: false,
            writing: false,
            joined: BTreeSet::new(),
            stopped_allowed: BTreeSet::new(),
            next_offer: 0,
            ends: BTreeMap::new(),
            forwarded: Vec::new(),
            replies: VecDeque::new(),
            dice: seed as u32,
            chatty,
            family: None,
            closing: false,
            announced: BTreeSet::new(),
            displaced: BTreeSet::new(),
            company: BTreeSet::new(),
        }
    }

    fn input(&mut self, input: Input) {
        self.session.handle_input(self.now, input);
        self.settle();
    }

    fn socket_input(&mut self, input: impl FnOnce(SocketId) -> Input) {
        if let Some(socket) = self.socket {
            self.input(input(socket));
        }
    }

    fn drop_socket(&mut self) {
        let announced = std::mem::take(&mut self.announced);
        if !self.closing {
            self.displaced.extend(announced.intersection(&self.joined));
        }
        (self.socket, self.open, self.writing, self.closing) = (None, false, false, false);
        self.replies.clear();
        self.stopped_allowed.clear();
        self.company = self.joined.clone();
    }

    /// Carries out everything, and sees to it that timeouts lead somewhere.
    fn settle(&mut self) {
        for _ in 0..20 {
            while let Some(output) = self.session.poll_output() {
                self.carry_out(output);
            }
            while let Some(event) = self.session.poll_event() {
                self.on_event(event);
            }
            if self.session.poll_timeout().is_none_or(|at| at > self.now) {
                return;
            }
            self.session.handle_input(self.now, Input::Timeout);
        }
        panic!("the session is busy for nothing");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Connect { socket, family } => {
                assert_eq!(self.socket, None, "a second socket");
                self.socket = Some(socket);
                self.family = family;
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
                    assert!(text.len() <= MAX_FRAME_BYTES);
                    self.track(ClientMessage::decode(text).unwrap());
                }
            }
        }
    }

    /// The tracker reads a frame.
    fn track(&mut self, message: ClientMessage) {
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let members = (self.dice >> 16) % 8;
        match message {
            ClientMessage::Announce(announce) if announce.event == Some(AnnounceEvent::Stopped) => {
                let info_hash = announce.info_hash;
                assert!(self.stopped_allowed.remove(&info_hash), "stopped twice, or without an announce");
                if self.chatty {
                    self.reply_later(info_hash, members);
                }
            }
            ClientMessage::Announce(announce) => {
                let info_hash = announce.info_hash;
                assert!(self.joined.contains(&info_hash), "an announce after leaving");
                assert!(!self.stopped_allowed.contains(&info_hash), "an announce before `stopped`");
                let offers = announce.offers.unwrap();
                if self.displaced.remove(&info_hash) {
                    // It only leads up to a `stopped`, after which comes the announce that counts.
                    assert_eq!(offers, []);
                    self.stopped_allowed.insert(info_hash);
                } else {
                    self.announced.insert(info_hash);
                }
                assert!(offers.len() <= MAX_OFFERS_PER_ANNOUNCE);
                assert_eq!(announce.numwant, Some(offers.len() as u32));
                let members = members.max(1);
                for (index, offer) in offers.iter().enumerate() {
                    let key = (info_hash, offer.offer_id);
                    assert_eq!(self.ends.get(&key), Some(&0), "an offer that is not alive");
                    assert!(!self.forwarded.contains(&key), "an offer was announced after it was forwarded");
                    if index < members as usize - 1 {
                        self.forwarded.push(key);
                    }
                }
                self.reply_later(info_hash, members);
            }
            ClientMessage::Answer(answer) => {
                assert!(self.joined.contains(&answer.info_hash), "an answer after leaving");
                if self.chatty {
                    self.reply_later(answer.info_hash, members);
                }
            }
            ClientMessage::Scrape(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn reply_later(&mut self, info_hash: InfoHash, members: u32) {
        // A tracker that is slower than this is beyond what the session promises anything for.
        let until = self.now + Duration::from_secs(30);
        self.replies.push_back(PendingReply { info_hash, members, until });
    }

    fn on_event(&mut self, event: TrackerEvent) {
        let ended = match event {
            TrackerEvent::Answer { info_hash, offer_id, .. } => (info_hash, offer_id),
            TrackerEvent::OfferEnded { info_hash, offer_id, .. } => (info_hash, offer_id),
            TrackerEvent::OffersWanted { info_hash, count } => {
                assert!(self.joined.contains(&info_hash));
                assert!((1..=MAX_OFFERS_PER_ANNOUNCE).contains(&count));
                return;
            }
            _ => return,
        };
        *self.ends.get_mut(&ended).expect("an offer that was never handed in") += 1;
        assert_eq!(self.ends[&ended], 1, "an offer ended twice");
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Join(n) => {
                if self.joined.insert(swarm(n)) {
                    self.company.insert(swarm(n));
                }
                self.input(Input::Join(swarm(n)));
            }
            Op::Leave(n) => {
                let info_hash = swarm(n);
                if self.joined.remove(&info_hash) {
                    self.stopped_allowed.insert(info_hash);
                }
                self.announced.remove(&info_hash);
                self.displaced.remove(&info_hash);
                self.input(Input::Leave(info_hash));
                if !self.session.departures.contains(&info_hash) {
                    self.stopped_allowed.remove(&info_hash);
                }
            }
            Op::SetWanted(n, offers) => self.input(Input::SetWanted { info_hash: swarm(n), offers }),
            Op::Announce(n) => self.input(Input::Announce(swarm(n))),
            Op::Offers(n, count, len) => {
                let first = self.next_offer;
                self.next_offer += count as u32;
                let mut offers = offers(first..self.next_offer);
                for offer in &mut offers {
                    offer.sdp = "\n".repeat(len);
                    self.ends.insert((swarm(n), offer.offer_id), 0);
                }
                self.input(Input::Offers { info_hash: swarm(n), offers });
            }
            Op::Answer(n) => self.input(Input::Answer {
                info_hash: swarm(n),
                to: PEER(),
                offer_id: offer_id(u32::MAX),
                sdp: "answer".into(),
            }),
            Op::Scrape(count) => {
                self.input(Input::Scrape((0..count).map(|n| InfoHash::of(&n.to_string())).collect()));
            }
            Op::Connected(has_other) if !self.open => {
                self.open = self.socket.is_some();
                let route = Route::new(self.family.unwrap_or(Family::V6), has_other);
                self.socket_input(|socket| Input::Connected { socket, route });
            }
            Op::Disconnected => {
                if let Some(socket) = self.socket {
                    let was_open = self.open;
                    self.drop_socket();
                    self.input(if was_open {
                        Input::Disconnected { socket, end: SocketEnd::Broken("lost".into()) }
                    } else {
                        Input::ConnectFailed { socket, error: refusal() }
                    });
                }
            }
            Op::Sent if self.writing => {
                self.writing = false;
                self.socket_input(Input::Sent);
            }
            Op::Reply => {
                if let Some(pending) = self.replies.pop_front()
                    && pending.until >= self.now
                {
                    let frame = reply(pending.info_hash, 20, pending.members).encode().into();
                    if pending.members > 1 {
                        self.company.insert(pending.info_hash);
                    } else {
                        self.company.remove(&pending.info_hash);
                    }
                    self.socket_input(|socket| Input::Received { socket, frame });
                }
            }
            Op::LoseReply => {
                self.replies.pop_front();
            }
            Op::Answered(which) if !self.forwarded.is_empty() => {
                let (info_hash, id) = self.forwarded[which % self.forwarded.len()];
                let number = u32::from_be_bytes(id.as_bytes()[..4].try_into().unwrap());
                let frame = forwarded_answer(info_hash, PEER(), number).encode().into();
                self.socket_input(|socket| Input::Received { socket, frame });
            }
            Op::RemoteOffer(n) => {
                let frame = forwarded_offer(swarm(n), PEER(), 0).encode().into();
                self.company.insert(swarm(n));
                self.socket_input(|socket| Input::Received { socket, frame });
            }
            Op::Frame(frame) => self.socket_input(|socket| Input::Received { socket, frame }),
            Op::Alive => self.socket_input(Input::Alive),
            Op::Wait(millis) => self.wait(Duration::from_millis(millis)),
            Op::Connected(_) | Op::Sent | Op::Answered(_) => {}
        }
        for (info_hash, swarm) in self.session.state(self.now).swarms {
            assert!(self.joined.contains(&info_hash));
            assert!(swarm.offers <= 20);
        }
    }

    fn wait(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            assert!(at > self.now);
            self.now = at;
            self.input(Input::Timeout);
        }
        self.now = end;
    }

    /// Stops, and checks that everything has ended.
    fn finish(mut self) {
        self.stopped_allowed.extend(std::mem::take(&mut self.joined));
        self.input(Input::Stop);
        self.wait(secs(2));
        assert!(self.session.is_stopped());
        assert_eq!((self.socket, self.session.poll_timeout()), (None, None));
        assert!(self.ends.values().all(|ends| *ends == 1), "each offer ends exactly once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn promises_are_kept(seed: u64, chatty: bool, ops in prop::collection::vec(op(), 1..120)) {
        let mut harness = Harness::new(seed, chatty);
        for op in ops {
            harness.apply(op);
        }
        harness.finish();
    }

    /// With a tracker that behaves, a member announces at least every two minutes and a bit, whatever it did before.
    #[test]
    fn a_swarm_is_kept_alive(seed: u64, ops in prop::collection::vec(op(), 1..60)) {
        let mut harness = Harness::new(seed, true);
        for op in ops {
            harness.apply(op);
        }
        harness.apply(Op::Join(0));
        let before = harness.session.counters;
        let mut confirmed = false;
        for _ in 0..200 {
            for op in [Op::Wait(1000), Op::Connected(true), Op::Sent, Op::Alive, Op::Reply] {
                harness.apply(op);
            }
            confirmed |= harness.session.state(harness.now).swarms[&swarm(0)].announced;
        }
        let after = harness.session.counters;
        prop_assert!(after.announces_sent > before.announces_sent);
        prop_assert!(confirmed);
    }
}
