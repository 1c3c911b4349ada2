use std::task::{Context, Waker};
use std::time::Duration;

use p2pt_tracker::{ClientConfig, WebSocketConnector};
use p2pt_transport::Transport;
use p2pt_transport::memory::MemoryNetwork;
use p2pt_trust::{
    Context as Place, Features, NodeIdentity, NodeKey, Nonce, Policy, SafetyCode, Salt, SdpHash, Transcript,
    sign_description,
};
use rand::SeedableRng as _;
use tokio::sync::mpsc;

use super::*;
use crate::engine::MembershipId;
use crate::swarm::Identity;

const A: TrackerId = TrackerId(1);
const B: TrackerId = TrackerId(2);
const C: TrackerId = TrackerId(3);

struct Bench {
    connections: Connections,
    network: MemoryNetwork,
    now: Instant,
}

impl Bench {
    fn new(connections_per_peer: usize, max_peers: usize) -> Self {
        Self::with_trust(connections_per_peer, max_peers, NodeTrust::default())
    }

    /// Of a node that has a key, and waits until all its three trackers show that of a peer.
    fn agreeing() -> Self {
        let mut bench = Self::with_trust(1, 100, NodeTrust::new(Some(identity(0)), Policy::Open, 3));
        bench.connections.add_tracker(bench.now, C, url(C));
        bench
    }

    fn with_trust(connections_per_peer: usize, max_peers: usize, trust: NodeTrust) -> Self {
        let identity = Identity { membership: MembershipId::default(), key: "room".into() };
        let shared = Arc::new(SwarmShared::new(identity, Arc::default()));
        let config = MeshConfig { connections_per_peer, max_peers };
        let mut connections = Connections::new(
            config,
            shared,
            Arc::new(Settings::alone(1000)),
            (Arc::default(), Arc::new(trust)),
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
        self.offer_of(peer(from), tracker, p2pt_trust::mark_description(""))
    }

    /// A new offer of a peer with a key.
    fn signed_offer(&mut self, from: u8, tracker: TrackerId) -> Vec<Action> {
        let (author, nonce) = (identity(from), Nonce::draw(&mut rand::rng()));
        let context = Place::offer(p2pt_proto::InfoHash::of("room"), author.peer_id());
        let features = Features::of([Features::AUTH]);
        let sdp = sign_description("v=0\r\n", &context, &author, &features, &nonce.commitment());
        self.offer_of(author.peer_id(), tracker, sdp.expect("it is its own"))
    }

    fn offer_of(&mut self, from: PeerId, tracker: TrackerId, sdp: String) -> Vec<Action> {
        let (sender, _) = mpsc::channel(1);
        let (config, connector) = (ClientConfig::default(), Arc::new(WebSocketConnector::default()));
        let client = TrackerClient::start(url(tracker), peer(0), config, connector, (), sender);
        let offer = (Arc::new(client), OfferId::from([1; 20]), sdp);
        self.connections.offer(self.now, from, tracker, offer);
        self.actions()
    }

    /// An attempt with a peer that has a key has succeeded.
    async fn open_signed(&mut self, from: u8, attempt: AttemptId) -> Channel {
        let (near, far) = self.channel().await;
        let transcript = Transcript::new(&SdpHash::of("offer"), &SdpHash::of("answer"));
        let nonce = Nonce::from([from; 32]);
        let safety_code = SafetyCode::new(&transcript, &nonce, &nonce);
        let label = near.info.label.clone().into();
        let proven = Proven { key: identity(from).public_key(), safety_code, transcript, label, greeting: None };
        let opened = Opened { channel: near, proven: Some(proven) };
        self.connections.attempt_ended(self.now, attempt, Ok(opened));
        far
    }

    /// A peer with a key that waits to be let in, with two channels, of which one is one too many; the ids of both.
    async fn waiting(&mut self) -> (Vec<Channel>, Vec<ChannelId>) {
        let mut attempts = Vec::new();
        for tracker in [A, B] {
            let [Action::Answer { attempt, .. }] = self.signed_offer(1, tracker)[..] else { panic!("it is answered") };
            attempts.push(attempt);
            // The first attempt holds back the offer by the other tracker for so long.
            self.now += Duration::from_secs(4);
            self.connections.handle_timeout(self.now);
        }
        let mut far = Vec::new();
        for attempt in attempts {
            far.push(self.open_signed(1, attempt).await);
        }
        let watched = self.actions().into_iter().map(|action| match action {
            Action::Watch { channel } => channel.id,
            _ => panic!("a channel is watched, and not used"),
        });
        (far, watched.collect())
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

fn identity(n: u8) -> NodeIdentity {
    NodeIdentity::with_salt(NodeKey::from_bytes(&[n; 32]), Salt::from([n; 16]))
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

#[tokio::test(start_paused = true)]
async fn a_peer_that_waits_keeps_what_it_sent_over_a_channel_that_is_one_too_many() {
    let mut bench = Bench::agreeing();
    let (_far, ids) = bench.waiting().await;
    assert_eq!(ids.len(), 2);
    let mut used = Vec::new();
    for action in bench.signed_offer(1, C) {
        used.push(match action {
            Action::Run { channel, .. } => ("run", channel.id),
            Action::Retire { channel } => ("retire", channel.id),
            _ => continue,
        });
    }
    let run: Vec<ChannelId> = used.iter().filter(|(what, _)| *what == "run").map(|(_, id)| *id).collect();
    let retired = used.iter().position(|(what, _)| *what == "retire").expect("one of them retires");
    assert!(run == ids && used.len() == 3 && used[..retired].contains(&("run", used[retired].1)), "{used:?}");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_closes_while_its_peer_waits_is_read_when_the_peer_is_let_in() {
    let mut bench = Bench::agreeing();
    let (_far, ids) = bench.waiting().await;
    bench.connections.channel_closed(bench.now, ids[0], ChannelClosed::Remote);
    let run = |actions: Vec<Action>| actions.iter().filter(|action| matches!(action, Action::Run { .. })).count();
    assert_eq!(run(bench.signed_offer(1, C)), 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_all_whose_channels_close_waits_no_more() {
    let mut bench = Bench::agreeing();
    let (_far, ids) = bench.waiting().await;
    for (id, left) in ids.into_iter().zip([1, 0]) {
        bench.connections.channel_closed(bench.now, id, ChannelClosed::Remote);
        assert_eq!((bench.connections.candidates.len(), bench.connections.mesh.connected()), (left, left));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_waits_to_be_let_in_again_is_parted_with() {
    let mut bench = Bench::agreeing();
    let (_far, ids) = bench.waiting().await;
    let _ = bench.signed_offer(1, C);
    // That offer is forgotten.
    bench.now += Duration::from_secs(4);
    bench.connections.handle_timeout(bench.now);
    for id in ids {
        bench.connections.channel_closed(bench.now, id, ChannelClosed::Remote);
    }
    assert_eq!(bench.connections.slots.len(), 1, "its readers go on");
    let _ = bench.actions();
    let [Action::Answer { attempt, .. }] = bench.signed_offer(1, A)[..] else { panic!("it is answered") };
    let _again = bench.open_signed(1, attempt).await;
    assert!(bench.actions().iter().all(|action| !matches!(action, Action::Run { .. })), "it waits again");
    assert_eq!(bench.connections.part(bench.now, identity(1).peer_id()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_waits_under_an_identifier_does_not_come_in_under_another() {
    let mut bench = Bench::agreeing();
    let (_far, ids) = bench.waiting().await;
    let membership = MembershipId::default();
    bench.connections.shared.set_identity(Identity { membership, key: "elsewhere".into() });
    bench.connections.change_identifier(bench.now);
    let closed = bench.actions().into_iter().filter_map(|action| match action {
        Action::Close { channel } => Some(channel.id),
        _ => None,
    });
    assert_eq!(closed.collect::<Vec<_>>(), ids);
    assert_eq!(bench.connections.mesh.connected(), 0);
}

#[tokio::test(start_paused = true)]
async fn peers_that_wait_do_not_hide_how_many_linger() {
    let mut bench = Bench::agreeing();
    let (_far, _) = bench.waiting().await;
    let gone = bench
        .connections
        .shared
        .queue
        .entry((peer(9), None), || Peer::new(peer(9), None, bench.connections.settings.clone()));
    gone.shared().inbox.hand_out();
    bench.connections.refresh(bench.now);
    assert_eq!((bench.connections.mesh.connected(), bench.connections.lingering), (1, 1));
}
