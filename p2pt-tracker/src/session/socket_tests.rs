//! Dialogues with a session about its socket: connecting, keeping alive, losing, stopping; and scrapes.

use std::collections::BTreeMap;

use p2pt_proto::{
    AnnounceEvent, ClientMessage, Failure, InfoHash, ScrapeReply, ScrapeRequest, ScrapeStats, TrackerMessage,
};

use super::test_support::*;
use super::{BUSY_EVENTS, Input};
use crate::{ClientConfig, OfferEnd, Route, SocketEnd, TrackerEvent, TrackerStatus, TrackerWarning};

fn joined() -> Harness {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Join(SWARM()));
    harness
}

fn give_offers(harness: &mut Harness, numbers: impl IntoIterator<Item = u32>) {
    harness.input(Input::Offers { info_hash: SWARM(), offers: offers(numbers) });
}

fn is_offers_wanted(act: &Act) -> bool {
    matches!(act, Act::Event(TrackerEvent::OffersWanted { .. }))
}

/// The time until the session tries to connect again.
fn retry_in(harness: &Harness) -> std::time::Duration {
    match harness.session.state(harness.now).status {
        TrackerStatus::WaitingToReconnect { retry_in } => retry_in,
        other => panic!("{other:?}"),
    }
}

#[test]
fn does_nothing_without_a_swarm() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.advance(secs(1000));
    assert_eq!(harness.acts(), []);
    assert_eq!(harness.session.state(harness.now).status, TrackerStatus::Idle);
}

#[test]
fn failed_attempts_back_off_and_ask_for_no_offers() {
    let mut harness = joined();
    give_offers(&mut harness, []);
    harness.acts();
    for base in [1, 2, 4, 8, 16, 30, 30] {
        harness.refused();
        let wait = retry_in(&harness);
        assert!(secs(base) <= wait && wait <= secs(2 * base), "{wait:?}");
        let events = harness.events();
        assert!(matches!(&events[0], TrackerEvent::ConnectFailed { retry_in } if *retry_in == wait), "{events:?}");
        harness.advance(wait);
        assert_eq!(harness.acts(), [Act::Connect]);
    }
    harness.connected();
    assert!(harness.acts().iter().any(is_offers_wanted), "now they are");
    give_offers(&mut harness, 1..=5);
    assert_eq!(harness.announces().len(), 1);
}

/// An attempt that hangs for 30 s and a wait of 60 s behind it would be 90 s without a try.
#[test]
fn attempts_that_hang_are_a_part_of_the_wait() {
    let mut harness = joined();
    harness.acts();
    for longest in [1, 1, 1, 1, 2, 30, 30, 30] {
        harness.advance(secs(30));
        harness.acts();
        let wait = retry_in(&harness);
        assert!(secs(1) <= wait && wait <= secs(longest), "{wait:?}");
        harness.advance(wait);
        assert_eq!(harness.acts(), [Act::Connect]);
    }
}

#[test]
fn when_the_network_is_back_a_tracker_is_tried_at_once() {
    let mut harness = joined();
    for _ in 0..8 {
        harness.refused();
        harness.advance(retry_in(&harness));
    }
    harness.refused();
    harness.acts();
    assert!(retry_in(&harness) >= secs(30));
    harness.advance(millis(9_999));
    harness.input(Input::Retry);
    assert_eq!(harness.acts(), [], "it was tried just now");
    harness.advance(millis(1));
    harness.input(Input::Retry);
    assert_eq!(harness.acts(), [Act::Connect]);
    // The wait does not become shorter for it.
    harness.refused();
    assert!(retry_in(&harness) >= secs(30));
    // Where there is a socket, or none is wanted, it changes nothing.
    harness.advance(secs(60));
    harness.connected();
    harness.advance(secs(20));
    harness.acts();
    harness.input(Input::Retry);
    assert_eq!(harness.acts(), []);
}

#[test]
fn an_attempt_to_connect_has_a_deadline() {
    let mut harness = joined();
    harness.acts();
    harness.advance(secs(30));
    let acts = harness.acts();
    assert!(
        matches!(
            acts[..],
            [Act::Abort, Act::Event(TrackerEvent::ConnectFailed { .. }), Act::Event(TrackerEvent::Warning { .. })]
        ),
        "{acts:?}"
    );
    harness.advance(secs(2));
    assert_eq!(harness.acts(), [Act::Connect]);
}

#[test]
fn a_lost_socket_is_replaced_after_a_short_wait_and_only_a_stable_minute_makes_it_short_again() {
    let mut harness = Harness::announced();
    harness.disconnected();
    let mut wait = retry_in(&harness);
    assert!(wait <= secs(2));
    for (lasts, base) in [(59, 2), (1, 4), (59, 8), (60, 1)] {
        harness.advance(wait);
        harness.connected();
        harness.advance(secs(lasts));
        harness.disconnected();
        wait = retry_in(&harness);
        assert!(secs(base) <= wait && wait <= secs(2 * base), "{wait:?} after {lasts} s");
    }
}

#[test]
fn after_a_loss_offers_are_asked_for_while_connecting_again() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 9));
    harness.disconnected();
    harness.acts();
    harness.advance(secs(2));
    let acts = harness.acts();
    assert!(acts.contains(&Act::Connect) && acts.iter().any(is_offers_wanted), "{acts:?}");
    give_offers(&mut harness, 11..=15);
    harness.connected();
    assert_eq!(harness.announces(), [(SWARM(), vec![11, 12, 13, 14, 15])]);
}

#[test]
fn announced_offers_outlive_the_socket_but_are_not_announced_again() {
    let mut harness = Harness::announced();
    harness.disconnected();
    harness.advance(secs(2));
    give_offers(&mut harness, [11]);
    harness.connected();
    assert_eq!(harness.announces(), [(SWARM(), vec![11])]);
    harness.receive(forwarded_answer(SWARM(), PEER(), 1));
    assert!(matches!(&harness.events()[..], [TrackerEvent::Answer { .. }]));
}

#[test]
fn surplus_offers_are_announced_on_the_next_socket() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 1));
    harness.disconnected();
    harness.advance(secs(2));
    assert!(!harness.acts().iter().any(is_offers_wanted), "there are five");
    harness.connected();
    assert_eq!(harness.announces(), [(SWARM(), vec![1, 2, 3, 4, 5])]);
}

#[test]
fn after_a_socket_broke_the_record_at_the_tracker_is_made_anew() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 9));
    harness.disconnected_by(SocketEnd::Broken("test".into()));
    for round in 0..2 {
        let fresh = 10 * round + 11..=10 * round + 15;
        harness.advance(secs(2));
        give_offers(&mut harness, fresh.clone());
        harness.acts();
        harness.connected();
        let sent = harness.sent();
        let sent: Vec<_> = sent.iter().filter_map(announce).map(|sent| (sent.event, numbers(sent))).collect();
        let anew = (None, fresh.collect());
        if round == 0 {
            assert_eq!(sent, [(None, vec![]), (Some(AnnounceEvent::Stopped), vec![]), anew]);
            // Not even one of the replies to all that says for certain which offers were not forwarded.
            for members in [9, 1, 1] {
                harness.receive(reply(SWARM(), 120, members));
            }
            harness.input(Input::Announce(SWARM()));
            give_offers(&mut harness, []);
            harness.advance(secs(10));
            assert_eq!(harness.announces(), [(SWARM(), vec![])]);
            // Another time the tracker closes it, and knows.
            harness.advance(secs(80));
            harness.disconnected();
        } else {
            assert_eq!(sent, [anew]);
        }
    }
}

#[test]
fn inputs_from_an_old_socket_are_ignored() {
    let mut harness = Harness::announced();
    let old = harness.socket.unwrap();
    harness.disconnected();
    harness.advance(secs(2));
    harness.acts();
    harness.input(Input::Connected { socket: old, route: Route::default() });
    harness.input(Input::ConnectFailed { socket: old, error: refusal() });
    harness.input(Input::Received { socket: old, frame: reply(SWARM(), 120, 1).encode().into() });
    harness.input(Input::Sent(old));
    harness.input(Input::Disconnected { socket: old, end: SocketEnd::Broken("late".into()) });
    assert_eq!(harness.acts(), []);
    assert_eq!(harness.session.state(harness.now).status, TrackerStatus::Connecting);
}

#[test]
fn pings_every_30_seconds_and_gives_up_20_seconds_after_one_without_any_sign_of_life() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 1));
    harness.acts();
    harness.advance(secs(30));
    assert!(harness.acts().contains(&Act::Ping));
    harness.pongs = false;
    harness.advance(secs(30));
    harness.receive_text("{}");
    assert_eq!(harness.acts(), [Act::Ping], "any frame is a sign of life");
    harness.advance(secs(30));
    harness.acts();
    harness.advance(millis(19_999));
    assert!(!harness.acts().contains(&Act::Abort));
    harness.advance(millis(1));
    let acts = harness.acts();
    assert!(acts.contains(&Act::Abort), "{acts:?}");
    let end = SocketEnd::DoesNotAnswer;
    assert!(acts.contains(&Act::Event(TrackerEvent::Disconnected { end: end.clone() })), "{acts:?}");
    let retry_in = retry_in(&harness);
    let warning = TrackerWarning::Disconnected { end, retry_in };
    assert_eq!(acts.last(), Some(&Act::Event(TrackerEvent::Warning { warning, missed: 0 })));
}

/// A session as [`Harness::announced`], on a socket over which no pings can be sent.
fn announced_without_pings() -> Harness {
    let mut harness = joined();
    harness.connected_by(Route::without_pings());
    harness.input(Input::Offers { info_hash: SWARM(), offers: offers(1..=5) });
    assert_eq!(harness.announces(), [(SWARM(), vec![1, 2, 3, 4, 5])]);
    harness
}

#[test]
fn without_pings_a_tracker_that_is_silent_for_50_seconds_after_an_announce_is_left() {
    let mut harness = announced_without_pings();
    harness.advance(millis(49_999));
    let acts = harness.acts();
    assert!(!acts.contains(&Act::Abort) && !acts.contains(&Act::Ping), "{acts:?}");
    harness.advance(millis(1));
    let acts = harness.acts();
    assert!(acts.contains(&Act::Abort), "{acts:?}");
    assert!(acts.contains(&Act::Event(TrackerEvent::Disconnected { end: SocketEnd::Silent })), "{acts:?}");
}

#[test]
fn without_pings_any_frame_is_a_sign_of_life_and_a_tracker_may_be_silent_while_nothing_is_asked() {
    let mut harness = announced_without_pings();
    harness.advance(secs(49));
    harness.receive_text("{}");
    harness.advance(secs(10));
    assert!(!harness.acts().contains(&Act::Abort));
    harness.receive(reply(SWARM(), 120, 1));
    harness.acts();
    // The next announce comes within the interval, and nothing is asked before.
    harness.advance(secs(90));
    assert!(!harness.acts().contains(&Act::Abort));
}

/// What a session does that was asked for nothing for so long, as in a page that is frozen, and then for what was due.
fn acts_after_a_pause(harness: &mut Harness, pause: std::time::Duration) -> Vec<Act> {
    harness.acts();
    harness.now += pause;
    harness.input(Input::Timeout);
    harness.acts()
}

#[test]
fn after_a_pause_the_frames_that_wait_to_be_read_are_signs_of_life() {
    let mut harness = announced_without_pings();
    let acts = acts_after_a_pause(&mut harness, secs(60));
    assert!(!acts.contains(&Act::Abort), "{acts:?}");
    harness.receive(reply(SWARM(), 120, 1));
    harness.advance(secs(90));
    assert!(!harness.acts().contains(&Act::Abort));
}

#[test]
fn after_a_pause_a_silent_tracker_is_left_5_seconds_later() {
    let mut harness = announced_without_pings();
    assert!(!acts_after_a_pause(&mut harness, secs(60)).contains(&Act::Abort));
    harness.advance(millis(4_999));
    assert!(!harness.acts().contains(&Act::Abort));
    harness.advance(millis(1));
    assert!(harness.acts().contains(&Act::Abort));

    // One that would be silent later than that is not left sooner.
    let mut harness = announced_without_pings();
    assert!(!acts_after_a_pause(&mut harness, secs(40)).contains(&Act::Abort));
    harness.advance(millis(9_999));
    assert!(!harness.acts().contains(&Act::Abort));
    harness.advance(millis(1));
    assert!(harness.acts().contains(&Act::Abort));
}

#[test]
fn after_a_pause_a_pong_and_a_written_frame_are_waited_for_5_seconds_more() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 1));
    harness.pongs = false;
    harness.advance(secs(31));
    assert!(harness.acts().contains(&Act::Ping));
    assert!(!acts_after_a_pause(&mut harness, secs(60)).contains(&Act::Abort));
    harness.advance(secs(5));
    assert!(harness.acts().contains(&Act::Abort));

    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 1));
    harness.writes = false;
    harness.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(1), sdp: "answer".into() });
    assert!(!acts_after_a_pause(&mut harness, secs(60)).contains(&Act::Abort));
    harness.advance(secs(5));
    assert!(harness.acts().contains(&Act::Abort));
}

#[test]
fn after_a_pause_a_socket_that_has_opened_meanwhile_is_not_given_up() {
    let mut harness = joined();
    assert!(!acts_after_a_pause(&mut harness, secs(60)).contains(&Act::Abort));
    harness.connected_by(Route::without_pings());
    assert!(harness.acts().contains(&Act::Event(TrackerEvent::Connected)));
}

#[test]
fn where_pings_are_answered_silence_ends_no_socket() {
    let mut harness = Harness::announced();
    harness.advance(secs(600));
    assert!(!harness.acts().contains(&Act::Abort));
}

#[test]
fn a_tracker_that_does_not_read_is_left_after_10_seconds_and_nothing_piles_up() {
    let mut harness = Harness::announced();
    harness.receive(reply(SWARM(), 120, 9));
    harness.acts();
    harness.writes = false;
    for n in 0..100 {
        harness.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(n), sdp: "answer".into() });
    }
    let acts = harness.acts();
    let sent = acts.iter().filter(|act| matches!(act, Act::Sent(_))).count();
    // Each warning that was left out is counted.
    let dropped = |harness: &Harness| harness.session.state(harness.now).counters.warnings;
    assert_eq!((sent, dropped(&harness)), (1, 35), "one is being written, 64 wait");
    harness.advance(millis(9_999));
    assert_eq!(harness.acts(), []);
    harness.advance(millis(1));
    let acts = harness.acts();
    assert_eq!(acts[0], Act::Abort);
    assert_eq!(dropped(&harness), 35 + 64 + 1, "and the loss of the socket");
}

#[test]
fn answers_without_a_socket_are_refused() {
    let mut harness = joined();
    harness.acts();
    harness.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(1), sdp: "answer".into() });
    let warning = TrackerWarning::AnswerDropped { info_hash: SWARM(), to: PEER(), offer_id: offer_id(1) };
    assert_eq!(harness.events(), [TrackerEvent::Warning { warning, missed: 0 }]);
}

#[test]
fn too_large_answers_are_refused() {
    let mut harness = Harness::announced();
    let sdp = "\u{1}".repeat(3000);
    harness.input(Input::Answer { info_hash: SWARM(), to: PEER(), offer_id: offer_id(1), sdp });
    assert!(matches!(
        &harness.events()[..],
        [TrackerEvent::Warning { warning: TrackerWarning::AnswerDropped { .. }, .. }]
    ));
}

#[test]
fn stopping_says_so_to_each_swarm_and_closes() {
    let mut harness = Harness::announced();
    harness.input(Input::Join(OTHER_SWARM()));
    harness.input(Input::Offers { info_hash: OTHER_SWARM(), offers: vec![] });
    harness.acts();
    harness.writes = false;
    harness.input(Input::Stop);
    let mut stopped = Vec::new();
    for _ in 0..2 {
        let acts = harness.acts();
        assert!(!acts.contains(&Act::Close));
        for act in acts {
            match act {
                Act::Sent(ClientMessage::Announce(announce)) => {
                    assert_eq!(announce.event, Some(AnnounceEvent::Stopped));
                    stopped.push(announce.info_hash);
                }
                Act::Event(TrackerEvent::OfferEnded { end, .. }) => assert_eq!(end, OfferEnd::Withdrawn),
                other => panic!("{other:?}"),
            }
        }
        harness.input(Input::Sent(harness.socket.unwrap()));
    }
    stopped.sort();
    let mut both = [SWARM(), OTHER_SWARM()];
    both.sort();
    assert_eq!(stopped, both);
    assert_eq!(harness.acts(), [Act::Close]);
    assert!(!harness.session.is_stopped());
    harness.disconnected();
    assert!(harness.session.is_stopped());
    assert_eq!(harness.session.poll_timeout(), None);
    harness.acts();
    harness.input(Input::Join(SWARM()));
    harness.input(Input::Scrape(vec![]));
    give_offers(&mut harness, [1]);
    let end = OfferEnd::Withdrawn;
    assert_eq!(harness.events(), [TrackerEvent::OfferEnded { info_hash: SWARM(), offer_id: offer_id(1), end }]);
}

#[test]
fn stopping_has_a_deadline_whatever_the_tracker_does() {
    for (writes, close_seen) in [(true, true), (false, false)] {
        let mut harness = Harness::announced();
        harness.writes = writes;
        harness.input(Input::Stop);
        harness.advance(millis(1_999));
        let acts = harness.acts();
        assert_eq!((acts.contains(&Act::Close), acts.contains(&Act::Abort)), (close_seen, false));
        harness.advance(millis(1));
        assert!(harness.acts().contains(&Act::Abort));
        assert!(harness.session.is_stopped());
    }
}

#[test]
fn stopping_while_there_is_no_socket_is_immediate() {
    let mut harness = joined();
    harness.acts();
    harness.input(Input::Stop);
    assert_eq!(harness.acts(), [Act::Abort]);
    assert!(harness.session.is_stopped());
    let mut harness = joined();
    harness.refused();
    harness.acts();
    harness.input(Input::Stop);
    assert_eq!(harness.acts(), []);
    assert!(harness.session.is_stopped());
}

#[test]
fn an_unused_socket_is_closed_and_opened_again_when_needed() {
    let mut harness = Harness::announced();
    harness.input(Input::Leave(SWARM()));
    harness.acts();
    harness.advance(millis(9_999));
    assert_eq!(harness.acts(), []);
    harness.advance(millis(1));
    assert_eq!(harness.acts(), [Act::Close]);
    harness.input(Input::Join(SWARM()));
    assert!(!harness.acts().contains(&Act::Connect), "the old one is still there");
    harness.disconnected();
    assert!(harness.acts().contains(&Act::Connect));
}

#[test]
fn undelivered_events_stop_the_reading_and_requests_for_offers_do_not_pile_up() {
    let mut harness = Harness::announced();
    let (now, socket) = (harness.now, harness.socket.unwrap());
    assert!(harness.session.wants_frames());
    let mut read = 0;
    while harness.session.wants_frames() {
        let frame = forwarded_offer(SWARM(), PEER(), read).encode().into();
        harness.session.handle_input(now, Input::Received { socket, frame });
        read += 1;
    }
    assert_eq!(read as usize, BUSY_EVENTS);
    for _ in 0..1000 {
        harness.session.handle_input(now, Input::Join(OTHER_SWARM()));
        harness.session.handle_input(now, Input::Leave(OTHER_SWARM()));
    }
    while harness.session.poll_event().is_some() {
        read -= 1;
    }
    assert_eq!(read, 0);
}

fn stats(complete: u32) -> ScrapeStats {
    ScrapeStats::new(complete, 1, 2)
}

fn scraped(files: impl IntoIterator<Item = (InfoHash, ScrapeStats)>) -> TrackerMessage {
    TrackerMessage::Scrape(ScrapeReply::new(files))
}

#[test]
fn a_scrape_connects_and_reports_what_was_asked() {
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Scrape(vec![SWARM()]));
    assert_eq!(harness.acts(), [Act::Connect]);
    harness.connected();
    assert_eq!(harness.sent(), [ClientMessage::Scrape(ScrapeRequest::new([SWARM()]))]);
    harness.receive(scraped([(OTHER_SWARM(), stats(9))]));
    assert_eq!(harness.acts(), [], "not what was asked");
    harness.receive(scraped([(SWARM(), stats(3)), (OTHER_SWARM(), stats(9))]));
    let files = BTreeMap::from([(SWARM(), stats(3))]);
    assert_eq!(harness.events(), [TrackerEvent::Scraped { files }]);
    harness.advance(secs(10));
    assert_eq!(harness.acts(), [Act::Close]);
}

#[test]
fn large_scrapes_go_out_in_parts_one_after_the_other() {
    let mut harness = Harness::announced();
    let many: Vec<_> = (0..150u32).map(|n| InfoHash::of(&n.to_string())).collect();
    harness.input(Input::Scrape(many.clone()));
    let mut parts = Vec::new();
    for _ in 0..3 {
        for message in harness.sent() {
            assert!(message.encode().len() <= super::MAX_FRAME_BYTES);
            let ClientMessage::Scrape(request) = message else { panic!("{message:?}") };
            parts.push(request.info_hashes);
        }
        harness.receive(scraped([]));
    }
    assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22]);
    assert_eq!(parts.concat(), many);
}

#[test]
fn an_unanswered_scrape_is_given_up() {
    let failed = |info_hashes| TrackerEvent::ScrapeFailed { info_hashes };
    let warned =
        |info_hashes| TrackerEvent::Warning { warning: TrackerWarning::ScrapeFailed { info_hashes }, missed: 0 };
    // Without a connection, without a reply, by a failure, by a lost socket.
    let mut harness = Harness::new(ClientConfig::default());
    harness.input(Input::Scrape(vec![]));
    harness.advance(secs(15));
    assert_eq!(harness.events(), [failed(vec![]), warned(vec![])]);

    let mut harness = Harness::announced();
    harness.input(Input::Scrape(vec![SWARM()]));
    harness.input(Input::Scrape(vec![OTHER_SWARM()]));
    harness.acts();
    harness.advance(secs(15));
    assert_eq!(harness.events(), [failed(vec![SWARM()]), warned(vec![SWARM()]), failed(vec![OTHER_SWARM()])]);

    harness.input(Input::Scrape(vec![SWARM()]));
    let failure = Failure::new("Full scrapes are not allowed").action("scrape");
    harness.receive(TrackerMessage::Failure(failure));
    assert_eq!(harness.events()[1..], [failed(vec![SWARM()])]);

    harness.input(Input::Scrape(vec![SWARM()]));
    harness.acts();
    harness.disconnected();
    assert!(harness.events().contains(&failed(vec![SWARM()])));
}
