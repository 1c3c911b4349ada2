//! Two clients meet at the tracker of this crate, over in-memory streams under paused time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use p2pt_proto::{InfoHash, Offer, OfferId, PeerId};
use p2pt_tracker::{
    AnnounceUrl, ClientConfig, ConnectError, Connector, Family, ServerConfig, Socket, TrackerClient, TrackerEvent,
    TrackerService,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const GUARD: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Loopback(TrackerService);

#[async_trait]
impl Connector for Loopback {
    async fn connect(&self, url: &AnnounceUrl, _family: Option<Family>) -> Result<Socket, ConnectError> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(self.0.serve(far));
        Socket::handshake(url, near).await
    }
}

struct Peer {
    id: PeerId,
    client: TrackerClient,
    events: mpsc::Receiver<((), TrackerEvent)>,
}

impl Peer {
    fn start(n: u8, tracker: &TrackerService) -> Self {
        let (events_tx, events) = mpsc::channel(64);
        let url = AnnounceUrl::parse("ws://tracker.test").expect("a sound URL");
        let connector = Arc::new(Loopback(tracker.clone()));
        let id = PeerId::from([n; 20]);
        let client = TrackerClient::start(url, id, ClientConfig::default(), connector, (), events_tx);
        client.join(swarm());
        Self { id, client, events }
    }

    /// Reads events until one is of interest; makes offers and answers meanwhile.
    async fn until(&mut self, interesting: impl Fn(&TrackerEvent) -> bool) -> TrackerEvent {
        loop {
            let (_, event) = timeout(GUARD, self.events.recv()).await.expect("an event in time").expect("more events");
            match &event {
                TrackerEvent::OffersWanted { count, .. } => {
                    let offers = (0..*count)
                        .map(|n| Offer::new(OfferId::from([self.id.as_bytes()[0] * 16 + n as u8; 20]), "v=0"));
                    self.client.offers(swarm(), offers.collect());
                }
                TrackerEvent::Offer { info_hash, from, offer_id, sdp, .. } => {
                    self.client.answer(*info_hash, *from, *offer_id, format!("answer to {sdp}"));
                }
                TrackerEvent::Warning { warning, .. } => panic!("{warning}"),
                _ => {}
            }
            if interesting(&event) {
                return event;
            }
        }
    }
}

fn swarm() -> InfoHash {
    InfoHash::of("swarm")
}

fn is_announced(event: &TrackerEvent) -> bool {
    matches!(event, TrackerEvent::Announced { .. })
}

#[tokio::test(start_paused = true)]
async fn offer_and_answer_cross_without_any_waiting() {
    let start = Instant::now();
    let tracker = TrackerService::new(ServerConfig::default());
    let mut first = Peer::start(1, &tracker);
    first.until(is_announced).await;
    let mut second = Peer::start(2, &tracker);
    let answered = async { second.until(|event| matches!(event, TrackerEvent::Answer { .. })).await };
    let offered = async { first.until(|event| matches!(event, TrackerEvent::Offer { .. })).await };
    let (answer, offer) = tokio::join!(answered, offered);
    assert!(matches!(&offer, TrackerEvent::Offer { from, sdp, .. } if *from == second.id && sdp == "v=0"), "{offer:?}");
    let right = |from: &PeerId, sdp: &str| *from == first.id && sdp == "answer to v=0";
    assert!(matches!(&answer, TrackerEvent::Answer { from, sdp, .. } if right(from, sdp)), "{answer:?}");
    assert_eq!(start.elapsed(), Duration::ZERO);

    tokio::join!(first.client.stop(), second.client.stop());
    assert_eq!(start.elapsed(), Duration::ZERO, "both sides of the closing handshake are quick");
    assert_eq!(tracker.stats().swarms.peers, 0);
}

#[tokio::test(start_paused = true)]
async fn a_member_finds_the_others_by_asking_for_more_peers() {
    let tracker = TrackerService::new(ServerConfig::default());
    let mut first = Peer::start(1, &tracker);
    first.until(is_announced).await;
    let mut second = Peer::start(2, &tracker);
    second.client.set_wanted(swarm(), 0);
    second.until(is_announced).await;
    first.client.announce(swarm());
    let answered = async { first.until(|event| matches!(event, TrackerEvent::Answer { .. })).await };
    let offered = async { second.until(|event| matches!(event, TrackerEvent::Offer { .. })).await };
    let (answer, _) = tokio::join!(answered, offered);
    // No other peer was there at the first announce, so that its offers were still good.
    let TrackerEvent::Answer { offer_id, .. } = answer else { panic!("{answer:?}") };
    assert!(offer_id.as_bytes()[0] < 16 + 5, "{offer_id:?}");
    assert_eq!(first.client.state().counters.offers_sent, 10);
}

#[tokio::test(start_paused = true)]
async fn members_stay_members() {
    let tracker = TrackerService::new(ServerConfig::default());
    let mut first = Peer::start(1, &tracker);
    for _ in 0..30 {
        first.until(is_announced).await;
        assert_eq!(tracker.stats().swarms.peers, 1);
    }
    assert_eq!(first.client.state().counters.connects, 1);
}
