//! The state machine of one tracker's client, in one swarm and in many.

use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use p2pt_benches::{OFFERS, base, offer_id, peer, sdp, swarm};
use p2pt_proto::{AnnounceReply, ForwardedAnswer, ForwardedOffer, InfoHash, Offer, TrackerMessage};
use p2pt_tracker::{AnnounceUrl, ClientConfig, Frame, Input, Output, Route, Session, SocketId, TrackerEvent};

fn main() {
    divan::main();
}

const SWARMS: [u64; 2] = [1, 100];

struct Client {
    session: Session,
    socket: SocketId,
    now: Instant,
    offers: u64,
}

/// What one input led to.
#[derive(Default)]
struct Led {
    frames: usize,
    offers_wanted: usize,
    offers: usize,
    answers: usize,
}

impl Client {
    /// A client that is a member of all its swarms, and may announce as often as it likes.
    fn new(swarms: u64) -> Self {
        let mut config = ClientConfig::default();
        config.seed = Some(7);
        config.request_spacing = Duration::ZERO;
        config.max_incoming_offers_per_minute = u32::MAX;
        let (now, url) = (base(), AnnounceUrl::parse("wss://tracker.example.org").expect("a URL"));
        let mut session = Session::new(url, peer(0), config, now);
        session.handle_input(now, Input::Join(swarm()));
        let Some(Output::Connect { socket, .. }) = session.poll_output() else { panic!("no socket") };
        let mut client = Self { session, socket, now, offers: 0 };
        client.input(Input::Connected { socket, route: Route::default() });
        for number in 1..swarms {
            client.input(Input::Join(InfoHash::of(&number.to_string())));
        }
        for info_hash in (1..swarms).map(|number| InfoHash::of(&number.to_string())).chain([swarm()]) {
            let offers = client.some_offers();
            assert_eq!(client.input(Input::Offers { info_hash, offers }).frames, 1);
            client.receive(&reply(info_hash));
        }
        client
    }

    fn some_offers(&mut self) -> Vec<Offer> {
        self.offers += OFFERS;
        (self.offers - OFFERS..self.offers).map(|n| Offer::new(offer_id(n), sdp(n))).collect()
    }

    fn input(&mut self, input: Input) -> Led {
        self.session.handle_input(self.now, input);
        let mut led = Led::default();
        while let Some(output) = self.session.poll_output() {
            if let Output::Send { socket, frame: Frame::Text(text) } = output {
                black_box(text);
                led.frames += 1;
                self.session.handle_input(self.now, Input::Sent(socket));
            }
        }
        while let Some(event) = self.session.poll_event() {
            match black_box(event) {
                TrackerEvent::OffersWanted { .. } => led.offers_wanted += 1,
                TrackerEvent::Offer { .. } => led.offers += 1,
                TrackerEvent::Answer { .. } => led.answers += 1,
                _ => {}
            }
        }
        black_box(self.session.poll_timeout());
        led
    }

    fn receive(&mut self, message: &str) -> Led {
        self.input(Input::Received { socket: self.socket, frame: message.as_bytes().to_vec() })
    }
}

fn reply(info_hash: InfoHash) -> String {
    let mut reply = AnnounceReply::new(info_hash);
    reply.interval = Some(Duration::from_secs(120));
    reply.complete = Some(3);
    reply.incomplete = Some(40);
    TrackerMessage::Announced(reply).encode()
}

fn answer(n: u64) -> String {
    let (info_hash, offer_id) = (swarm(), offer_id(n));
    TrackerMessage::Answer(ForwardedAnswer::new(info_hash, peer(1 + n), offer_id, sdp(n))).encode()
}

/// From the wish for an announce to the answers of all its offers.
#[divan::bench(args = SWARMS)]
fn announce_whose_5_offers_are_answered(bencher: Bencher<'_, '_>, swarms: u64) {
    let client = std::cell::RefCell::new(Client::new(swarms));
    let reply = reply(swarm());
    let prepare = || {
        let mut client = client.borrow_mut();
        let first = client.offers;
        (client.some_offers(), (first..first + OFFERS).map(answer).collect::<Vec<_>>())
    };
    bencher.with_inputs(prepare).bench_local_values(|(offers, answers)| {
        let mut client = client.borrow_mut();
        assert_eq!(client.input(Input::Announce(swarm())).offers_wanted, 1);
        assert_eq!(client.input(Input::Offers { info_hash: swarm(), offers }).frames, 1);
        client.receive(&reply);
        assert_eq!(answers.iter().map(|answer| client.receive(answer).answers).sum::<usize>(), OFFERS as usize);
    });
}

/// A stranger's, to be answered or not.
#[divan::bench(args = SWARMS)]
fn offer(bencher: Bencher<'_, '_>, swarms: u64) {
    let mut client = Client::new(swarms);
    let (info_hash, peer_id, offer_id, sdp) = (swarm(), peer(1), offer_id(1), sdp(1));
    let frame = TrackerMessage::Offer(ForwardedOffer::new(info_hash, peer_id, offer_id, sdp)).encode();
    bencher.bench_local(|| assert_eq!(client.receive(&frame).offers, 1));
}

/// A sign of life, with nothing to do.
#[divan::bench(args = SWARMS)]
fn pong(bencher: Bencher<'_, '_>, swarms: u64) {
    let mut client = Client::new(swarms);
    bencher.bench_local(|| client.input(Input::Alive(client.socket)).frames);
}
