//! Two peers that meet again and again by several trackers: they keep as many channels as configured, and neither sees the
//! other go, whatever strangers do under their ids.

use proptest::prelude::*;

use super::*;

const TRACKERS: u64 = 3;

/// What offers are answered with is their number.
#[derive(Debug)]
struct Numbers;

impl Objects for Numbers {
    type Offer = usize;
    type Answer = ();
    type Channel = ();
    type Error = ();
}

/// JavaScript sees a channel this long after it opened, at most.
const LATE: u64 = 5_000;

/// One side.
struct Side {
    mesh: Mesh<Numbers>,
    id: PeerId,
    /// The channels by the number of the offer that led to them, and when they opened.
    channels: BTreeMap<ChannelId, (usize, Instant)>,
    retired: Vec<ChannelId>,
    connected: usize,
}

/// What is known of one offer.
#[derive(Debug, Clone, Copy)]
struct Try {
    offerer: usize,
    tracker: TrackerId,
    /// The attempts of the sides.
    attempts: [Option<AttemptId>; 2],
    /// The certificate of the stranger that offers or answers in place of a side, if one does.
    stranger: Option<Fingerprint>,
}

/// The certificate of a side, or of the stranger with a higher number.
fn certificate(n: usize) -> Fingerprint {
    Fingerprint([n as u8; 32])
}

const STRANGER: usize = 2;

/// What the description of a stranger claims.
#[derive(Debug, Clone, Copy)]
enum Claim {
    /// Nothing: it bears no mark.
    Unmarked,
    /// Its own certificate.
    Own,
    /// The certificate of the peer under whose id it comes.
    Stolen,
    /// A mark, and no certificate.
    NoCertificate,
}

#[derive(Debug, Clone, Copy)]
enum Flight {
    Offer,
    Answer,
}

struct Pair {
    sides: [Side; 2],
    /// The second side is the JavaScript library: it answers everything, sees channels late and closes none.
    js: bool,
    now: Instant,
    tries: Vec<Try>,
    /// Offers and answers to them on their way.
    flying: Vec<(usize, Flight)>,
    /// Offers that both sides work on.
    opening: Vec<usize>,
    /// Offers that led to a channel at the other side already.
    half_open: Vec<(usize, usize)>,
    /// When JavaScript sees each channel, by the number of its offer.
    seen: BTreeMap<usize, Instant>,
    gone: u32,
}

impl Pair {
    fn new(connections_per_peer: [usize; 2], js: bool) -> Self {
        let now = super::tests::base();
        let side = |n: usize| Side {
            mesh: Mesh::new(MeshConfig { connections_per_peer: connections_per_peer[n], max_peers: 5 }),
            id: PeerId::from([n as u8; 20]),
            channels: BTreeMap::new(),
            retired: Vec::new(),
            connected: 0,
        };
        let (sides, tries, opening) = ([side(0), side(1)], Vec::new(), Vec::new());
        Self {
            sides,
            js,
            now,
            tries,
            flying: Vec::new(),
            opening,
            half_open: Vec::new(),
            seen: BTreeMap::new(),
            gone: 0,
        }
    }

    /// What the descriptions of a side say of it.
    fn identity(&self, side: usize) -> Identity {
        let library = if self.js { Library::JavaScript } else { Library::Ours };
        Identity { library, fingerprint: Some(certificate(side)), key: None }
    }

    /// A stranger offers or answers to a side under the id of the other one, with which the side is connected.
    fn intrude(&mut self, side: usize, claim: Claim, answers: bool, tracker: TrackerId) {
        // Where no channel shows who is there the first one to come is believed; and of JavaScript nothing is known.
        if self.sides[side].connected == 0 || self.js && (side == 1 || matches!(claim, Claim::Unmarked)) {
            return;
        }
        let n = self.tries.len();
        let offerer = if answers { side } else { 1 - side };
        self.tries.push(Try { offerer, tracker, attempts: [None; 2], stranger: Some(certificate(STRANGER)) });
        let identity = match claim {
            Claim::Unmarked => {
                Identity { library: Library::JavaScript, fingerprint: Some(certificate(STRANGER)), key: None }
            }
            Claim::Own => Identity { library: Library::Ours, fingerprint: Some(certificate(STRANGER)), key: None },
            Claim::Stolen => Identity { library: Library::Ours, fingerprint: Some(certificate(1 - side)), key: None },
            Claim::NoCertificate => Identity { library: Library::Ours, fingerprint: None, key: None },
        };
        let from = self.sides[1 - side].id;
        if answers {
            self.opening.push(n);
            self.input_of(side, n, Input::Answer { from, tracker, identity, answer: () });
        } else {
            self.input(side, Input::Offer { from, offer: RemoteOffer { tracker, identity, offer: n } });
        }
    }

    fn offer(&mut self, offerer: usize, tracker: TrackerId) {
        let n = self.tries.len();
        self.tries.push(Try { offerer, tracker, attempts: [None; 2], stranger: None });
        self.flying.push((n, Flight::Offer));
    }

    fn deliver(&mut self, index: usize) {
        if self.flying.is_empty() {
            return;
        }
        match self.flying.swap_remove(index % self.flying.len()) {
            (n, Flight::Offer) => self.offered(n),
            (n, Flight::Answer) => self.answered(n),
        }
    }

    fn offered(&mut self, n: usize) {
        let Try { offerer, tracker, .. } = self.tries[n];
        if self.js && offerer == 0 {
            return self.flying.push((n, Flight::Answer));
        }
        let from = self.sides[offerer].id;
        let offer = RemoteOffer { tracker, identity: self.identity(offerer), offer: n };
        self.input(1 - offerer, Input::Offer { from, offer });
    }

    /// The answer to an offer arrives.
    fn answered(&mut self, n: usize) {
        let Try { offerer, tracker, .. } = self.tries[n];
        self.opening.push(n);
        if self.js && offerer == 1 || self.tries[n].stranger.is_some() {
            return;
        }
        let from = self.sides[1 - offerer].id;
        let identity = self.identity(1 - offerer);
        self.input_of(offerer, n, Input::Answer { from, tracker, identity, answer: () });
    }

    /// What both sides work on opens; or fails, as it must if one of them does not.
    fn end(&mut self, n: usize, opens: bool, late: u64) {
        let attempts = self.tries[n].attempts;
        let ours = if self.js { &[0][..] } else { &[0, 1] };
        let both = self.tries[n].stranger.is_some() || ours.iter().all(|side| attempts[*side].is_some());
        let opens = opens && both;
        for side in [0, 1] {
            let Some(attempt) = self.tries[n].attempts[side] else { continue };
            if opens {
                self.seen.insert(n, self.now + Duration::from_millis(late));
                self.half_open.push((side, n));
            } else {
                self.input(side, Input::AttemptFailed { attempt, error: () });
            }
        }
    }

    /// A side learns that its channel is open.
    fn open(&mut self, index: usize) {
        if self.half_open.is_empty() {
            return;
        }
        let (side, n) = self.half_open.swap_remove(index % self.half_open.len());
        if let Some(attempt) = self.tries[n].attempts[side] {
            let fingerprint = Some(self.tries[n].stranger.unwrap_or_else(|| certificate(1 - side)));
            let label = format!("{n:04}");
            self.input_of(side, n, Input::AttemptSucceeded { attempt, label, fingerprint, channel: () });
        }
    }

    fn input(&mut self, side: usize, input: Input<Numbers>) {
        self.input_of(side, usize::MAX, input);
    }

    /// An input that is about an offer.
    fn input_of(&mut self, side: usize, n: usize, input: Input<Numbers>) {
        self.sides[side].mesh.handle_input(self.now, input);
        while let Some(output) = self.sides[side].mesh.poll_output() {
            match output {
                Output::Answer { attempt, offer, .. } => {
                    self.tries[offer.offer].attempts[side] = Some(attempt);
                    self.flying.push((offer.offer, Flight::Answer));
                }
                Output::ChannelOpened { id, .. } => {
                    assert_eq!(self.tries[n].stranger, None, "a stranger is taken for the peer");
                    self.sides[side].channels.insert(id, (n, self.now));
                }
                Output::Retire { channel, .. } => {
                    if self.js {
                        let (n, _) = self.sides[side].channels[&channel];
                        let others = self.sides[side].channels.iter().filter(|(c, _)| **c != channel);
                        let seen = others.filter(|(_, (n, _))| self.seen[n] <= self.now).count();
                        assert!(seen > 0 && self.seen[&n] <= self.now, "JavaScript knows of no other channel");
                    }
                    self.sides[side].retired.push(channel);
                }
                Output::PeerConnected { .. } => self.sides[side].connected += 1,
                Output::PeerClosed(_) => self.gone += 1,
                Output::Accept { attempt, .. } => self.tries[n].attempts[side] = Some(attempt),
                _ => {}
            }
        }
    }

    /// A channel that was retired closes, at both sides.
    fn close(&mut self, side: usize, channel: ChannelId) {
        let Some((n, _)) = self.sides[side].channels.get(&channel).copied() else { return };
        for side in [0, 1] {
            let same =
                self.sides[side].channels.iter().find(|(_, (other, _))| *other == n).map(|(channel, _)| *channel);
            if let Some(channel) = same {
                self.sides[side].channels.remove(&channel);
                self.input(side, Input::ChannelClosed(channel));
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.input(0, Input::Timeout);
        self.input(1, Input::Timeout);
    }

    /// Two seconds later at least, when both sides have learned of everything that has opened.
    fn close_retired(&mut self) {
        while !self.half_open.is_empty() {
            self.open(0);
        }
        for side in [0, 1] {
            for channel in std::mem::take(&mut self.sides[side].retired) {
                self.close(side, channel);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Offer(usize, TrackerId),
    /// See [`Pair::intrude`].
    Intrude(usize, Claim, bool, TrackerId),
    /// Which of those under way opens or fails, and how late JavaScript sees it.
    End(usize, bool, u64),
    /// Which offer or answer arrives.
    Deliver(usize),
    /// Which of the channels that open is reported.
    Open(usize),
    CloseRetired,
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let claim = prop::sample::select(vec![Claim::Unmarked, Claim::Own, Claim::Stolen, Claim::NoCertificate]);
    prop_oneof![
        2 => (0..2usize, claim, any::<bool>(), 0..TRACKERS)
            .prop_map(|(side, claim, answers, tracker)| Op::Intrude(side, claim, answers, TrackerId(tracker))),
        4 => (0..2usize, 0..TRACKERS).prop_map(|(side, tracker)| Op::Offer(side, TrackerId(tracker))),
        4 => (any::<usize>(), prop::bool::weighted(0.8), 0..LATE).prop_map(|(n, opens, late)| Op::End(n, opens, late)),
        8 => any::<usize>().prop_map(Op::Deliver),
        6 => any::<usize>().prop_map(Op::Open),
        1 => Just(Op::CloseRetired),
        2 => (0..15_000u64).prop_map(Op::Wait),
    ]
}

proptest! {
    #[test]
    fn two_peers_keep_their_channels_however_often_they_meet(
        ops in prop::collection::vec(op(), 0..150), js in any::<bool>(), kept in [1..3usize, 1..3usize],
    ) {
        let mut pair = Pair::new(kept, js);
        for op in ops {
            match op {
                Op::Offer(side, tracker) => pair.offer(side, tracker),
                Op::Intrude(side, claim, answers, tracker) => pair.intrude(side, claim, answers, tracker),
                Op::End(n, opens, late) if !pair.opening.is_empty() => {
                    let n = pair.opening.swap_remove(n % pair.opening.len());
                    pair.end(n, opens, late);
                }
                Op::End(..) => {}
                Op::Deliver(index) => pair.deliver(index),
                Op::Open(index) => pair.open(index),
                Op::CloseRetired => pair.close_retired(),
                Op::Wait(ms) => pair.wait(Duration::from_millis(ms)),
            }
        }
        while !pair.flying.is_empty() || !pair.opening.is_empty() {
            pair.deliver(0);
            if let Some(n) = pair.opening.pop() {
                pair.end(n, true, LATE);
            }
        }
        for _ in 0..3 {
            pair.close_retired();
            pair.wait(JS_SETTLE);
        }
        pair.close_retired();
        prop_assert_eq!(pair.gone, 0, "a peer was seen to go");
        let left = pair.sides[0].channels.len();
        let most = if js { kept[0] } else { kept[0].min(kept[1]) };
        prop_assert!(left <= most, "{} channels are left", left);
        prop_assert!(left > 0 || pair.sides[0].connected == 0, "no channel is left");
        if !js {
            let numbers = |side: &Side| side.channels.values().map(|(n, _)| *n).collect::<std::collections::BTreeSet<_>>();
            prop_assert_eq!(numbers(&pair.sides[0]), numbers(&pair.sides[1]));
        }
    }
}
