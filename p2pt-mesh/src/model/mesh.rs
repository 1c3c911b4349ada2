//! A mesh, and what a driver knows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2pt_proto::PeerId;

use super::{base, read};
use crate::mesh::{
    AttemptId, ChannelId, Fingerprint, Identity, Input, JS_SETTLE, Library, MAX_ATTEMPTS, MAX_SURPLUS, Mesh,
    MeshConfig, Objects, Output, PeerKey, RejectReason, RemoteOffer, Role,
};
use crate::{Instant, TrackerId};

/// Every object is the number of the input that brings it.
#[derive(Debug)]
struct Numbers;

impl Objects for Numbers {
    type Offer = usize;
    type Answer = usize;
    type Channel = usize;
    type Error = usize;
}

const PEERS: u8 = 6;
const TRACKERS: u8 = 3;

/// An open channel.
#[derive(Debug)]
struct Channel {
    peer: PeerId,
    opened: Instant,
    is_retired: bool,
}

#[derive(Debug)]
struct Attempt {
    peer: PeerId,
    tracker: TrackerId,
    identity: Identity,
}

#[derive(Debug)]
struct Driver {
    config: MeshConfig,
    mesh: Mesh<Numbers>,
    now: Instant,
    /// Inputs so far.
    inputs: usize,
    /// The offers that came in and were neither answered nor rejected, by tracker, with their peers. One by the same
    /// tracker takes the place of an older one.
    offers: BTreeMap<usize, (PeerId, TrackerId)>,
    /// Those of them that are signed.
    signed: BTreeSet<usize>,
    attempts: BTreeMap<AttemptId, Attempt>,
    channels: BTreeMap<ChannelId, Channel>,
    /// Who is connected, as the first channel has shown.
    connected: BTreeMap<PeerId, Identity>,
    places: usize,
    vacancies: BTreeMap<TrackerId, usize>,
    sought: BTreeMap<PeerId, bool>,
}

/// Reads operations and performs them.
///
/// # Panics
/// When a promise is broken.
pub fn mesh(data: &[u8]) {
    let (settings, operations) = read(data);
    let config =
        MeshConfig { connections_per_peer: 1 + usize::from(settings % 2), max_peers: usize::from(settings / 2 % 5) };
    let mut driver = Driver {
        config,
        mesh: Mesh::new(config),
        now: base(),
        inputs: 0,
        offers: BTreeMap::new(),
        signed: BTreeSet::new(),
        attempts: BTreeMap::new(),
        channels: BTreeMap::new(),
        connected: BTreeMap::new(),
        places: config.max_peers,
        vacancies: BTreeMap::new(),
        sought: BTreeMap::new(),
    };
    for tracker in 0..TRACKERS {
        driver.input(Input::TrackerAdded(TrackerId(tracker.into())));
    }
    for operation in operations {
        driver.perform(operation);
    }
}

impl Driver {
    fn perform(&mut self, [kind, one, two, three]: [u8; 4]) {
        let (peer, tracker) = (PeerId::from([one % PEERS; 20]), TrackerId((two % TRACKERS).into()));
        let identity = identity(three);
        let number = self.inputs;
        match kind % 16 {
            0..3 => {
                self.offers.insert(number, (peer, tracker));
                self.signed.extend(identity.key.map(|_| number));
                self.input(Input::Offer { from: peer, offer: RemoteOffer { tracker, identity, offer: number } });
            }
            3..6 => self.input(Input::Answer { from: peer, tracker, identity, answer: number }),
            6..9 => {
                if let Some(attempt) = nth(&self.attempts, one) {
                    let (label, fingerprint) = (format!("{two}"), identity.fingerprint);
                    self.input(Input::AttemptSucceeded { attempt, label, fingerprint, channel: number });
                }
            }
            9 => {
                if let Some(attempt) = nth(&self.attempts, one) {
                    self.input(if two % 2 == 0 {
                        Input::AttemptFailed { attempt, error: number }
                    } else {
                        Input::AttemptRefused { attempt, error: number }
                    });
                }
            }
            // What comes late, or twice.
            10 => self.input(Input::AttemptFailed { attempt: AttemptId(one.into()), error: number }),
            11 => {
                if let Some(channel) = nth(&self.channels, one) {
                    self.channels.remove(&channel);
                    self.input(Input::ChannelClosed(channel));
                }
            }
            12 if three == 0 => {
                self.offers.clear();
                self.input(Input::IdentifierChanged);
                assert!(self.attempts.is_empty() && self.mesh.held().is_empty(), "something is still under way");
            }
            12 => {
                self.offers.retain(|_, (from, _)| *from != peer);
                self.input(Input::Disconnect(peer));
            }
            13 => self.input(Input::Lingering(usize::from(one % 6))),
            14 => {
                self.vacancies.remove(&tracker);
                self.input(Input::TrackerRemoved(tracker));
                self.input(Input::TrackerAdded(tracker));
            }
            _ => {
                self.now += Duration::from_millis(u64::from(one) * 80 * if two % 8 == 0 { 60 } else { 1 });
                self.input(Input::Timeout);
                assert!(self.mesh.poll_timeout().is_none_or(|at| at > self.now), "a timeout is overdue");
            }
        }
    }

    fn input(&mut self, input: Input<Numbers>) {
        let number = self.inputs;
        self.inputs += 1;
        let attempt = match &input {
            Input::AttemptSucceeded { attempt, .. }
            | Input::AttemptFailed { attempt, .. }
            | Input::AttemptRefused { attempt, .. } => Some(*attempt),
            _ => None,
        };
        let (answered, claimed) = match &input {
            Input::Answer { from, tracker, identity, .. } => (Some((*from, *tracker)), Some(*identity)),
            _ => (None, None),
        };
        // Whose descriptions prove that an id is that of a key.
        let keyed = match &input {
            Input::Answer { from, identity, .. } | Input::Offer { from, offer: RemoteOffer { identity, .. } } => {
                identity.key.map(|_| *from)
            }
            _ => None,
        };
        let (shown, has_succeeded) = match &input {
            Input::AttemptSucceeded { fingerprint, .. } => (*fingerprint, true),
            _ => (None, false),
        };
        let mut given_up = Vec::new();
        let ended = attempt.and_then(|attempt| self.attempts.remove(&attempt));
        // The attempt that has succeeded, until it is known what becomes of its channel.
        let mut succeeds = ended.as_ref().filter(|_| has_succeeded).map(|of| (of.peer, of.tracker));
        self.mesh.handle_input(self.now, input);
        let mut is_first = true;
        while let Some(output) = self.mesh.poll_output() {
            let comes_first = std::mem::replace(&mut is_first, false);
            match output {
                Output::Places(places) => {
                    assert!(comes_first, "places are reported after something else");
                    self.places = places;
                }
                Output::Answer { attempt, peer, offer } => {
                    let known = self.offers.remove(&offer.offer);
                    assert_eq!(known, Some((peer, offer.tracker)), "an offer that is not there is answered");
                    self.begin(attempt, peer, offer.tracker, offer.identity);
                }
                Output::Accept { attempt, peer, tracker, answer } => {
                    assert!(answer == number && answered == Some((peer, tracker)), "another answer is accepted");
                    self.begin(attempt, peer, tracker, claimed.expect("an answer comes from a peer"));
                }
                Output::MetAlready { peer, offer } => {
                    assert!(self.connected.contains_key(&peer), "it is not met");
                    assert_eq!(self.offers.get(&offer.offer), Some(&(peer, offer.tracker)), "it is not held");
                }
                Output::Rejected { peer, tracker, role, reason } => {
                    let is_another = reason == RejectReason::NotTheSamePeer;
                    assert!(!is_another || self.connected.contains_key(&peer) || keyed == Some(peer), "than which?");
                    let has_key = self.connected.get(&peer).is_some_and(|connected| connected.key.is_some());
                    let with_key = self.attempts.values().any(|a| a.peer == peer && a.identity.key.is_some());
                    let is_signed =
                        |n: &usize| self.signed.contains(n) && self.offers.get(n).is_some_and(|o| o.0 == peer);
                    let is_of_key = has_key || with_key || self.mesh.held().iter().any(is_signed);
                    assert!(reason != RejectReason::Unsigned || is_of_key || keyed == Some(peer), "whose key?");
                    if let Some(index) = given_up.iter().position(|of| *of == (peer, tracker)) {
                        given_up.remove(index);
                        continue;
                    }
                    if is_another && succeeds == Some((peer, tracker)) {
                        succeeds = None;
                        continue;
                    }
                    let held = self.mesh.held();
                    let is_one = |(n, from): &(&usize, &_)| **from == (peer, tracker) && !held.contains(n);
                    let offer = self.offers.iter().find(is_one).map(|(n, _)| *n);
                    let is_offer = role == Role::Answerer && offer.is_some_and(|n| self.offers.remove(&n).is_some());
                    let is_answer = role == Role::Offerer && answered == Some((peer, tracker));
                    assert!(is_offer || is_answer, "what is not there is rejected");
                }
                Output::AttemptFailed { peer, tracker, error, .. } => {
                    let of = ended.as_ref().expect("the attempt that failed is known");
                    assert_eq!((of.peer, of.tracker, error), (peer, tracker, number));
                }
                Output::GiveUp(attempt) => {
                    let Attempt { peer, tracker, .. } = self.attempts.remove(&attempt).expect("it is under way");
                    given_up.push((peer, tracker));
                }
                Output::PeerConnected { peer, key, tracker } => {
                    let of = ended.as_ref().expect("an attempt has succeeded");
                    assert_eq!((of.peer, of.tracker), (peer, tracker));
                    let identity = Identity { fingerprint: shown, ..of.identity };
                    assert_eq!(key, identity.key);
                    assert!(self.connected.insert(peer, identity).is_none(), "connected twice");
                }
                Output::ChannelOpened { peer, id, channel } => {
                    assert!(channel == number && succeeds.take().is_some(), "a channel opens of itself");
                    let Identity { library, key, .. } = ended.as_ref().expect("an attempt has succeeded").identity;
                    let connected = self.connected.get(&peer).expect("its peer is connected");
                    let is_alike = library == Library::JavaScript || shown == connected.fingerprint;
                    let is_same = key.is_some() || library == connected.library && is_alike;
                    assert!(key == connected.key && is_same, "another peer is taken for the one that is connected");
                    let channel = Channel { peer, opened: self.now, is_retired: false };
                    assert!(self.channels.insert(id, channel).is_none());
                }
                Output::Retire { peer, channel } => self.retire(peer, channel),
                Output::PeerClosed(peer) => {
                    assert!(self.connected.remove(&peer).is_some(), "closed and not connected");
                    assert!(self.channels.values().all(|channel| channel.peer != peer), "closed with an open channel");
                    self.sought.remove(&peer);
                }
                Output::PeerDisplaced(peer) => {
                    assert_eq!(keyed, Some(peer), "a peer is displaced, and nothing proves that its id is another's");
                    let displaced = self.connected.remove(&peer).expect("it is connected");
                    assert_eq!(displaced.key, None, "a peer with a key is displaced");
                    self.channels.retain(|_, channel| channel.peer != peer);
                    self.sought.remove(&peer);
                }
                Output::Sought { peer, sought } => {
                    assert!(self.connected.contains_key(&peer), "it is not connected");
                    assert_ne!(self.sought.insert(peer, sought), Some(sought), "reported again");
                }
                Output::PeerForgotten(peer) => {
                    assert!(!self.connected.contains_key(&peer) && !self.mesh.knows(&peer));
                }
                Output::Vacancies { tracker, vacancies } => {
                    assert_ne!(self.vacancies.insert(tracker, vacancies), Some(vacancies), "reported again");
                }
            }
        }
        self.check();
    }

    fn begin(&mut self, attempt: AttemptId, peer: PeerId, tracker: TrackerId, identity: Identity) {
        let is_of_key = self.attempts.values().any(|other| other.peer == peer && other.identity.key.is_some());
        assert!(!is_of_key || identity.key.is_some(), "a stranger may overtake the peer with the key");
        assert!(self.attempts.insert(attempt, Attempt { peer, tracker, identity }).is_none(), "it has begun before");
    }

    fn retire(&mut self, peer: PeerId, id: ChannelId) {
        let channel = self.channels.get_mut(&id).expect("it is open");
        assert!(!std::mem::replace(&mut channel.is_retired, true) && channel.peer == peer, "retired twice");
        let opened = channel.opened;
        let left: Vec<_> = self.channels.values().filter(|other| other.peer == peer && !other.is_retired).collect();
        assert!(left.len() >= self.config.connections_per_peer, "too much is retired");
        if self.connected.get(&peer).is_some_and(|identity| identity.library == Library::JavaScript) {
            let is_settled = |opened: Instant| self.now >= opened + JS_SETTLE;
            let older = left.iter().filter(|other| other.opened <= opened && is_settled(other.opened)).count();
            assert!(is_settled(opened) && older > 0, "a JavaScript peer may not know of another channel yet");
        }
    }

    fn check(&mut self) {
        let MeshConfig { connections_per_peer, max_peers } = self.config;
        let Self { mesh, attempts, channels, connected, .. } = self;
        assert!(connected.len() <= max_peers, "more peers than allowed");
        assert_eq!((mesh.connected(), mesh.places()), (connected.len(), self.places));
        let unknown = attempts.values().filter(|attempt| !connected.contains_key(&attempt.peer)).count();
        assert!(connected.len() < max_peers || unknown == 0, "a peer is on its way to a full swarm");
        assert!(attempts.len() <= MAX_ATTEMPTS * 2 * usize::from(TRACKERS));
        let with = |peer| attempts.values().filter(move |attempt| attempt.peer == peer).count();
        for n in 0..PEERS {
            let peer = PeerId::from([n; 20]);
            let has = channels.values().filter(|channel| channel.peer == peer).count();
            assert!(has + with(peer) <= connections_per_peer + MAX_SURPLUS, "too many channels and attempts");
            assert_eq!(has > 0, connected.contains_key(&peer));
            assert!(mesh.knows(&peer) || has + with(peer) == 0);
            assert_eq!(self.sought.contains_key(&peer), connected.contains_key(&peer));
        }
        for (tracker, vacancies) in &self.vacancies {
            assert_eq!(*vacancies, mesh.vacancies(*tracker), "of {tracker:?}");
            let caused = attempts.values().any(|a| a.tracker == *tracker && !connected.contains_key(&a.peer));
            assert!(caused || (*vacancies > 0) == (self.places > 0), "{tracker:?} is kept out");
        }
        // An offer that the mesh has dropped without a word was replaced by a newer one, or its peer was forgotten.
        let held = mesh.held();
        self.offers.retain(|number, _| held.contains(number));
        assert_eq!(self.offers.len(), held.len(), "an offer is held that is not there");
        let from: BTreeSet<_> = self.offers.values().collect();
        assert_eq!(self.offers.len(), from.len(), "two offers of a peer by one tracker are held");
    }
}

/// Of six peers under an id one has the key of it, two run this library without, one does without certificates, and two
/// run JavaScript.
fn identity(n: u8) -> Identity {
    let certificate = |n| Some(Fingerprint([n; 32]));
    let key = (n % 16 > 11).then_some(PeerKey([7; 32]));
    let (library, fingerprint) = match n % 8 {
        0..3 => (Library::Ours, certificate(0)),
        3 => (Library::Ours, certificate(1)),
        4 => (Library::Ours, None),
        5..7 => (Library::JavaScript, certificate(2)),
        _ => (Library::JavaScript, None),
    };
    Identity { library, fingerprint, key }
}

/// One of those that exist.
fn nth<K: Copy + Ord, V>(of: &BTreeMap<K, V>, n: u8) -> Option<K> {
    of.keys().nth(usize::from(n) % of.len().max(1)).copied()
}
