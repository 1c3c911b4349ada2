//! Dialogues with a session: announcing, offers, answers, leaving.

use p2pt_proto::{AnnounceEvent, ClientMessage, Failure, TrackerMessage};

use super::test_support::*;
use super::{Input, MAX_FRAME_BYTES};
use crate::{ClientConfig, OfferEnd, TrackerEvent, TrackerWarning};

fn offers_input(numbers: impl IntoIterator<Item = u32>) -> Input {
    Input::Offers { info_hash: SWARM(), offers: offers(numbers) }
}

fn wanted(count: usize) -> Act {
    Act::Event(TrackerEvent::OffersWanted { info_hash: SWARM(), count })
}

#[test]
fn offers_are_asked_for_while_connecting_and_announced_at_once_when_connected() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    assert_eq!(harness.acts(), [wanted(5), Act::Connect].into_iter().rev().collect::<Vec<_>>());
    harness.input(offers_input(1..=5));
    assert_eq!(harness.acts(), []);
    harness.connected();
    let acts = harness.acts();
    let [Act::Sent(ClientMessage::Announce(announce)), Act::Event(TrackerEvent::Connected)] = &acts[..] else {
        panic!("{acts:?}")
    };
    assert_eq!((announce.event, announce.numwant, announce.peer_id), (None, Some(5), ME()));
    assert_eq!(announce.offers, Some(offers(1..=5)));
}

#[test]
fn an_announce_does_not_wait_for_ever_for_offers_and_late_ones_get_one_of_their_own() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness.connected();
    harness.advance(millis(1999));
    assert_eq!(harness.announces(), []);
    harness.advance(millis(1));
    assert_eq!(harness.announces(), [(SWARM(), vec![])]);
    harness.input(offers_input([1, 2]));
    assert_eq!(harness.announces(), [], "the reply is not there yet");
    harness.receive(reply(SWARM(), 120, 1));
    assert_eq!(harness.announces(), [(SWARM(), vec![1, 2])]);
    harness.receive(reply(SWARM(), 120, 1));
    harness.advance(secs(119));
    assert_eq!(harness.announces(), []);
}

#[test]
fn a_reply_with_fewer_offers_or_none_is_announced_without_waiting() {
    for given in [vec![], vec![1], vec![1, 2, 3]] {
        let mut harness = Harness::new(ClientConfig::default());
        harness.input(Input::Join(SWARM()));
        harness.connected();
        harness.input(offers_input(given.clone()));
        assert_eq!(harness.announces(), [(SWARM(), given)]);
    }
}

#[test]
fn a_reply_with_none_just_before_the_socket_opens_is_taken_for_an_answer_but_an_old_one_is_not() {
    for (waited, announced) in [(4, vec![(SWARM(), vec![])]), (6, vec![])] {
        let mut harness = Harness::new(ClientConfig::default());
        harness.input(Input::Join(SWARM()));
        harness.input(offers_input([]));
        harness.advance(secs(waited));
        harness.acts();
        harness.connected();
        assert_eq!(harness.announces(), announced, "after {waited} s");
    }
}

#[test]
fn offers_taken_back_are_asked_for_anew_once_there_is_a_socket() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness.input(offers_input([1, 2]));
    harness.acts();
    harness.input(Input::WithdrawOffers { info_hash: SWARM(), offers: vec![offer_id(1), offer_id(9)] });
    let end = TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(1), end: OfferEnd::Withdrawn };
    assert_eq!(harness.acts(), [Act::Event(end)]);
    harness.connected();
    assert!(harness.acts().contains(&wanted(4)), "one is left");
    harness.input(offers_input([3, 4, 5, 6]));
    assert_eq!(harness.announces(), [(SWARM(), vec![2, 3, 4, 5, 6])]);
    harness.input(Input::WithdrawOffers { info_hash: SWARM(), offers: vec![offer_id(3)] });
    assert_eq!(harness.acts().len(), 1, "a socket that is open asks when its announce is due");
}

#[test]
fn wanting_peers_again_asks_again() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness.input(Input::SetWanted { info_hash: SWARM(), offers: 0 });
    harness.input(Input::SetWanted { info_hash: SWARM(), offers: 2 });
    harness.acts();
    harness.connected();
    assert!(harness.acts().contains(&wanted(2)));
}

#[test]
fn announces_with_an_empty_list_when_no_peers_are_wanted() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness.input(Input::SetWanted { info_hash: SWARM(), offers: 0 });
    harness.connected();
    let sent = harness.sent();
    assert_eq!(sent.len(), 1);
    let announce = announce(&sent[0]).unwrap();
    assert_eq!((announce.numwant, announce.offers.as_deref()), (Some(0), Some(&[][..])));
    harness.receive(reply(SWARM(), 120, 1));
    harness.advance(secs(120));
    assert_eq!(harness.announces(), [(SWARM(), vec![])]);
}

#[test]
fn asks_for_as_many_offers_as_are_wanted_and_not_more_than_ten() {
    for (given, asked) in [(1, 1), (4, 4), (10, 10), (90, 10)] {
        let mut harness = Harness::announced();
        harness.receive(reply(SWARM(), 120, 9));
        harness.input(Input::SetWanted { info_hash: SWARM(), offers: given });
        harness.acts();
        harness.advance(secs(118));
        assert!(harness.acts().contains(&wanted(asked)), "{given}");
    }
}

#[test]
fn announces_again_at_the_interval_within_limits() {
    for (interval, expected) in [(0, 10), (1, 10), (20, 20), (120, 120), (1800, 120), (u64::MAX, 120)] {
        let mut harness = Harness::announced();
        harness.receive(reply(SWARM(), interval, 9));
        harness.advance(secs(expected - 2));
        let acts = harness.acts();
        assert!(acts.contains(&wanted(5)), "offers are asked for beforehand: {acts:?}");
        harness.input(offers_input(11..=15));
        harness.advance(millis(1999));
        assert_eq!(harness.announces(), [], "{interval}");
        harness.advance(millis(1));
        assert_eq!(harness.announces(), [(SWARM(), vec![11, 12, 13, 14, 15])], "{interval}");
    }
}

#[test]
fn announces_again_after_30_seconds_without_a_reply_until_there_is_one() {
    let mut harness = Harness::announced();
    for round in 2..=7 {
        harness.advance(secs(28));
        harness.input(offers_input(round * 10..round * 10 + 5));
        harness.advance(millis(1999));
        assert_eq!(harness.announces(), []);
        harness.advance(millis(1));
        assert_eq!(harness.announces(), [(SWARM(), (round * 10..round * 10 + 5).collect())]);
    }
    harness.receive(reply(SWARM(), 120, 2));
    harness.advance(secs(117));
    assert_eq!(harness.announces(), []);
}

#[test]
fn a_reply_after_the_offers_for_the_next_announce_came_puts_it_off_and_asks_again() {
    let mut harness = Harness::announced();
    harness.advance(secs(28));
    harness.input(offers_input(11..=15));
    harness.receive(reply(SWARM(), 120, 2));
    harness.acts();
    harness.advance(secs(90));
    assert!(harness.acts().contains(&wanted(5)), "those of second 28 are too old by then");
}

#[test]
fn says_what_a_reply_says() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 3600, 3));
    let interval = secs(120);
    assert_eq!(
        harness.events(),
        [TrackerEvent::Announced { info_hash: SWARM(), complete: Some(0), incomplete: Some(3), interval }]
    );
    let state = harness.session.state(harness.now);
    let swarm = &state.swarms[&SWARM()];
    assert_eq!((swarm.announced, swarm.complete, swarm.incomplete, swarm.offers), (true, Some(0), Some(3), 5));
}

#[test]
fn surplus_offers_are_announced_again_others_never() {
    for (members, again) in [(0, vec![1, 2, 3, 4, 5]), (1, vec![1, 2, 3, 4, 5]), (3, vec![3, 4, 5]), (6, vec![])] {
        let mut harness = Harness::announced();
        harness.receive(reply(SWARM(), 120, members));
        harness.input(Input::Announce(SWARM()));
        harness.input(offers_input([]));
        harness.advance(secs(10));
        assert_eq!(harness.announces(), [(SWARM(), again)], "{members} members");
    }
}

#[test]
fn surplus_is_not_guessed_when_the_reply_may_be_to_something_else() {
    // An answer, to which aquatic replies as well.
    let mut harness = Harness::announced();
    harness.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(9), sdp: "answer".into() });
    harness.receive(reply(SWARM(), 120, 1));
    harness.input(Input::Announce(SWARM()));
    harness.input(offers_input([]));
    harness.advance(secs(10));
    assert_eq!(harness.announces(), [(SWARM(), vec![])]);

    // The announce before, to which there is no reply yet.
    let mut harness = Harness::announced();
    harness.advance(secs(28));
    harness.input(offers_input([11]));
    harness.advance(secs(2));
    harness.receive(reply(SWARM(), 120, 1));
    harness.acts();
    harness.input(Input::Announce(SWARM()));
    harness.input(offers_input([]));
    harness.advance(secs(10));
    assert_eq!(harness.announces(), [(SWARM(), vec![])]);

    // The `stopped` of a membership before.
    let mut harness = Harness::announced();
    harness.input(Input::Leave(SWARM()));
    harness.input(Input::Join(SWARM()));
    harness.input(offers_input([11]));
    harness.receive(reply(SWARM(), 120, 0));
    harness.acts();
    harness.input(Input::Announce(SWARM()));
    harness.input(offers_input([]));
    harness.advance(secs(10));
    assert_eq!(harness.announces(), [(SWARM(), vec![])]);
}

#[test]
fn a_request_for_more_peers_announces_soon_but_not_too_often() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 9));
    harness.advance(secs(60));
    harness.acts();
    for _ in 0..3 {
        harness.input(Input::Announce(SWARM()));
    }
    assert_eq!(harness.acts(), [wanted(5)]);
    harness.input(offers_input([11]));
    assert_eq!(harness.announces(), [(SWARM(), vec![11])], "at once");
    harness.receive(reply(SWARM(), 120, 9));
    harness.acts();
    harness.input(Input::Announce(SWARM()));
    harness.input(offers_input([12]));
    harness.advance(millis(999));
    assert_eq!(harness.announces(), []);
    harness.advance(millis(1));
    assert_eq!(harness.announces(), [(SWARM(), vec![12])]);
}

#[test]
fn an_answer_ends_its_offer_once() {
    let mut harness = Harness::announced();
    harness.receive(forwarded_answer(SWARM(), PEER(), 2));
    let answer =
        TrackerEvent::Answer { info_hash: SWARM(), from: PEER(), offer_id: offer_id(2), sdp: "their answer".into() };
    assert_eq!(harness.events(), [answer]);
    for ignored in [
        forwarded_answer(SWARM(), PEER(), 2),
        forwarded_answer(SWARM(), PEER(), 99),
        forwarded_answer(SWARM(), ME(), 3),
        forwarded_answer(OTHER_SWARM(), PEER(), 3),
    ] {
        harness.receive(ignored);
        assert_eq!(harness.acts(), []);
    }
    harness.advance(secs(100));
    let ended: Vec<_> = harness
        .events()
        .into_iter()
        .filter_map(|event| match event {
            TrackerEvent::OfferEnded { offer_id, end, .. } => Some((offer_id, end)),
            _ => None,
        })
        .collect();
    assert_eq!(ended, [1, 3, 4, 5].map(|n| (offer_id(n), OfferEnd::Expired)));
}

#[test]
fn another_peers_offer_is_passed_on_and_answered() {
    let mut harness = Harness::announced();
    harness.receive(forwarded_offer(SWARM(), PEER(), 50));
    let (from, sdp) = (PEER(), "their offer".into());
    assert_eq!(harness.events(), [TrackerEvent::Offer { info_hash: SWARM(), from, offer_id: offer_id(50), sdp }]);
    harness.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(50), sdp: "our answer".into() });
    let sent = harness.sent();
    let [ClientMessage::Answer(answer)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((answer.info_hash, answer.peer_id, answer.to_peer_id), (SWARM(), ME(), PEER()));
    assert_eq!((answer.offer_id, answer.sdp.as_str()), (offer_id(50), "our answer"));
    for ignored in [forwarded_offer(SWARM(), ME(), 51), forwarded_offer(OTHER_SWARM(), PEER(), 52)] {
        harness.receive(ignored);
        assert_eq!(harness.acts(), []);
    }
}

#[test]
fn a_flood_of_offers_is_cut_off_with_one_warning_a_minute() {
    let mut harness = Harness::announced();
    for round in 0..2 {
        for n in 0..500 {
            harness.receive(forwarded_offer(SWARM(), PEER(), n));
        }
        let events = harness.events();
        let passed = events.iter().filter(|event| matches!(event, TrackerEvent::Offer { .. })).count();
        let warning = TrackerEvent::Warning {
            warning: TrackerWarning::OfferFlood { info_hash: SWARM() },
            missed: if round == 0 { 0 } else { 199 },
        };
        let warned = events.iter().filter(|event| **event == warning).count();
        assert_eq!((passed, warned), (300, 1), "round {round}");
        harness.advance(secs(60));
        harness.acts();
    }
}

#[test]
fn leaving_ends_all_offers_and_sends_stopped_and_nothing_else() {
    let mut harness = Harness::announced();
    harness.writes = false;
    harness.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(9), sdp: "goes out".into() });
    harness.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(8), sdp: "is kept".into() });
    harness.acts();
    harness.input(Input::Leave(SWARM()));
    let ended = |n| {
        Act::Event(TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(n), end: OfferEnd::Withdrawn })
    };
    assert_eq!(harness.acts(), [1, 2, 3, 4, 5].map(ended));
    harness.writes = true;
    harness.input(Input::Sent(harness.socket.unwrap()));
    harness.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(7), sdp: "late".into() });
    harness.input(Input::Announce(SWARM()));
    harness.receive(reply(SWARM(), 120, 1));
    harness.receive(forwarded_offer(SWARM(), PEER(), 50));
    let sent = harness.sent();
    let [ClientMessage::Announce(stopped)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((stopped.event, stopped.info_hash, &stopped.offers), (Some(AnnounceEvent::Stopped), SWARM(), &None));
    harness.advance(secs(200));
    assert_eq!(harness.sent(), []);
}

#[test]
fn leaving_before_the_first_announce_sends_nothing() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness.input(Input::Join(OTHER_SWARM()));
    harness.input(offers_input([1]));
    harness.input(Input::Leave(SWARM()));
    harness.connected();
    harness.advance(secs(2));
    assert_eq!(harness.announces(), [(OTHER_SWARM(), vec![])]);
}

#[test]
fn offers_for_a_swarm_that_was_left_come_back() {
    let mut harness = Harness::announced();
    harness.input(Input::Leave(SWARM()));
    harness.acts();
    harness.input(offers_input([6]));
    let end = OfferEnd::Withdrawn;
    assert_eq!(harness.events(), [TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(6), end }]);
}

#[test]
fn large_offers_are_spread_over_announces_that_every_tracker_takes() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness.connected();
    let mut large = offers(1..=6);
    for offer in &mut large[..5] {
        offer.sdp = "x".repeat(6000);
    }
    large[5].sdp = "\n".repeat(MAX_FRAME_BYTES / 2);
    harness.acts();
    harness.input(Input::Offers { info_hash: SWARM(), offers: large });
    let end = OfferEnd::TooLarge;
    let too_large = Act::Event(TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(6), end });
    let mut announced = Vec::new();
    for _ in 0..4 {
        let acts = harness.acts();
        announced.extend(acts.iter().filter_map(|act| match act {
            Act::Sent(message) => {
                assert!(message.encode().len() <= MAX_FRAME_BYTES);
                Some(numbers(announce(message).unwrap()))
            }
            other => {
                assert!(*other == too_large || matches!(other, Act::Event(TrackerEvent::Announced { .. })));
                None
            }
        }));
        harness.receive(reply(SWARM(), 120, 9));
    }
    assert_eq!(announced, [vec![1, 2], vec![3, 4], vec![5]]);
}

#[test]
fn no_more_offers_live_than_allowed() {
    let mut harness = Harness::announced();
    harness.input(offers_input(100..400));
    let returned = harness.events();
    assert_eq!(returned.len(), 55);
    let end = OfferEnd::TooMany;
    assert_eq!(returned[0], TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(345), end });
    assert_eq!(harness.session.state(harness.now).swarms[&SWARM()].offers, 250);
}

#[test]
fn swarms_do_not_mix() {
    let mut harness = Harness::announced();
    harness.input(Input::Join(OTHER_SWARM()));
    harness.input(Input::Offers { info_hash: OTHER_SWARM(), offers: offers([1]) });
    assert_eq!(harness.announces(), [(OTHER_SWARM(), vec![1])]);
    harness.receive(forwarded_answer(OTHER_SWARM(), PEER(), 1));
    assert_eq!(harness.events().len(), 1);
    harness.receive(forwarded_answer(SWARM(), PEER(), 1));
    assert_eq!(harness.events().len(), 1, "the same id in another swarm is another offer");
}

#[test]
fn failures_and_nonsense_are_reported_and_survived() {
    let mut harness = Harness::announced();
    harness.receive(TrackerMessage::Failure(Failure::new(format!("no\u{1b}[31m{}", "x".repeat(1000)))));
    let events = harness.events();
    let [TrackerEvent::Warning { warning: TrackerWarning::Failure { reason, info_hash: None }, missed: 0 }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert!(reason.starts_with("no [31mxxx") && reason.len() == 256);
    harness.receive_text("{}");
    assert_eq!(harness.acts(), [], "unknown frames are ignored");
    harness.receive_text("{\"action\":\"announce\",\"info_hash\":1}");
    assert!(matches!(&harness.events()[..], [TrackerEvent::Warning { warning: TrackerWarning::BadFrame { .. }, .. }]));
    assert_eq!(harness.session.state(harness.now).counters.frames_ignored, 2);
    harness.receive(reply(SWARM(), 120, 1));
    assert_eq!(harness.events().len(), 1, "the socket is still in use");
}

#[test]
fn an_interval_injected_into_an_answer_is_not_taken() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 9));
    let mut frame: serde_json::Value = serde_json::from_str(&forwarded_answer(SWARM(), PEER(), 1).encode()).unwrap();
    frame["interval"] = 1.into();
    frame["failure reason"] = "forged".into();
    harness.acts();
    harness.receive_text(&frame.to_string());
    assert!(matches!(&harness.events()[..], [TrackerEvent::Answer { .. }]));
    harness.advance(secs(117));
    assert_eq!(harness.announces(), []);
}
