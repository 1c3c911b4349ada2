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
    let mut bench = Bench::new(ClientConfig::default());
    bench.input(Input::Join(SWARM()));
    assert_eq!(bench.acts(), [wanted(5), Act::Connect].into_iter().rev().collect::<Vec<_>>());
    bench.input(offers_input(1..=5));
    assert_eq!(bench.acts(), []);
    bench.connected();
    let acts = bench.acts();
    let [Act::Sent(ClientMessage::Announce(announce)), Act::Event(TrackerEvent::Connected)] = &acts[..] else {
        panic!("{acts:?}")
    };
    assert_eq!((announce.event, announce.numwant, announce.peer_id), (None, Some(5), ME()));
    assert_eq!(announce.offers, Some(offers(1..=5)));
}

#[test]
fn an_announce_does_not_wait_for_ever_for_offers_and_late_ones_get_one_of_their_own() {
    let mut bench = Bench::new(ClientConfig::default());
    bench.input(Input::Join(SWARM()));
    bench.connected();
    bench.advance(millis(1999));
    assert_eq!(bench.announces(), []);
    bench.advance(millis(1));
    assert_eq!(bench.announces(), [(SWARM(), vec![])]);
    bench.input(offers_input([1, 2]));
    assert_eq!(bench.announces(), [], "the reply is not there yet");
    bench.receive(reply(SWARM(), 120, 1));
    assert_eq!(bench.announces(), [(SWARM(), vec![1, 2])]);
    bench.receive(reply(SWARM(), 120, 1));
    bench.advance(secs(119));
    assert_eq!(bench.announces(), []);
}

#[test]
fn a_reply_with_fewer_offers_or_none_is_announced_without_waiting() {
    for given in [vec![], vec![1], vec![1, 2, 3]] {
        let mut bench = Bench::new(ClientConfig::default());
        bench.input(Input::Join(SWARM()));
        bench.connected();
        bench.input(offers_input(given.clone()));
        assert_eq!(bench.announces(), [(SWARM(), given)]);
    }
}

#[test]
fn a_reply_with_none_just_before_the_socket_opens_is_taken_for_an_answer_but_an_old_one_is_not() {
    for (waited, announced) in [(4, vec![(SWARM(), vec![])]), (6, vec![])] {
        let mut bench = Bench::new(ClientConfig::default());
        bench.input(Input::Join(SWARM()));
        bench.input(offers_input([]));
        bench.advance(secs(waited));
        bench.acts();
        bench.connected();
        assert_eq!(bench.announces(), announced, "after {waited} s");
    }
}

#[test]
fn offers_taken_back_are_asked_for_anew_once_there_is_a_socket() {
    let mut bench = Bench::new(ClientConfig::default());
    bench.input(Input::Join(SWARM()));
    bench.input(offers_input([1, 2]));
    bench.acts();
    bench.input(Input::WithdrawOffers { info_hash: SWARM(), offers: vec![offer_id(1), offer_id(9)] });
    let end = TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(1), end: OfferEnd::Withdrawn };
    assert_eq!(bench.acts(), [Act::Event(end)]);
    bench.connected();
    assert!(bench.acts().contains(&wanted(4)), "one is left");
    bench.input(offers_input([3, 4, 5, 6]));
    assert_eq!(bench.announces(), [(SWARM(), vec![2, 3, 4, 5, 6])]);
    bench.input(Input::WithdrawOffers { info_hash: SWARM(), offers: vec![offer_id(3)] });
    assert_eq!(bench.acts().len(), 1, "a socket that is open asks when its announce is due");
}

#[test]
fn wanting_peers_again_asks_again() {
    let mut bench = Bench::new(ClientConfig::default());
    bench.input(Input::Join(SWARM()));
    bench.input(Input::SetWanted { info_hash: SWARM(), offers: 0 });
    bench.input(Input::SetWanted { info_hash: SWARM(), offers: 2 });
    bench.acts();
    bench.connected();
    assert!(bench.acts().contains(&wanted(2)));
}

#[test]
fn announces_with_an_empty_list_when_no_peers_are_wanted() {
    let mut bench = Bench::new(ClientConfig::default());
    bench.input(Input::Join(SWARM()));
    bench.input(Input::SetWanted { info_hash: SWARM(), offers: 0 });
    bench.connected();
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    let announce = announce(&sent[0]).unwrap();
    assert_eq!((announce.numwant, announce.offers.as_deref()), (Some(0), Some(&[][..])));
    bench.receive(reply(SWARM(), 120, 1));
    bench.advance(secs(120));
    assert_eq!(bench.announces(), [(SWARM(), vec![])]);
}

#[test]
fn asks_for_as_many_offers_as_are_wanted_and_not_more_than_ten() {
    for (given, asked) in [(1, 1), (4, 4), (10, 10), (90, 10)] {
        let mut bench = Bench::announced();
        bench.receive(reply(SWARM(), 120, 9));
        bench.input(Input::SetWanted { info_hash: SWARM(), offers: given });
        bench.acts();
        bench.advance(secs(118));
        assert!(bench.acts().contains(&wanted(asked)), "{given}");
    }
}

#[test]
fn announces_again_at_the_interval_within_limits() {
    for (interval, expected) in [(0, 10), (1, 10), (20, 20), (120, 120), (1800, 120), (u64::MAX, 120)] {
        let mut bench = Bench::announced();
        bench.receive(reply(SWARM(), interval, 9));
        bench.advance(secs(expected - 2));
        let acts = bench.acts();
        assert!(acts.contains(&wanted(5)), "offers are asked for beforehand: {acts:?}");
        bench.input(offers_input(11..=15));
        bench.advance(millis(1999));
        assert_eq!(bench.announces(), [], "{interval}");
        bench.advance(millis(1));
        assert_eq!(bench.announces(), [(SWARM(), vec![11, 12, 13, 14, 15])], "{interval}");
    }
}

#[test]
fn announces_again_after_30_seconds_without_a_reply_until_there_is_one() {
    let mut bench = Bench::announced();
    for round in 2..=7 {
        bench.advance(secs(28));
        bench.input(offers_input(round * 10..round * 10 + 5));
        bench.advance(millis(1999));
        assert_eq!(bench.announces(), []);
        bench.advance(millis(1));
        assert_eq!(bench.announces(), [(SWARM(), (round * 10..round * 10 + 5).collect())]);
    }
    bench.receive(reply(SWARM(), 120, 2));
    bench.advance(secs(117));
    assert_eq!(bench.announces(), []);
}

#[test]
fn a_reply_after_the_offers_for_the_next_announce_came_puts_it_off_and_asks_again() {
    let mut bench = Bench::announced();
    bench.advance(secs(28));
    bench.input(offers_input(11..=15));
    bench.receive(reply(SWARM(), 120, 2));
    bench.acts();
    bench.advance(secs(90));
    assert!(bench.acts().contains(&wanted(5)), "those of second 28 are too old by then");
}

#[test]
fn says_what_a_reply_says() {
    let mut bench = Bench::announced();
    bench.receive(reply(SWARM(), 3600, 3));
    let interval = secs(120);
    assert_eq!(
        bench.events(),
        [TrackerEvent::Announced { info_hash: SWARM(), complete: Some(0), incomplete: Some(3), interval }]
    );
    let state = bench.session.state(bench.now);
    let swarm = &state.swarms[&SWARM()];
    assert_eq!((swarm.announced, swarm.complete, swarm.incomplete, swarm.offers), (true, Some(0), Some(3), 5));
}

#[test]
fn surplus_offers_are_announced_again_others_never() {
    for (members, again) in [(0, vec![1, 2, 3, 4, 5]), (1, vec![1, 2, 3, 4, 5]), (3, vec![3, 4, 5]), (6, vec![])] {
        let mut bench = Bench::announced();
        bench.receive(reply(SWARM(), 120, members));
        bench.input(Input::Announce(SWARM()));
        bench.input(offers_input([]));
        bench.advance(secs(10));
        assert_eq!(bench.announces(), [(SWARM(), again)], "{members} members");
    }
}

#[test]
fn surplus_is_not_guessed_when_the_reply_may_be_to_something_else() {
    // An answer, to which aquatic replies as well.
    let mut bench = Bench::announced();
    bench.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(9), sdp: "answer".into() });
    bench.receive(reply(SWARM(), 120, 1));
    bench.input(Input::Announce(SWARM()));
    bench.input(offers_input([]));
    bench.advance(secs(10));
    assert_eq!(bench.announces(), [(SWARM(), vec![])]);

    // The announce before, which nobody has replied to yet.
    let mut bench = Bench::announced();
    bench.advance(secs(28));
    bench.input(offers_input([11]));
    bench.advance(secs(2));
    bench.receive(reply(SWARM(), 120, 1));
    bench.acts();
    bench.input(Input::Announce(SWARM()));
    bench.input(offers_input([]));
    bench.advance(secs(10));
    assert_eq!(bench.announces(), [(SWARM(), vec![])]);

    // The `stopped` of a membership before.
    let mut bench = Bench::announced();
    bench.input(Input::Leave(SWARM()));
    bench.input(Input::Join(SWARM()));
    bench.input(offers_input([11]));
    bench.receive(reply(SWARM(), 120, 0));
    bench.acts();
    bench.input(Input::Announce(SWARM()));
    bench.input(offers_input([]));
    bench.advance(secs(10));
    assert_eq!(bench.announces(), [(SWARM(), vec![])]);
}

#[test]
fn a_request_for_more_peers_announces_soon_but_not_too_often() {
    let mut bench = Bench::announced();
    bench.receive(reply(SWARM(), 120, 9));
    bench.advance(secs(60));
    bench.acts();
    for _ in 0..3 {
        bench.input(Input::Announce(SWARM()));
    }
    assert_eq!(bench.acts(), [wanted(5)]);
    bench.input(offers_input([11]));
    assert_eq!(bench.announces(), [(SWARM(), vec![11])], "at once");
    bench.receive(reply(SWARM(), 120, 9));
    bench.acts();
    bench.input(Input::Announce(SWARM()));
    bench.input(offers_input([12]));
    bench.advance(millis(999));
    assert_eq!(bench.announces(), []);
    bench.advance(millis(1));
    assert_eq!(bench.announces(), [(SWARM(), vec![12])]);
}

#[test]
fn an_answer_ends_its_offer_once() {
    let mut bench = Bench::announced();
    bench.receive(forwarded_answer(SWARM(), PEER(), 2));
    let answer =
        TrackerEvent::Answer { info_hash: SWARM(), from: PEER(), offer_id: offer_id(2), sdp: "their answer".into() };
    assert_eq!(bench.events(), [answer]);
    for ignored in [
        forwarded_answer(SWARM(), PEER(), 2),
        forwarded_answer(SWARM(), PEER(), 99),
        forwarded_answer(SWARM(), ME(), 3),
        forwarded_answer(OTHER_SWARM(), PEER(), 3),
    ] {
        bench.receive(ignored);
        assert_eq!(bench.acts(), []);
    }
    bench.advance(secs(100));
    let ended: Vec<_> = bench
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
fn a_strangers_offer_is_passed_on_and_answered() {
    let mut bench = Bench::announced();
    bench.receive(forwarded_offer(SWARM(), PEER(), 50));
    let (from, sdp) = (PEER(), "their offer".into());
    assert_eq!(bench.events(), [TrackerEvent::Offer { info_hash: SWARM(), from, offer_id: offer_id(50), sdp }]);
    bench.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(50), sdp: "our answer".into() });
    let sent = bench.sent();
    let [ClientMessage::Answer(answer)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((answer.info_hash, answer.peer_id, answer.to_peer_id), (SWARM(), ME(), PEER()));
    assert_eq!((answer.offer_id, answer.sdp.as_str()), (offer_id(50), "our answer"));
    for ignored in [forwarded_offer(SWARM(), ME(), 51), forwarded_offer(OTHER_SWARM(), PEER(), 52)] {
        bench.receive(ignored);
        assert_eq!(bench.acts(), []);
    }
}

#[test]
fn a_flood_of_offers_is_cut_off_with_one_warning_a_minute() {
    let mut bench = Bench::announced();
    for round in 0..2 {
        for n in 0..500 {
            bench.receive(forwarded_offer(SWARM(), PEER(), n));
        }
        let events = bench.events();
        let passed = events.iter().filter(|event| matches!(event, TrackerEvent::Offer { .. })).count();
        let warning = TrackerEvent::Warning(TrackerWarning::OfferFlood { info_hash: SWARM() });
        let warned = events.iter().filter(|event| **event == warning).count();
        assert_eq!((passed, warned), (300, 1), "round {round}");
        bench.advance(secs(60));
        bench.acts();
    }
}

#[test]
fn leaving_ends_all_offers_and_sends_stopped_and_nothing_else() {
    let mut bench = Bench::announced();
    bench.writes = false;
    bench.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(9), sdp: "goes out".into() });
    bench.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(8), sdp: "stays".into() });
    bench.acts();
    bench.input(Input::Leave(SWARM()));
    let ended = |n| {
        Act::Event(TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(n), end: OfferEnd::Withdrawn })
    };
    assert_eq!(bench.acts(), [1, 2, 3, 4, 5].map(ended));
    bench.writes = true;
    bench.input(Input::Sent(bench.socket.unwrap()));
    bench.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(7), sdp: "late".into() });
    bench.input(Input::Announce(SWARM()));
    bench.receive(reply(SWARM(), 120, 1));
    bench.receive(forwarded_offer(SWARM(), PEER(), 50));
    let sent = bench.sent();
    let [ClientMessage::Announce(stopped)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((stopped.event, stopped.info_hash, &stopped.offers), (Some(AnnounceEvent::Stopped), SWARM(), &None));
    bench.advance(secs(200));
    assert_eq!(bench.sent(), []);
}

#[test]
fn leaving_before_the_first_announce_sends_nothing() {
    let mut bench = Bench::new(ClientConfig::default());
    bench.input(Input::Join(SWARM()));
    bench.input(Input::Join(OTHER_SWARM()));
    bench.input(offers_input([1]));
    bench.input(Input::Leave(SWARM()));
    bench.connected();
    bench.advance(secs(2));
    assert_eq!(bench.announces(), [(OTHER_SWARM(), vec![])]);
}

#[test]
fn offers_for_a_swarm_that_was_left_come_back() {
    let mut bench = Bench::announced();
    bench.input(Input::Leave(SWARM()));
    bench.acts();
    bench.input(offers_input([6]));
    let end = OfferEnd::Withdrawn;
    assert_eq!(bench.events(), [TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(6), end }]);
}

#[test]
fn large_offers_are_spread_over_announces_that_every_tracker_takes() {
    let mut bench = Bench::new(ClientConfig::default());
    bench.input(Input::Join(SWARM()));
    bench.connected();
    let mut large = offers(1..=6);
    for offer in &mut large[..5] {
        offer.sdp = "x".repeat(6000);
    }
    large[5].sdp = "\n".repeat(MAX_FRAME_BYTES / 2);
    bench.acts();
    bench.input(Input::Offers { info_hash: SWARM(), offers: large });
    let end = OfferEnd::TooLarge;
    let too_large = Act::Event(TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(6), end });
    let mut announced = Vec::new();
    for _ in 0..4 {
        let acts = bench.acts();
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
        bench.receive(reply(SWARM(), 120, 9));
    }
    assert_eq!(announced, [vec![1, 2], vec![3, 4], vec![5]]);
}

#[test]
fn no_more_offers_live_than_allowed() {
    let mut bench = Bench::announced();
    bench.input(offers_input(100..400));
    let returned = bench.events();
    assert_eq!(returned.len(), 55);
    let end = OfferEnd::TooMany;
    assert_eq!(returned[0], TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(345), end });
    assert_eq!(bench.session.state(bench.now).swarms[&SWARM()].offers, 250);
}

#[test]
fn swarms_do_not_mix() {
    let mut bench = Bench::announced();
    bench.input(Input::Join(OTHER_SWARM()));
    bench.input(Input::Offers { info_hash: OTHER_SWARM(), offers: offers([1]) });
    assert_eq!(bench.announces(), [(OTHER_SWARM(), vec![1])]);
    bench.receive(forwarded_answer(OTHER_SWARM(), PEER(), 1));
    assert_eq!(bench.events().len(), 1);
    bench.receive(forwarded_answer(SWARM(), PEER(), 1));
    assert_eq!(bench.events().len(), 1, "the same id in another swarm is another offer");
}

#[test]
fn failures_and_nonsense_are_reported_and_survived() {
    let mut bench = Bench::announced();
    bench.receive(TrackerMessage::Failure(Failure {
        reason: format!("no\u{1b}[31m{}", "x".repeat(1000)),
        action: None,
        info_hash: None,
    }));
    let events = bench.events();
    let [TrackerEvent::Warning(TrackerWarning::Failure { reason, info_hash: None })] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(reason.starts_with("no [31mxxx") && reason.len() == 256);
    bench.receive_text("{}");
    assert_eq!(bench.acts(), [], "unknown frames are ignored");
    bench.receive_text("{\"action\":\"announce\",\"info_hash\":1}");
    assert!(matches!(&bench.events()[..], [TrackerEvent::Warning(TrackerWarning::BadFrame { .. })]));
    assert_eq!(bench.session.state(bench.now).counters.frames_ignored, 2);
    bench.receive(reply(SWARM(), 120, 1));
    assert_eq!(bench.events().len(), 1, "the socket is still in use");
}

#[test]
fn an_interval_injected_into_an_answer_is_not_taken() {
    let mut bench = Bench::announced();
    bench.receive(reply(SWARM(), 120, 9));
    let mut frame: serde_json::Value = serde_json::from_str(&forwarded_answer(SWARM(), PEER(), 1).encode()).unwrap();
    frame["interval"] = 1.into();
    frame["failure reason"] = "forged".into();
    bench.acts();
    bench.receive_text(&frame.to_string());
    assert!(matches!(&bench.events()[..], [TrackerEvent::Answer { .. }]));
    bench.advance(secs(117));
    assert_eq!(bench.announces(), []);
}
