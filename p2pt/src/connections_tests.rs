use std::task::{Context, Waker};
use std::time::Duration;

use p2pt_tracker::{ClientConfig, WebSocketConnector};
use p2pt_transport::Transport;
use p2pt_transport::memory::MemoryNetwork;
use rand::SeedableRng as _;
use tokio::sync::mpsc;

use super::*;
use crate::engine::MembershipId;
use crate::swarm::Identity;

const A: TrackerId = TrackerId(1);
const B: TrackerId = TrackerId(2);

struct Bench {
    connections: Connections,
    network: MemoryNetwork,
    now: Instant,
}

impl Bench {
    fn new(connections_per_peer: usize, max_peers: usize) -> Self {
        let identity = Identity { membership: MembershipId::default(), key: "room".into() };
        let shared = Arc::new(SwarmShared::new(identity, Arc::default()));
        let config = MeshConfig { connections_per_peer, max_peers };
        let mut connections = Connections::new(
            config,
            shared,
            Arc::new(Settings::alone(1000)),
            Default::default(),
            peer(0),
            StdRng::seed_from_u64(1),
        );
        let now = crate::now();
        for tracker in [A, B] {
            connections.add_tracker(now, tracker, url(tracker));
        }
        Self { connections, network: MemoryNetwork::new(1), now }
    }

    /// What is to be done, but for the numbers of offers that trackers are to have.
    fn actions(&mut self) -> Vec<Action> {
        let actions = std::iter::from_fn(|| self.connections.poll_action());
        actions.filter(|action| !matches!(action, Action::SetWanted { .. })).collect()
    }

    fn offer(&mut self, from: u8, tracker: TrackerId) -> Vec<Action> {
        let (sender, _) = mpsc::channel(1);
        let (config, connector) = (ClientConfig::default(), Arc::new(WebSocketConnector::default()));
        let client = TrackerClient::start(url(tracker), peer(0), config, connector, (), sender);
        let offer = (Arc::new(client), OfferId::from([from; 20]), p2pt_trust::mark_description(""));
        self.connections.offer(self.now, peer(from), tracker, offer);
        self.actions()
    }

    /// Takes an offer that came by a tracker through to an open channel, whose other end is returned.
    async fn connect(&mut self, from: u8, tracker: TrackerId) -> Channel {
        let actions = self.offer(from, tracker);
        let [Action::Answer { attempt, .. }] = actions[..] else { panic!("it is answered") };
        let (near, far) = self.channel().await;
        self.connections.attempt_ended(self.now, attempt, Ok(Opened { channel: near, proven: None }));
        far
    }

    async fn channel(&self) -> (Channel, Channel) {
        let (near, far) = (self.network.transport(), self.network.transport());
        let offer = near.offer().await.expect("an offer");
        let answer = far.answer(offer.sdp()).await.expect("an answer");
        let sdp = answer.sdp().to_owned();
        tokio::try_join!(offer.open(&sdp), answer.open()).expect("a channel")
    }

    fn run(&mut self) -> (Peer, Arc<PeerChannel>) {
        match self.actions().pop() {
            Some(Action::Run { peer, channel, .. }) => (peer, channel),
            _ => panic!("a channel runs"),
        }
    }

    /// Has the application read all its events.
    fn read_events(&self) {
        let mut context = Context::from_waker(Waker::noop());
        while self.connections.shared.queue.poll_next(&mut context).is_ready() {}
    }
}

fn peer(n: u8) -> PeerId {
    PeerId::from([n; 20])
}

fn url(tracker: TrackerId) -> AnnounceUrl {
    format!("ws://{}.test", tracker.0).parse().expect("a URL")
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_gone_when_its_last_channel_is_gone_and_read_to_the_end() {
    let mut bench = Bench::new(1, 100);
    let _far = bench.connect(1, A).await;
    let (handle, channel) = bench.run();
    assert!(handle.is_connected());
    bench.connections.channel_closed(bench.now, channel.id, ChannelClosed::Remote);
    assert!(!handle.is_connected());
    assert_eq!(bench.connections.slots.len(), 1, "its reader goes on");
    bench.connections.reader_ended(&handle);
    assert!(bench.connections.slots.is_empty());

    // The other way round.
    let _far = bench.connect(1, A).await;
    let (handle, channel) = bench.run();
    bench.connections.reader_ended(&handle);
    assert_eq!(bench.connections.slots.len(), 1, "its channel goes on");
    bench.connections.channel_closed(bench.now, channel.id, ChannelClosed::Remote);
    assert!(bench.connections.slots.is_empty());
    // What comes late changes nothing.
    bench.connections.reader_ended(&handle);
    bench.connections.channel_closed(bench.now, channel.id, ChannelClosed::Remote);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_comes_back_before_it_was_read_to_the_end_stays_the_same() {
    let mut bench = Bench::new(1, 100);
    let _far = bench.connect(1, A).await;
    let (handle, channel) = bench.run();
    bench.connections.channel_closed(bench.now, channel.id, ChannelClosed::Remote);
    let _far = bench.connect(1, A).await;
    let (again, _) = bench.run();
    assert_eq!(handle, again);
    bench.connections.reader_ended(&handle);
    assert!(bench.connections.slots.len() == 1 && handle.is_connected());
}

#[tokio::test(start_paused = true)]
async fn leaving_hands_out_every_channel_and_ends_every_peer() {
    let mut bench = Bench::new(2, 100);
    let _far_one = bench.connect(1, A).await;
    let (one, _) = bench.run();
    let _far_two = bench.connect(2, A).await;
    let (two, _) = bench.run();
    assert_eq!(bench.connections.leave().len(), 2);
    assert!(!one.is_connected() && !two.is_connected());
    assert!(bench.connections.slots.is_empty());
    assert_eq!(bench.connections.shared.queue.known(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_abruptly_has_trackers_asked() {
    for (reason, asks) in [(ChannelClosed::Remote, false), (ChannelClosed::Timeout(Duration::from_secs(5)), true)] {
        let mut bench = Bench::new(1, 100);
        bench.connections.announced(bench.now, A, 1);
        let _far = bench.connect(1, B).await;
        let (_, channel) = bench.run();
        bench.connections.announced(bench.now, B, 2);
        bench.connections.channel_closed(bench.now, channel.id, reason.clone());
        while let Some(due) = bench.connections.poll_timeout() {
            bench.now = due;
            bench.connections.handle_timeout(due);
        }
        let announces = bench.actions().iter().any(|action| matches!(action, Action::Announce { tracker: A }));
        assert_eq!(announces, asks, "after {reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_swarm_without_a_place_waits_for_the_application_to_read_who_has_gone() {
    let mut bench = Bench::new(1, 1);
    let offers = |bench: &mut Bench| {
        let actions = std::iter::from_fn(|| bench.connections.poll_action());
        actions.filter(|action| matches!(action, Action::SetWanted { offers: 1.., .. })).count()
    };
    let _one = bench.connect(1, A).await;
    bench.read_events();
    let (handle, channel) = bench.run();
    assert!(!bench.connections.waits_for_application(), "the peer is there");
    bench.connections.channel_closed(bench.now, channel.id, ChannelClosed::Remote);
    bench.connections.reader_ended(&handle);
    bench.connections.refresh(bench.now);
    assert!(bench.connections.waits_for_application());
    assert_eq!(offers(&mut bench), 0);
    bench.read_events();
    bench.connections.refresh(bench.now);
    assert!(!bench.connections.waits_for_application());
    assert_eq!(offers(&mut bench), 2, "at both trackers");
}

#[tokio::test(start_paused = true)]
async fn what_a_removed_tracker_has_led_to_is_reported_with_its_name_and_then_forgotten() {
    let mut bench = Bench::new(1, 100);
    let actions = bench.offer(1, A);
    let [Action::Answer { attempt, .. }] = actions[..] else { panic!("it is answered") };
    bench.connections.remove_tracker(bench.now, A);
    bench.connections.attempt_ended(bench.now, attempt, Err(TransportError::ShutDown.into()));
    let mut context = Context::from_waker(Waker::noop());
    let event = bench.connections.shared.queue.poll_next(&mut context);
    let std::task::Poll::Ready(Some(crate::Event::ConnectionFailed(failed))) = event else { panic!("{event:?}") };
    assert_eq!(failed.tracker, url(A));
    assert_eq!(bench.connections.urls.iter().map(|(id, _)| id).collect::<Vec<_>>(), [B]);
    assert!(bench.connections.removed.is_empty());
}

#[test]
fn an_error_that_quotes_a_description_is_logged_without_it() {
    let quoting = TransportError::InvalidSdp("a=ice-pwd:secret is odd".to_owned());
    assert!(quoting.to_string().contains("secret"));
    let logged = |error| AttemptError::Transport(error).logged().to_string();
    assert_eq!(logged(quoting), "unusable SDP");
    assert_eq!(logged(TransportError::ShutDown), TransportError::ShutDown.to_string());
}
