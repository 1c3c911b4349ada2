use p2pt_proto::OfferId;
use p2pt_tracker::{ClientConfig, TrackerClient, WebSocketConnector};
use p2pt_transport::Transport;
use p2pt_transport::memory::MemoryNetwork;
use tokio::sync::mpsc;

use super::*;
use crate::engine::SwarmId;
use crate::swarm::Identity;

const OURS: bool = true;

struct Bench {
    members: Members,
    network: MemoryNetwork,
    now: Instant,
}

impl Bench {
    fn new(connections_per_peer: usize, max_peers: usize) -> Self {
        let identity = Identity { swarm: SwarmId::default(), key: "room".into() };
        let settings = Settings::alone(1000);
        let shared = Arc::new(SwarmShared::new(identity));
        let members =
            Members::new(MeshConfig { connections_per_peer, max_peers }, shared, Arc::new(settings), Arc::default());
        Self { members, network: MemoryNetwork::new(1), now: crate::now() }
    }

    fn wanted(&mut self, tracker: &str) -> Option<usize> {
        self.members.poll_wanted(self.now, &url(tracker))
    }

    fn count(&mut self, tracker: &str, members: usize) {
        self.members.count(self.now, url(tracker), members);
    }

    fn offer(&mut self, from: u8, tracker: &str) -> Vec<Action> {
        let url = url(tracker);
        let (sender, _) = mpsc::channel(1);
        let (config, connector) = (ClientConfig::default(), Arc::new(WebSocketConnector::default()));
        let client = TrackerClient::start(url.clone(), peer(0), config, connector, (), sender);
        let (tracker, via) = (url, (Arc::new(client), OfferId::from([from; 20])));
        self.members.offer(self.now, peer(from), RemoteOffer { tracker, via, sdp: String::new(), ours: OURS });
        std::iter::from_fn(|| self.members.poll_action()).collect()
    }

    /// Takes an offer that came by a tracker through to an open link, whose other end is returned.
    async fn connect(&mut self, from: u8, tracker: &str) -> Channel {
        let actions = self.offer(from, tracker);
        let [Action::Answer { attempt, .. }] = actions[..] else { panic!("it is answered") };
        let (near, far) = self.channel().await;
        self.members.attempt_ended(self.now, attempt, Ok(near));
        far
    }

    async fn channel(&self) -> (Channel, Channel) {
        let (near, far) = (self.network.transport(), self.network.transport());
        let offer = near.offer().await.expect("an offer");
        let answer = far.answer(offer.sdp()).await.expect("an answer");
        let sdp = answer.sdp().to_owned();
        tokio::try_join!(offer.open(&sdp), answer.open()).expect("a channel")
    }

    fn run(&mut self) -> (Peer, Arc<Link>) {
        match self.members.poll_action() {
            Some(Action::Run { peer, link, .. }) => (peer, link),
            _ => panic!("a link runs"),
        }
    }

    /// Lets the time pass that remains until the next timeout; whether an announce follows, and after how long.
    fn next_announce(&mut self) -> Option<Duration> {
        let due = self.members.poll_timeout()?;
        let after = due - self.now;
        self.now = due;
        self.members.handle_timeout(due);
        matches!(self.members.poll_action(), Some(Action::Announce { .. })).then_some(after)
    }
}

fn peer(n: u8) -> PeerId {
    PeerId::from([n; 20])
}

fn url(name: &str) -> AnnounceUrl {
    format!("ws://{name}.test").parse().expect("a URL")
}

#[tokio::test(start_paused = true)]
async fn offers_are_wanted_while_a_tracker_knows_strangers() {
    let mut bench = Bench::new(1, 100);
    assert_eq!(bench.wanted("a"), Some(MOST_OFFERS));
    assert_eq!(bench.wanted("a"), None, "said once");
    bench.count("a", 1);
    assert_eq!(bench.wanted("a"), Some(0));
    bench.count("a", 3);
    assert_eq!(bench.wanted("a"), Some(2));
    bench.count("a", 50);
    assert_eq!(bench.wanted("a"), Some(MOST_OFFERS));
    bench.count("a", 2);
    let _one = bench.connect(1, "a").await;
    assert_eq!(bench.wanted("a"), Some(0));
    // The same peer may be the one member of another tracker, or not.
    bench.count("b", 2);
    assert_eq!(bench.wanted("b"), Some(PROBES));
    assert!(bench.offer(1, "b").iter().all(|action| !matches!(action, Action::Answer { .. })));
    assert_eq!(bench.wanted("b"), Some(0));
    // A tracker that was removed and added again begins anew.
    bench.members.forget_tracker(&url("b"));
    assert_eq!(bench.wanted("b"), Some(MOST_OFFERS));
}

#[tokio::test(start_paused = true)]
async fn a_full_swarm_wants_offers_only_for_missing_links() {
    let mut bench = Bench::new(1, 1);
    bench.count("a", 10);
    assert_eq!(bench.wanted("a"), Some(1));
    let _one = bench.connect(1, "a").await;
    assert_eq!(bench.wanted("a"), Some(0));

    let mut bench = Bench::new(2, 1);
    let _one = bench.connect(1, "a").await;
    bench.count("a", 10);
    assert_eq!(bench.wanted("a"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn strangers_are_hunted_for_a_while() {
    let mut bench = Bench::new(1, 100);
    bench.count("a", 1);
    assert_eq!(bench.members.poll_timeout(), None);
    for seconds in [15, 30, 60] {
        bench.count("a", 2);
        assert_eq!(bench.next_announce(), Some(Duration::from_secs(seconds)));
        assert_eq!(bench.members.poll_timeout(), None, "once for each answer");
    }
    bench.count("a", 2);
    assert_eq!(bench.members.poll_timeout(), None, "from here on the interval asks");
    // They left; others came.
    bench.count("a", 1);
    bench.count("a", 3);
    assert_eq!(bench.next_announce(), Some(Duration::from_secs(15)));
    // One was met; the other is hunted anew.
    let _one = bench.connect(1, "a").await;
    bench.run();
    bench.count("a", 3);
    assert_eq!(bench.next_announce(), Some(Duration::from_secs(15)));
}

#[tokio::test(start_paused = true)]
async fn the_more_members_a_tracker_knows_the_longer_strangers_are_hunted() {
    // Members, and how often each time between two announces is kept to.
    for (members, each) in [(6, 2), (40, 14), (1_000_000, MOST_HUNTS)] {
        let mut bench = Bench::new(1, 100);
        for seconds in [15, 30, 60] {
            for n in 0..each {
                bench.count("a", members);
                assert_eq!(bench.next_announce(), Some(Duration::from_secs(seconds)), "{n} of {members}");
            }
        }
        bench.count("a", members);
        assert_eq!(bench.members.poll_timeout(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_met_speeds_the_hunt_at_that_tracker_alone() {
    let mut bench = Bench::new(1, 100);
    for tracker in ["a", "b"] {
        for _ in 0..2 {
            bench.count(tracker, 3);
            bench.next_announce();
        }
        bench.count(tracker, 3);
    }
    let at = |bench: &Bench, tracker: &str| bench.members.trackers[&url(tracker)].hunt.map(|at| at - bench.now);
    let before = at(&bench, "b");
    let _one = bench.connect(1, "a").await;
    assert_eq!((at(&bench, "a"), at(&bench, "b")), (Some(HUNT_FIRST), before));
    assert!(before > Some(HUNT_FIRST));
}

#[tokio::test(start_paused = true)]
async fn a_swarm_that_wants_nobody_hunts_nobody() {
    let mut bench = Bench::new(1, 0);
    bench.wanted("a");
    bench.count("a", 2);
    assert_eq!(bench.next_announce(), None);
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_gone_when_its_last_link_is_gone_and_read_to_the_end() {
    let mut bench = Bench::new(1, 100);
    let _far = bench.connect(1, "a").await;
    let (handle, link) = bench.run();
    assert!(handle.is_connected());
    bench.members.link_closed(bench.now, link.id, ChannelClosed::Remote);
    assert!(!handle.is_connected());
    assert_eq!(bench.members.slots.len(), 1, "its reader goes on");
    bench.members.reader_ended(peer(1));
    assert!(bench.members.slots.is_empty());

    // The other way round.
    let _far = bench.connect(1, "a").await;
    let (_, link) = bench.run();
    bench.members.reader_ended(peer(1));
    assert_eq!(bench.members.slots.len(), 1, "its link goes on");
    bench.members.link_closed(bench.now, link.id, ChannelClosed::Remote);
    assert!(bench.members.slots.is_empty());
    // What comes late changes nothing.
    bench.members.reader_ended(peer(1));
    bench.members.link_closed(bench.now, link.id, ChannelClosed::Remote);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_comes_back_before_it_was_read_to_the_end_stays_the_same() {
    let mut bench = Bench::new(1, 100);
    let _far = bench.connect(1, "a").await;
    let (handle, link) = bench.run();
    bench.members.link_closed(bench.now, link.id, ChannelClosed::Remote);
    let _far = bench.connect(1, "a").await;
    let (again, _) = bench.run();
    assert_eq!(handle, again);
    bench.members.reader_ended(peer(1));
    assert!(bench.members.slots.len() == 1 && handle.is_connected());
}

#[tokio::test(start_paused = true)]
async fn leaving_hands_out_every_link_and_ends_every_peer() {
    let mut bench = Bench::new(2, 100);
    let _far_one = bench.connect(1, "a").await;
    let (one, _) = bench.run();
    let _far_two = bench.connect(2, "a").await;
    let (two, _) = bench.run();
    assert_eq!(bench.members.leave().len(), 2);
    assert!(!one.is_connected() && !two.is_connected());
    assert!(bench.members.slots.is_empty());
    assert_eq!(bench.members.shared.queue.known(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_lost_without_a_farewell_is_asked_for_soon_but_not_over_and_over() {
    let mut bench = Bench::new(1, 100);
    let silence = ChannelClosed::Timeout(Duration::from_secs(5));
    let mut asked = Vec::new();
    for (from, reason) in [(1, ChannelClosed::Remote), (2, silence.clone()), (3, silence)] {
        bench.count("a", 1);
        let _far = bench.connect(from, "a").await;
        let (_, link) = bench.run();
        bench.count("a", 2);
        bench.members.link_closed(bench.now, link.id, reason);
        asked.push(bench.next_announce());
    }
    assert_eq!(asked, [None, Some(LOSS_HUNT), Some(HUNT_FIRST)]);
}

#[path = "members_work_tests.rs"]
mod work;
