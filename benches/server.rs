//! The tracker's state machine with swarms of many sizes: frames in, frames out.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use p2pt_benches::{OFFERS, announce, base, peer, swarm};
use p2pt_proto::{AnnounceEvent, AnswerRequest, ClientMessage, InfoHash, ScrapeRequest, TrackerMessage};
use p2pt_tracker::{ConnectionId, Swarms, SwarmsConfig, SwarmsInput, SwarmsOutput};

fn main() {
    divan::main();
}

const MEMBERS: [u64; 3] = [10, 1_000, 9_000];

/// How often each member announces, as usual.
const INTERVAL: Duration = Duration::from_secs(120);

/// A tracker with one swarm, whose members announce in turn, each over a connection of its own.
struct Tracker {
    swarms: Swarms,
    members: u64,
    start: Instant,
    /// Announces so far.
    announces: u64,
}

impl Tracker {
    fn new(members: u64) -> Self {
        let mut tracker =
            Self { swarms: Swarms::new(SwarmsConfig::default(), 7), members, start: base(), announces: 0 };
        for member in 0..members {
            tracker
                .swarms
                .handle_input(tracker.start, SwarmsInput::Opened { conn: ConnectionId(member), address: None });
            let (conn, frame) = tracker.next_announce(false);
            assert_eq!(tracker.receive(conn, &frame), 1, "a reply");
        }
        tracker
    }

    fn now(&self) -> Instant {
        self.start + INTERVAL.mul_f64(self.announces as f64 / self.members as f64)
    }

    fn next_announce(&mut self, with_offers: bool) -> (ConnectionId, String) {
        let member = self.announces % self.members;
        let mut announce = announce(member, self.announces * OFFERS);
        if !with_offers {
            announce.offers = None;
        }
        self.announces += 1;
        (ConnectionId(member), ClientMessage::Announce(announce).encode())
    }

    /// Takes a frame in, and says how many come out.
    fn receive(&mut self, conn: ConnectionId, frame: &str) -> usize {
        self.swarms.handle_input(self.now(), SwarmsInput::Received { conn, frame: frame.as_bytes() });
        std::iter::from_fn(|| self.swarms.poll_output()).map(black_box).count()
    }

    /// Lets a member announce, and answers one of its offers as its recipient does.
    fn next_answer(&mut self) -> (ConnectionId, String) {
        let (conn, frame) = self.next_announce(true);
        self.swarms.handle_input(self.now(), SwarmsInput::Received { conn, frame: frame.as_bytes() });
        let mut answer = None;
        while let Some(output) = self.swarms.poll_output() {
            let SwarmsOutput::Send { conn, text } = output else { continue };
            if let Ok(TrackerMessage::Offer(offer)) = TrackerMessage::decode(text) {
                let (to_peer_id, offer_id, sdp) = (offer.peer_id, offer.offer_id, offer.sdp);
                let answerer = AnswerRequest::new(swarm(), peer(conn.0), to_peer_id, offer_id, sdp);
                answer = Some((conn, ClientMessage::Answer(answerer).encode()));
            }
        }
        answer.expect("an offer")
    }
}

/// Measures taking frames in; `prepare` makes each, and `outputs` come out.
fn receive(
    bencher: Bencher<'_, '_>,
    members: u64,
    outputs: usize,
    prepare: impl Fn(&mut Tracker) -> (ConnectionId, String),
) {
    let tracker = RefCell::new(Tracker::new(members));
    bencher.with_inputs(|| prepare(&mut tracker.borrow_mut())).bench_local_refs(|(conn, frame)| {
        assert_eq!(tracker.borrow_mut().receive(*conn, frame), outputs);
    });
}

#[divan::bench(args = MEMBERS)]
fn announce_with_5_offers(bencher: Bencher<'_, '_>, members: u64) {
    receive(bencher, members, 1 + OFFERS as usize, |tracker| tracker.next_announce(true));
}

#[divan::bench(args = MEMBERS)]
fn announce_without_offers(bencher: Bencher<'_, '_>, members: u64) {
    receive(bencher, members, 1, |tracker| tracker.next_announce(false));
}

#[divan::bench(args = MEMBERS, sample_size = 10)]
fn answer(bencher: Bencher<'_, '_>, members: u64) {
    receive(bencher, members, 1, Tracker::next_answer);
}

#[divan::bench(args = MEMBERS)]
fn join_and_leave(bencher: Bencher<'_, '_>, members: u64) {
    let mut tracker = Tracker::new(members);
    let mut newcomer = announce(members, 0);
    newcomer.offers = None;
    let join = ClientMessage::Announce(newcomer.clone()).encode();
    newcomer.event = Some(AnnounceEvent::Stopped);
    let leave = ClientMessage::Announce(newcomer).encode();
    let mut conn = ConnectionId(members);
    bencher.bench_local(|| {
        conn.0 += 1;
        let now = tracker.now();
        tracker.swarms.handle_input(now, SwarmsInput::Opened { conn, address: None });
        assert_eq!(tracker.receive(conn, &join) + tracker.receive(conn, &leave), 2);
        tracker.swarms.handle_input(now, SwarmsInput::Closed { conn });
    });
}

/// Of one swarm, in a tracker that has as many of them as there are arguments.
#[divan::bench(args = [10, 1_000, 10_000])]
fn scrape(bencher: Bencher<'_, '_>, swarms: u64) {
    let mut tracker = Tracker::new(1);
    let mut info_hash = swarm();
    for number in 1..swarms {
        let conn = ConnectionId(number);
        tracker.swarms.handle_input(tracker.start, SwarmsInput::Opened { conn, address: None });
        let mut announce = announce(number, 0);
        announce.offers = None;
        announce.info_hash = InfoHash::of(&number.to_string());
        info_hash = announce.info_hash;
        assert_eq!(tracker.receive(conn, &ClientMessage::Announce(announce).encode()), 1);
    }
    let frame = ClientMessage::Scrape(ScrapeRequest::new([info_hash])).encode();
    bencher.bench_local(|| assert_eq!(tracker.receive(ConnectionId(0), &frame), 1));
}
