//! A malicious tracker with random plans, in simulated swarms under paused time: whatever it does, no key is impersonated,
//! no id of a key is taken, and those who have an honest tracker as well meet there.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use p2pt::trust::{NodeKey, Policy, PublicKey, RoomLink};
use p2pt::{Builder, Event, Events, Message, Peer, PeerId, RejectReason, Swarm, SwarmKey};
use p2pt_tests::forger::{Added, Guise, Name, OnOffer, Plan};
use p2pt_tests::sim::{Sim, Underlay, until};
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const EVIL: &str = "ws://evil.test/announce";
const GOOD: &str = "ws://good.test/announce";
const ALSO_GOOD: &str = "ws://also-good.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// How long the malicious tracker has the nodes for itself, in virtual time: two announces.
const ALONE: Duration = Duration::from_secs(150);

/// How long nodes may take to meet at the honest trackers, which they have tried to reach in vain: the longest wait between
/// two tries is 60 s, then two announces.
const MET_WITHIN: Duration = Duration::from_secs(400);

const NODES: u8 = 3;

/// A word in everything that nodes say, which the tracker's own peer changes in what it carries.
const WORD: &str = "faithfully";

/// What the nodes ask of their peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing.
    Open,
    /// A key.
    Signed,
    /// The key of one of them.
    Friends,
    /// Two trackers that show its key.
    Agreement,
    /// The secret of the room.
    Room,
}

impl Mode {
    const ALL: [Self; 5] = [Self::Open, Self::Signed, Self::Friends, Self::Agreement, Self::Room];

    fn configure(self, builder: Builder, friends: &Friends) -> Builder {
        match self {
            Self::Open | Self::Room => builder,
            Self::Signed => builder.policy(Policy::Signed),
            Self::Friends => builder.policy(Policy::Only(friends.0.keys().copied().collect())),
            Self::Agreement => builder.require_agreement(2),
        }
    }

    fn swarm(self, seed: u64) -> SwarmKey {
        use rand::SeedableRng as _;
        match self {
            Self::Room => RoomLink::draw("room", &mut rand::rngs::StdRng::seed_from_u64(seed)).secret().into(),
            _ => "room".into(),
        }
    }
}

/// The honest nodes' keys, and their ids once they have started.
#[derive(Debug)]
struct Friends(BTreeMap<PublicKey, Mutex<Option<PeerId>>>);

impl Friends {
    fn has_id(&self, key: &PublicKey, id: PeerId) -> bool {
        self.0.get(key).is_some_and(|own| lock(own).is_none_or(|own| own == id))
    }

    fn of_id(&self, id: PeerId) -> Option<PublicKey> {
        self.0.iter().find(|(_, own)| *lock(own) == Some(id)).map(|(key, _)| *key)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a node says to a peer.
fn vow(from: PublicKey, to: PublicKey) -> String {
    format!("I, {from}, say {WORD} to {to}")
}

/// Which of the nodes have heard which.
type Heard = Arc<Mutex<BTreeSet<(PublicKey, PublicKey)>>>;

/// One node as its application sees it, and what must hold for it.
struct Watch {
    own: PublicKey,
    mode: Mode,
    evil: PublicKey,
    friends: Arc<Friends>,
    heard: Heard,
    met: BTreeSet<PeerId>,
}

impl Watch {
    /// Reads events to their end. Every rule that is broken is a panic.
    async fn run(mut self, mut events: Events) {
        while let Some(event) = events.next().await {
            match event {
                Event::PeerConnected(peer) => self.connected(&peer),
                Event::Message(message) => self.said(&message),
                Event::Data(data) => {
                    let key = data.peer.public_key();
                    let is_friend = key.is_some_and(|key| self.friends.0.contains_key(&key));
                    assert!(!is_friend, "friends send messages alone: {data}");
                }
                _ => {}
            }
        }
    }

    fn connected(&mut self, peer: &Peer) {
        let (id, key) = (peer.id(), peer.public_key());
        match key {
            None => {
                assert_eq!(self.mode, Mode::Open, "{id} has no key");
                assert!(!self.met.contains(&id), "the id {id} is known to have a key");
            }
            Some(key) if key == self.evil => {
                assert!(matches!(self.mode, Mode::Open | Mode::Signed), "the tracker's own peer is let in");
                assert_eq!(self.friends.of_id(id), None, "under the id of a friend");
            }
            Some(key) => {
                assert!(self.friends.has_id(&key, id), "{id} has a key that nobody has, or a friend's: {key}");
                self.met.insert(id);
            }
        }
        assert_eq!(key.is_some(), peer.safety_code().is_some());
        // A peer that is gone by now needs no vow.
        let _ = peer.queue(key.map_or_else(|| "I do not know you".to_owned(), |key| vow(self.own, key)));
    }

    fn said(&self, message: &Message) {
        let text = message.text().unwrap_or_default();
        match message.peer().public_key() {
            Some(key) if key != self.evil => {
                assert_eq!(text, vow(key, self.own), "who says that is not who it is");
                lock(&self.heard).insert((key, self.own));
            }
            // Whatever the tracker's own peer says or carries is its word, and no friend's.
            Some(_) => assert!(matches!(self.mode, Mode::Open | Mode::Signed)),
            None => assert_eq!(self.mode, Mode::Open),
        }
    }
}

thread_local! {
    /// Panics of this test, whose tasks are all on one thread: of those in tasks of nodes nothing else would tell.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            usual(info);
        }));
    });
}

async fn run(seed: u64, mode: Mode, plan: Plan, connections_per_peer: usize) {
    let panics = PANICS.get();
    let sim = Sim::new(seed);
    let evil = sim.start_forger(EVIL, plan, seed).rewriting(WORD, "falsely");
    let keys: Vec<NodeKey> = (1..=NODES).map(|n| NodeKey::from_bytes(&[n; 32])).collect();
    let friends = Arc::new(Friends(keys.iter().map(|key| (key.public_key(), Mutex::new(None))).collect()));
    let (heard, mut watches) = (Heard::default(), JoinSet::new());
    let mut swarms: Vec<Swarm> = Vec::new();
    for key in &keys {
        let configured = |builder: Builder| {
            let builder = builder.key(key.clone()).connections_per_peer(connections_per_peer);
            mode.configure(builder, &friends)
        };
        let node = sim.start_in(mode.swarm(seed), &[EVIL, GOOD, ALSO_GOOD], configured).await;
        *lock(&friends.0[&key.public_key()]) = Some(node.p2pt.peer_id());
        let watch = Watch {
            own: key.public_key(),
            mode,
            evil: evil.key(),
            friends: friends.clone(),
            heard: heard.clone(),
            met: BTreeSet::new(),
        };
        watches.spawn(watch.run(node.events));
        swarms.push(node.p2pt);
    }
    sleep(ALONE).await;
    sim.start_tracker(GOOD);
    sim.start_tracker(ALSO_GOOD);
    let all = keys.len() * (keys.len() - 1);
    let met = until(MET_WITHIN, || {
        let knows =
            |swarm: &Swarm, key: &PublicKey, id| swarm.peer(&id).is_some_and(|peer| peer.public_key() == Some(*key));
        let knows_all = |swarm: &Swarm| {
            let others = friends.0.iter().filter_map(|(key, id)| Some((key, (*lock(id))?)));
            let mut others = others.filter(|(_, id)| *id != swarm.peer_id());
            others.all(|(key, id)| knows(swarm, key, id))
        };
        lock(&heard).len() == all && swarms.iter().all(knows_all)
    });
    let met = met.await;
    assert_eq!(PANICS.get(), panics, "nothing panics");
    assert!(met.is_some(), "they meet: {} of {all} have heard each other", lock(&heard).len());
    for swarm in &swarms {
        swarm.shutdown().await;
    }
    while let Some(watch) = timeout(60 * SECOND, watches.join_next()).await.expect("the events end") {
        watch.expect("the rules hold");
    }
    assert_eq!(PANICS.get(), panics, "nothing panics");
}

/// The peer of a tracker that others do not show is held back for a minute, and then turned away.
#[tokio::test(start_paused = true)]
async fn a_peer_that_one_tracker_alone_shows_is_not_let_in_where_two_should() {
    for guise in [Guise::Own, Guise::Unsigned] {
        let sim = Sim::new(31);
        let another = format!("{EVIL}/2");
        let trackers = [EVIL, &another, GOOD];
        // With the same peer under another address of the same host it is no second tracker.
        let plan = Plan::adding([Added::ToAnnouncer(Name::Own, guise)]);
        let _evil = [EVIL, &another].map(|url| sim.start_forger(url, plan.clone(), 32));
        sim.start_tracker(GOOD);
        let ask = |node: Builder| node.require_agreement(2);
        let mut alice = sim.start_in("room".into(), &trackers, ask).await;
        let mut seen = BTreeSet::new();
        let wanted = match guise {
            Guise::Own => RejectReason::NotVouched { seen: 1, wanted: 2 },
            _ => RejectReason::Unsigned,
        };
        let rejected = async {
            while !seen.contains(&format!("{wanted:?}")) {
                match alice.events.next().await.expect("the events go on") {
                    Event::ConnectionRejected(rejected) => drop(seen.insert(format!("{:?}", rejected.reason))),
                    Event::PeerConnected(peer) => panic!("{peer:?} is let in"),
                    Event::Message(message) => panic!("{message:?}"),
                    _ => {}
                }
            }
        };
        assert!(timeout(600 * SECOND, rejected).await.is_ok(), "{guise:?}: {seen:?}");
        // Whom another tracker shows as well is let in.
        let bob = sim.start_in("room".into(), &trackers, ask).await;
        let met = until(300 * SECOND, || alice.p2pt.peer(&bob.p2pt.peer_id()).is_some()).await;
        assert!(met.is_some() && alice.p2pt.peers().len() == 1, "{guise:?}: {:?}", alice.p2pt.peers());
    }
}

/// What one tracker has shown to be the id of a key, another cannot use for a peer without one, though the peer with the key
/// is out of reach, and every attempt with it comes to nothing.
#[tokio::test(start_paused = true)]
async fn the_id_of_a_key_is_not_taken_while_its_peer_is_out_of_reach() {
    for guise in [Guise::Unsigned, Guise::JavaScript] {
        let sim = Sim::new(41);
        let strangers = [Added::ToAnnouncer(Name::Other, guise), Added::ToOthers(Name::Other, guise)];
        let _evil = sim.start_forger(EVIL, Plan { offers: vec![OnOffer::Hide], ..Plan::adding(strangers) }, 42);
        sim.start_tracker(GOOD);
        let mut bob = sim.start_in("room".into(), &[GOOD], |node| node).await;
        let (alice, transport) = Underlay::join(&sim.network);
        sim.network.cut(alice, bob.node);
        let alice = sim.start_over((alice, transport), "room".into(), &[EVIL, GOOD], |node| node).await;
        let id = alice.p2pt.peer_id();
        let seen = async {
            loop {
                match bob.events.next().await.expect("the events go on") {
                    Event::ConnectionFailed(failed) if failed.peer_id == id => return,
                    Event::PeerConnected(peer) => panic!("{peer:?} is out of reach"),
                    _ => {}
                }
            }
        };
        timeout(600 * SECOND, seen).await.expect("an attempt fails");
        bob.p2pt.node().add_tracker(EVIL).await.expect("running");
        let mut refused = 0;
        let refusals = async {
            while refused < 5 {
                match bob.events.next().await.expect("the events go on") {
                    Event::ConnectionRejected(rejected) if rejected.tracker.as_str() == EVIL => {
                        assert_eq!((rejected.peer_id, rejected.reason), (id, RejectReason::Unsigned), "{guise:?}");
                        refused += 1;
                    }
                    Event::ConnectionRejected(rejected) => panic!("{guise:?}: {rejected}"),
                    Event::PeerConnected(peer) => panic!("{guise:?}: {peer:?} has taken the id"),
                    _ => {}
                }
            }
        };
        assert!(timeout(3600 * SECOND, refusals).await.is_ok(), "{guise:?}: refused {refused} times");
        sim.network.heal();
        let met = until(300 * SECOND, || bob.p2pt.peer(&id).is_some_and(|peer| peer.public_key().is_some())).await;
        assert!(met.is_some(), "{guise:?}: {:?}", bob.p2pt.peers());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_tracker_does_keys_and_ids_are_those_of_their_owners(
        seed in any::<u64>(), mode in prop::sample::select(Mode::ALL.to_vec()), plan in Plan::any(),
        connections_per_peer in 1..3usize,
    ) {
        count_panics();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(run(seed, mode, plan, connections_per_peer));
    }
}
