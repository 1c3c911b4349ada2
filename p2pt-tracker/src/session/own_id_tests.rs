use p2pt_proto::{Failure, ForwardedOffer, InfoHash, Offer, PeerId, ScrapeReply, ScrapeStats, TrackerMessage};

use super::Input;
use super::test_support::*;
use crate::{OfferEnd, PeerIdSign, SocketEnd, TrackerEvent, TrackerWarning};

/// By what it was seen that another node has our id.
fn signs(harness: &mut Harness) -> Vec<PeerIdSign> {
    let sign = |event| match event {
        TrackerEvent::Warning { warning: TrackerWarning::PeerIdInUse { sign, .. }, .. } => Some(sign),
        _ => None,
    };
    harness.events().into_iter().filter_map(sign).collect()
}

/// A session whose first announce was replied to long ago.
fn settled() -> Harness {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 9));
    harness.advance(secs(20));
    harness.events();
    harness
}

fn scraped(info_hash: InfoHash) -> TrackerMessage {
    TrackerMessage::Scrape(ScrapeReply::new([(info_hash, ScrapeStats::default())]))
}

#[test]
fn an_offer_under_our_id_is_another_nodes_unless_we_made_it() {
    let mut harness = settled();
    // Some trackers hand offers back to their makers.
    for n in 1..=5 {
        harness.receive(forwarded_offer(SWARM(), ME(), n));
    }
    harness.advance(secs(100));
    assert!(harness.events().iter().any(|event| matches!(event, TrackerEvent::OfferEnded { .. })), "they have expired");
    harness.receive(forwarded_offer(SWARM(), ME(), 1));
    assert_eq!(signs(&mut harness), []);
    harness.receive(forwarded_offer(SWARM(), PEER(), 99));
    assert_eq!(signs(&mut harness), [], "another peer's offer is no sign");
    // Once a minute.
    for _ in 0..2 {
        for n in 100..150 {
            harness.receive(forwarded_offer(SWARM(), ME(), n));
        }
        assert_eq!(signs(&mut harness), [PeerIdSign::Offer]);
        harness.advance(secs(60));
    }
}

#[test]
fn an_offer_with_our_fingerprint_is_ours_whatever_its_id() {
    let mut harness = settled();
    let sdp = |of: &str| format!("v=0\r\na=fingerprint:sha-256 {of}\r\nm=application 9 x\r\n");
    let made = Offer::new(offer_id(50), sdp("AA:BB"));
    harness.input(Input::Offers { info_hash: SWARM(), offers: vec![made] });
    let mut receive = |of: &str| {
        let offer = ForwardedOffer::new(SWARM(), ME(), offer_id(77), sdp(of));
        harness.receive(TrackerMessage::Offer(offer));
        signs(&mut harness)
    };
    assert_eq!(receive("AA:BB"), []);
    assert_eq!(receive("CC:DD"), [PeerIdSign::Offer]);
}

#[test]
fn an_answer_to_an_offer_that_we_never_made_is_to_another_nodes() {
    let mut harness = settled();
    // Answered before, withdrawn, or expired: late answers are to be expected.
    harness.receive(forwarded_answer(SWARM(), PEER(), 1));
    harness.receive(forwarded_answer(SWARM(), PEER(), 1));
    harness.input(Input::WithdrawOffers { info_hash: SWARM(), offers: vec![offer_id(2)] });
    harness.receive(forwarded_answer(SWARM(), PEER(), 2));
    harness.advance(secs(120));
    harness.receive(forwarded_answer(SWARM(), PEER(), 3));
    // Of an earlier membership.
    harness.input(Input::Leave(SWARM()));
    harness.input(Input::Join(SWARM()));
    harness.receive(forwarded_answer(SWARM(), PEER(), 4));
    // Our own answer, handed back.
    harness.receive(forwarded_answer(SWARM(), ME(), 99));
    assert_eq!(signs(&mut harness), []);
    harness.receive(forwarded_answer(SWARM(), PEER(), 99));
    assert_eq!(signs(&mut harness), [PeerIdSign::Answer]);
}

#[test]
fn what_an_earlier_run_has_caused_is_no_sign() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 9));
    for wait in [0, 9] {
        harness.advance(secs(wait));
        harness.receive(forwarded_answer(SWARM(), PEER(), 99));
        harness.receive(forwarded_offer(SWARM(), ME(), 99));
        assert_eq!(signs(&mut harness), []);
    }
    harness.advance(secs(1));
    harness.receive(forwarded_answer(SWARM(), PEER(), 98));
    assert_eq!(signs(&mut harness), [PeerIdSign::Answer]);
}

#[test]
fn many_offers_are_remembered_and_not_all() {
    let mut harness = settled();
    let all: Vec<u32> = (1000..3000).collect();
    for some in all.chunks(100) {
        harness.input(Input::Offers { info_hash: SWARM(), offers: offers(some.iter().copied()) });
    }
    assert!(
        harness.events().iter().any(|event| matches!(event, TrackerEvent::OfferEnded { end: OfferEnd::TooMany, .. }))
    );
    harness.receive(forwarded_answer(SWARM(), PEER(), 2999 - 1000));
    assert_eq!(signs(&mut harness), []);
    harness.receive(forwarded_answer(SWARM(), PEER(), 1000));
    assert_eq!(signs(&mut harness), [PeerIdSign::Answer], "it was too long ago");
}

#[test]
fn a_tracker_that_replies_to_scrapes_and_not_to_announces_keeps_us_out() {
    let mut harness = Harness::announced();
    harness.advance(secs(30));
    harness.receive(scraped(SWARM()));
    assert_eq!(signs(&mut harness), [PeerIdSign::Silence]);
    // One that replies to nothing is not suspected, and its silence no failed scrape.
    let mut harness = Harness::announced();
    harness.advance(secs(90));
    let events = harness.events();
    let is_failed = |event: &TrackerEvent| {
        matches!(event, TrackerEvent::Warning { warning: TrackerWarning::ScrapeFailed { .. }, .. })
    };
    assert!(!events.iter().any(is_failed), "{events:?}");
    // One that has replied in the meantime neither.
    let mut harness = Harness::announced();
    harness.advance(secs(30));
    harness.receive(reply(SWARM(), 120, 9));
    harness.receive(scraped(SWARM()));
    assert_eq!(signs(&mut harness), []);
    assert!(!harness.events().iter().any(|event| matches!(event, TrackerEvent::Scraped { .. })), "none was asked for");
}

#[test]
fn silence_after_our_own_socket_broke_is_to_be_expected() {
    let mut harness = settled();
    harness.disconnected_by(SocketEnd::Broken("reset".to_owned()));
    harness.advance(secs(2));
    harness.connected();
    harness.advance(secs(40));
    harness.receive(scraped(SWARM()));
    assert_eq!(signs(&mut harness), []);
}

#[test]
fn a_tracker_may_say_that_the_id_is_in_use() {
    let mut harness = settled();
    let refusal = |id: PeerId| {
        let mut failure = Failure::new(format!("peer_id {id} is in use in this swarm by another open connection"));
        failure.info_hash = Some(SWARM());
        TrackerMessage::Failure(failure)
    };
    harness.receive(refusal(PEER()));
    assert_eq!(signs(&mut harness), [], "that is another one's");
    harness.receive(refusal(ME()));
    assert_eq!(signs(&mut harness), [PeerIdSign::Refusal]);
}
