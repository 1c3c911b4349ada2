//! Strangers under the id of a connected peer, and peers that come back under their own.

use std::sync::Arc;
use std::time::Duration;

use p2pt::{Event, PeerId, PeerIdSign, RejectReason, TrackerWarning};
use p2pt_proto::{InfoHash, Offer, OfferId};
use p2pt_tests::events::next_of_peers;
use p2pt_tests::sim::{Sim, SimNode, is_mesh, open_channels, until};
use p2pt_tests::tracker_profile::{SameId, TrackerProfile};
use p2pt_tracker::{ClientConfig, TrackerClient, TrackerEvent};
use p2pt_transport::{Channel, Frame, PendingOffer, Transport};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const A: &str = "ws://a.test/announce";
const B: &str = "ws://b.test/announce";

const SECOND: Duration = Duration::from_secs(1);

/// A guard: nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The liveness time of the simulated network.
const IDLE: Duration = Duration::from_secs(5);

const MARK: &str = "a=p2pt:1\r\n";

fn id(n: u8) -> PeerId {
    PeerId::from([n; 20])
}

/// A peer that a test drives itself, under whatever id, at one tracker.
struct Stranger {
    client: TrackerClient,
    events: mpsc::Receiver<((), TrackerEvent)>,
    transport: Arc<dyn Transport>,
    offers: Vec<(OfferId, Box<dyn PendingOffer>)>,
    swarm: InfoHash,
}

impl Stranger {
    fn start(sim: &Sim, tracker: &str, under: PeerId) -> Self {
        let (sender, events) = mpsc::channel(256);
        let transport = sim.network.transport();
        let connector = sim.connector(transport.node());
        let url = tracker.parse().expect("a URL");
        let client = TrackerClient::start(url, under, ClientConfig::default(), connector, (), sender);
        let swarm = InfoHash::of("room");
        client.join(swarm);
        Self { client, events, transport, offers: Vec::new(), swarm }
    }

    async fn next(&mut self) -> TrackerEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("the client runs").1
    }

    /// Makes the offers that it is asked for, each with `mark` in it, until one of the other side arrives.
    async fn offered(&mut self, mark: &str) -> (PeerId, OfferId, String) {
        loop {
            match self.next().await {
                TrackerEvent::OffersWanted { count, .. } => self.offer(count, mark).await,
                TrackerEvent::Offer { from, offer_id, sdp, .. } => return (from, offer_id, sdp),
                _ => {}
            }
        }
    }

    /// Makes offers with `mark` until one is answered, and opens it.
    async fn answered(&mut self, mark: &str) -> Option<Channel> {
        loop {
            match self.events.recv().await?.1 {
                TrackerEvent::OffersWanted { count, .. } => self.offer(count, mark).await,
                TrackerEvent::Answer { offer_id, sdp, .. } => {
                    let index = self.offers.iter().position(|(id, _)| *id == offer_id)?;
                    return self.offers.remove(index).1.open(&sdp).await.ok();
                }
                _ => {}
            }
        }
    }

    async fn offer(&mut self, count: usize, mark: &str) {
        let mut made = Vec::new();
        for _ in 0..count {
            let pending = self.transport.offer().await.expect("an offer");
            let offer_id = OfferId::from(rand::random::<[u8; 20]>());
            made.push(Offer::new(offer_id, marked(pending.sdp(), mark)));
            self.offers.push((offer_id, pending));
        }
        self.client.offers(self.swarm, made);
    }

    /// Answers an offer, with `mark`, and opens the channel if the other side does.
    async fn answer(&self, (to, offer_id, sdp): (PeerId, OfferId, String), mark: &str) -> Option<Channel> {
        let pending = self.transport.answer(&sdp).await.expect("an offer that can be answered");
        self.client.answer(self.swarm, to, offer_id, marked(pending.sdp(), mark));
        pending.open().await.ok()
    }
}

fn marked(sdp: &str, mark: &str) -> String {
    sdp.replacen("m=", &format!("{mark}m="), 1)
}

/// A victim at two trackers, and a peer at the first of them alone.
async fn met(sim: &Sim) -> [SimNode; 2] {
    let peer = sim.start_with("room", &[A], |node| node.peer_id(id(1))).await;
    let victim = sim.start("room", &[A, B]).await;
    let nodes = [victim, peer];
    assert!(until(PATIENCE, || is_mesh(&nodes)).await.is_some(), "they meet");
    nodes
}

/// The reasons why peers were rejected, until nothing has happened for a while; panics at what a stranger sent.
async fn rejections(victim: &mut SimNode) -> Vec<RejectReason> {
    let mut reasons = Vec::new();
    while let Ok(event) = timeout(40 * SECOND, victim.events.next()).await {
        match event.expect("the events go on") {
            Event::ConnectionRejected(rejected) => {
                assert_eq!(rejected.peer_id, id(1));
                reasons.push(rejected.reason);
            }
            Event::Data(data) => panic!("a stranger is heard: {data:?}"),
            Event::PeerClosed(closed) => panic!("the peer goes: {closed:?}"),
            _ => {}
        }
    }
    reasons
}

/// What a stranger sends on its channel, if it has one, for as long as it can.
async fn talk(channel: Option<Channel>) -> Duration {
    let (Some(channel), began) = (channel, Instant::now()) else { return Duration::ZERO };
    while channel.sender.send(Frame::text("I am your peer")).await.is_ok() {
        sleep(SECOND).await;
        assert!(began.elapsed() < 5 * PATIENCE, "it talks for ever");
    }
    began.elapsed()
}

fn is_not_heard(reasons: &[RejectReason]) -> bool {
    reasons.contains(&RejectReason::NotTheSamePeer)
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_offers_by_another_tracker_is_not_heard_as_the_peer() {
    for mark in ["", MARK] {
        let sim = Sim::new(11);
        let [_a, _b] = [A, B].map(|url| sim.start_tracker(url));
        let [mut victim, peer] = met(&sim).await;
        let mut stranger = Stranger::start(&sim, B, id(1));
        let talking = async {
            // The victim would answer at once, or when it is told of an offer anew.
            talk(timeout(PATIENCE, stranger.answered(mark)).await.ok().flatten()).await
        };
        let (talked, reasons) = tokio::join!(talking, rejections(&mut victim));
        assert_eq!(talked, Duration::ZERO, "with {mark:?}");
        assert!(is_not_heard(&reasons), "with {mark:?}: {reasons:?}");
        assert_eq!(victim.p2pt.peers().len(), 1);
        assert_eq!(open_channels(&sim.network, [&victim.p2pt, &peer.p2pt].into_iter()), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_that_answers_an_early_offer_is_not_heard_as_the_peer() {
    for mark in ["", MARK] {
        let sim = Sim::new(12);
        let [_a, _b] = [A, B].map(|url| sim.start_tracker(url));
        let mut stranger = Stranger::start(&sim, B, id(1));
        // It is there before the victim comes, so that it gets one of the first offers.
        until(PATIENCE, || stranger.client.state().swarms.values().any(|swarm| swarm.announced)).await;
        let (offer, mut nodes) = tokio::join!(stranger.offered(mark), met(&sim));
        let talking = async { talk(stranger.answer(offer, mark).await).await };
        let (talked, reasons) = tokio::join!(talking, rejections(&mut nodes[0]));
        assert_eq!(talked, Duration::ZERO, "with {mark:?}");
        assert!(is_not_heard(&reasons), "with {mark:?}: {reasons:?}");
        assert_eq!(nodes[0].p2pt.peers().len(), 1);
        assert_eq!(nodes[0].p2pt.node().metrics().rejected_not_the_same, reasons.len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_killed_and_started_anew_under_its_id_is_met_once_its_old_channel_is_dead() {
    let mut slowest = Duration::ZERO;
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let _tracker = sim.start_tracker(A);
        let mut victim = sim.start("room", &[A]).await;
        let first = sim.start_with("room", &[A], |node| node.peer_id(id(1))).await;
        let connected = next_of_peers(&mut victim.events, PATIENCE).await;
        assert!(matches!(connected, Event::PeerConnected(_)), "{connected:?}");
        // Long enough that no node announces for another reason.
        sleep(130 * SECOND + Duration::from_millis(17) * u32::try_from(seed).expect("few")).await;
        sim.kill(first.node);
        drop(first);
        let (second, began) = (sim.start_with("room", &[A], |node| node.peer_id(id(1))).await, Instant::now());
        let closed = next_of_peers(&mut victim.events, PATIENCE).await;
        assert!(matches!(closed, Event::PeerClosed(_)), "seed {seed}: {closed:?}");
        let connected = next_of_peers(&mut victim.events, PATIENCE).await;
        assert!(matches!(connected, Event::PeerConnected(_)), "seed {seed}: {connected:?}");
        slowest = slowest.max(began.elapsed());
        assert!(until(SECOND, || second.p2pt.peers().len() == 1).await.is_some(), "seed {seed}");
    }
    assert!(slowest <= IDLE + 5 * SECOND, "{slowest:?}");
    println!("met again within {slowest:?}");
}

/// What two nodes under one id are among.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Company {
    None,
    /// A node of this library.
    Ours,
    /// A peer that answers every offer, as JavaScript does.
    JavaScript,
}

/// By what each of two nodes under one id has seen that there are two, within a minute of the start of the second.
async fn seen_within_a_minute(profile: Option<&TrackerProfile>, company: Company) -> [Vec<PeerIdSign>; 2] {
    let sim = Sim::new(21);
    match profile {
        Some(profile) => drop(sim.start_profile(A, profile.clone())),
        None => drop(sim.start_tracker(A)),
    }
    let _ours = sim.start_all(usize::from(company == Company::Ours), "room", &[A], |node| node).await;
    if company == Company::JavaScript {
        let mut javascript = Stranger::start(&sim, A, id(9));
        tokio::spawn(async move {
            while let Some(((), event)) = javascript.events.recv().await {
                let TrackerEvent::Offer { from, offer_id, sdp, .. } = event else { continue };
                let pending = javascript.transport.answer(&sdp).await.expect("an offer that can be answered");
                javascript.client.answer(javascript.swarm, from, offer_id, pending.sdp().to_owned());
                tokio::spawn(pending.open());
            }
        });
    }
    let mut first = sim.start_with("room", &[A], |node| node.peer_id(id(1))).await;
    sleep(15 * SECOND).await;
    let mut second = sim.start_with("room", &[A], |node| node.peer_id(id(1))).await;
    sleep(PATIENCE).await;
    [&mut first, &mut second].map(|node| {
        let mut signs = Vec::new();
        while let Ok(event) = node.events.try_next() {
            if let Event::TrackerWarning { warning: TrackerWarning::PeerIdInUse { sign, .. }, .. } = event {
                signs.push(sign);
            }
        }
        signs
    })
}

/// A node is never said to be two where it is one and has the tracker under one URL: `hostile_trackers` and
/// `own_id_tests` of the client see to that.
#[tokio::test(start_paused = true)]
async fn a_second_node_under_ones_own_id_is_said_to_be_one_where_the_tracker_lets_it_be_seen() {
    for company in [Company::None, Company::Ours, Company::JavaScript] {
        let [first, second] = seen_within_a_minute(None, company).await;
        assert!(first.is_empty() && second.first() == Some(&PeerIdSign::Refusal), "{company:?}: {first:?} {second:?}");
        for profile in TrackerProfile::all() {
            let [first, second] = seen_within_a_minute(Some(&profile), company).await;
            println!("{} {company:?}: {first:?} {second:?}", profile.name);
            let (sees_first, sees_second) = match profile.same_id {
                SameId::Ignored => (None, Some(&PeerIdSign::Silence)),
                // Offers of the second are answered to the first.
                SameId::HolderStays if company == Company::JavaScript => (Some(&PeerIdSign::Answer), None),
                // Each is a member by turns, or nothing of the second comes to the first.
                SameId::HolderStays | SameId::Evicts => (None, None),
            };
            let seen = (first.first(), second.first());
            assert_eq!(seen, (sees_first, sees_second), "{} among {company:?}", profile.name);
        }
    }
}

/// The tracker cannot tell that from two nodes, and nor can the client of either URL.
#[tokio::test(start_paused = true)]
async fn a_tracker_under_two_urls_is_said_to_be_what_it_may_be_and_peers_are_met_over_one() {
    let sim = Sim::new(22);
    let tracker = sim.start_tracker(A);
    sim.alias(B, &tracker);
    let [mut first, second] = [sim.start("room", &[A, B]).await, sim.start("room", &[A]).await];
    let (mut is_met, mut said) = (false, None);
    while !is_met || said.is_none() {
        match timeout(PATIENCE, first.events.next()).await.expect("an event in time").expect("the node runs") {
            Event::PeerConnected(peer) => is_met |= peer.id() == second.p2pt.peer_id(),
            Event::TrackerWarning { warning: warning @ TrackerWarning::PeerIdInUse { .. }, .. } => {
                said = Some(warning.to_string());
            }
            _ => {}
        }
    }
    let said = said.expect("it was said");
    assert!(said.contains("by this one under another URL of the same tracker"), "{said}");
}
