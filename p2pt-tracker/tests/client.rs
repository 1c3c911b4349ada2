//! The client over in-memory streams with real WebSocket framing, under paused time.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use p2pt_proto::{
    AnnounceEvent, ClientMessage, ForwardedAnswer, ForwardedOffer, ScrapeReply, ScrapeStats, TrackerMessage,
};
use p2pt_tracker::{ClientConfig, ConnectError, OfferEnd, SocketEnd, TrackerEvent, TrackerStatus, TrackerWarning};
use support::{Setup, offer_id, offers, peer, reply, swarm};
use tokio::time::{Instant, sleep, timeout};

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn remote_offer(n: u8) -> TrackerMessage {
    let (info_hash, peer_id) = (swarm(), peer(2));
    TrackerMessage::Offer(ForwardedOffer::new(info_hash, peer_id, offer_id(n), "their offer"))
}

#[tokio::test(start_paused = true)]
async fn announces_and_relays_offers_and_answers() {
    let mut harness = Setup::default().start();
    let mut tracker = harness.announced().await;
    assert_eq!(harness.elapsed(), Duration::ZERO, "nothing on the way to the first announce waits for a clock");

    tracker.send(reply(2)).await;
    let announced = harness.event_where(|event| matches!(event, TrackerEvent::Announced { .. })).await;
    let TrackerEvent::Announced { info_hash, complete, incomplete, interval, .. } = announced else { unreachable!() };
    assert_eq!((info_hash, complete, incomplete, interval), (swarm(), Some(0), Some(2), secs(120)));

    tracker.send(remote_offer(9)).await;
    let event = harness.event().await;
    let Some(TrackerEvent::Offer { info_hash, from, offer_id: id, sdp, .. }) = event else { panic!("{event:?}") };
    assert_eq!((info_hash, from, id, sdp.as_str()), (swarm(), peer(2), offer_id(9), "their offer"));
    harness.client.answer(swarm(), peer(2), offer_id(9), "our answer".into());
    let Some(ClientMessage::Answer(answer)) = tracker.next().await else { panic!("no answer") };
    assert_eq!((answer.to_peer_id, answer.offer_id, answer.sdp.as_str()), (peer(2), offer_id(9), "our answer"));

    let answer = ForwardedAnswer::new(swarm(), peer(2), offer_id(1), "their answer");
    tracker.send(TrackerMessage::Answer(answer)).await;
    let event = harness.event().await;
    let Some(TrackerEvent::Answer { info_hash, from, offer_id: id, sdp, .. }) = event else { panic!("{event:?}") };
    assert_eq!((info_hash, from, id, sdp.as_str()), (swarm(), peer(2), offer_id(1), "their answer"));

    let state = harness.state();
    assert_eq!(state.status, TrackerStatus::Connected);
    assert_eq!(state.swarms[&swarm()].offers, 4);
    assert_eq!((state.counters.offers_received, state.counters.answers_received), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn scrapes_without_joining() {
    let mut harness = Setup::default().start();
    harness.client.scrape(vec![swarm()]);
    let mut tracker = harness.accept().await;
    assert!(matches!(tracker.next().await, Some(ClientMessage::Scrape(_))));
    let files = BTreeMap::from([(swarm(), ScrapeStats::new(1, 2, 3))]);
    tracker.send(TrackerMessage::Scrape(ScrapeReply::new(files.clone()))).await;
    assert_eq!(harness.event().await, Some(TrackerEvent::Connected));
    let event = harness.event().await;
    assert!(matches!(&event, Some(TrackerEvent::Scraped { files: known, .. }) if *known == files), "{event:?}");
    assert_eq!(tracker.next().await, None, "the socket is not kept for nothing");
    assert_eq!(harness.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn comes_back_after_refusals_with_growing_waits() {
    let mut harness = Setup { refusals: 5, ..Setup::default() }.start();
    harness.client.join(swarm());
    let mut promised = Duration::ZERO;
    for base in [1, 2, 4, 8, 16] {
        let failed = |event: &TrackerEvent| matches!(event, TrackerEvent::ConnectFailed { .. });
        let TrackerEvent::ConnectFailed { retry_in, .. } = harness.event_where(failed).await else { unreachable!() };
        let Some(TrackerWarning::ConnectFailed { error, .. }) = harness.state().last_error.map(|last| last.warning)
        else {
            panic!("another warning")
        };
        let ConnectError::Io { kind, .. } = error else { panic!("{error:?}") };
        assert_eq!(kind, std::io::ErrorKind::ConnectionRefused);
        assert!(secs(base) <= retry_in && retry_in <= secs(2 * base), "{retry_in:?} for {base}");
        promised += retry_in;
    }
    harness.accept().await;
    let late = harness.elapsed() - promised;
    assert!(late < Duration::from_millis(20), "timers have a grain of a millisecond, but {late:?}");
}

#[tokio::test(start_paused = true)]
async fn comes_back_after_the_tracker_closed_and_announces_again() {
    let mut harness = Setup::default().start();
    let mut tracker = harness.announced().await;
    tracker.socket.close(None).await.unwrap();
    let gone = harness.event_where(|event| matches!(event, TrackerEvent::Disconnected { .. })).await;
    assert!(
        matches!(gone, TrackerEvent::Disconnected { end: SocketEnd::Closed { code: None, reason: None, .. }, .. }),
        "{gone:?}"
    );
    let mut tracker = harness.accept().await;
    assert!(secs(1) <= harness.elapsed() && harness.elapsed() <= secs(3));
    harness.event_where(|event| matches!(event, TrackerEvent::OffersWanted { .. })).await;
    harness.client.offers(swarm(), offers(6..=10));
    assert_eq!(tracker.announce().await.offers, Some(offers(6..=10)));
}

#[tokio::test(start_paused = true)]
async fn gives_up_a_handshake_that_does_not_end() {
    let mut harness = Setup::default().start();
    harness.client.join(swarm());
    let stream = harness.stream().await;
    harness.event_where(|event| matches!(event, TrackerEvent::ConnectFailed { .. })).await;
    assert_eq!(harness.elapsed().as_secs(), 30);
    harness.accept().await;
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn an_http_answer_is_reported_for_what_it_is() {
    use tokio::io::AsyncWriteExt as _;
    let mut harness = Setup::default().start();
    harness.client.join(swarm());
    let mut stream = harness.stream().await;
    stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let failed = |event: &TrackerEvent| matches!(event, TrackerEvent::Warning { .. });
    let text = format!("{:?}", harness.event_where(failed).await);
    assert!(text.contains("404"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn pings_keep_the_socket_alive_for_hours() {
    let mut harness = Setup::default().start();
    harness.client.join(swarm());
    harness.client.set_wanted(swarm(), 0);
    let mut tracker = harness.accept().await;
    let hour = Instant::now() + secs(3600);
    let mut announces = 0;
    while Instant::now() < hour {
        assert!(tracker.announce().await.offers.unwrap().is_empty());
        tracker.send(reply(1)).await;
        announces += 1;
    }
    assert_eq!(announces, 31);
    assert!((118..=120).contains(&tracker.pings.len()), "{}", tracker.pings.len());
    assert_eq!(harness.state().counters.connects, 1);
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_has_gone_silent_is_replaced() {
    let mut harness = Setup::default().start();
    let tracker = harness.announced().await;
    let gone = harness.event_where(|event| matches!(event, TrackerEvent::Disconnected { .. })).await;
    assert!(matches!(gone, TrackerEvent::Disconnected { end: SocketEnd::DoesNotAnswer, .. }), "{gone:?}");
    assert_eq!(harness.elapsed().as_secs(), 50);
    harness.accept().await;
    drop(tracker);
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_does_not_read_neither_stalls_the_handle_nor_lasts() {
    let mut harness = Setup { capacity_bytes: 1024, ..Setup::default() }.start();
    let tracker = harness.announced().await;
    for n in 0..10 {
        harness.client.answer(swarm(), peer(2), offer_id(n), "x".repeat(4000));
    }
    let gone = harness.event_where(|event| matches!(event, TrackerEvent::Disconnected { .. })).await;
    assert!(matches!(gone, TrackerEvent::Disconnected { end: SocketEnd::DoesNotRead, .. }), "{gone:?}");
    assert_eq!(harness.elapsed().as_secs(), 10);
    drop(tracker);
}

#[tokio::test(start_paused = true)]
async fn leaving_and_stopping_say_so_to_the_tracker() {
    let mut harness = Setup::default().start();
    let other = p2pt_proto::InfoHash::of("other");
    let mut tracker = harness.announced().await;
    tracker.send(reply(9)).await;
    harness.client.join(other);
    harness.client.offers(other, vec![]);
    assert_eq!(tracker.announce().await.info_hash, other);
    harness.client.leave(swarm());
    let stopped = tracker.announce().await;
    assert_eq!((stopped.event, stopped.info_hash), (Some(AnnounceEvent::Stopped), swarm()));
    for _ in 0..5 {
        let ended = harness.event_where(|event| matches!(event, TrackerEvent::OfferEnded { .. })).await;
        assert!(matches!(ended, TrackerEvent::OfferEnded { end: OfferEnd::Withdrawn, .. }));
    }
    let far_side = async {
        let stopped = tracker.announce().await;
        assert_eq!((stopped.event, stopped.info_hash), (Some(AnnounceEvent::Stopped), other));
        assert_eq!(tracker.next().await, None);
    };
    tokio::join!(harness.client.stop(), far_side);
    let event = harness.event().await;
    assert!(matches!(event, Some(TrackerEvent::Disconnected { end: SocketEnd::Stopped, .. })), "{event:?}");
    assert_eq!(harness.event().await, None, "no more events");
    assert_eq!(harness.state().status, TrackerStatus::Stopped);
    assert_eq!(harness.elapsed(), Duration::ZERO);
    harness.client.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_long_for_a_tracker_that_does_not_answer() {
    let mut harness = Setup::default().start();
    let tracker = harness.announced().await;
    let before = Instant::now();
    harness.client.stop().await;
    assert_eq!(before.elapsed().as_secs(), 2);
    drop(tracker);

    // While connecting.
    let mut harness = Setup::default().start();
    harness.client.join(swarm());
    let stream = harness.stream().await;
    let before = Instant::now();
    harness.client.stop().await;
    assert_eq!(before.elapsed(), Duration::ZERO);
    drop(stream);

    // With events that are not read.
    let mut harness = Setup { events: 1, ..Setup::default() }.start();
    harness.client.join(swarm());
    let _tracker = harness.accept().await;
    harness.client.offers(swarm(), offers(1..=5));
    let before = Instant::now();
    harness.client.stop().await;
    assert!(before.elapsed() <= Duration::from_millis(2600), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_cancelled_leaves_no_task_behind() {
    let mut harness = Setup::default().start();
    let _tracker = harness.announced().await;
    assert!(timeout(secs(1), harness.client.stop()).await.is_err(), "the tracker does not answer");
    let before = Instant::now();
    drop(harness.client);
    while harness.events.recv().await.is_some() {}
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn everybody_who_stops_waits_for_the_end() {
    let mut harness = Setup::default().start();
    let _tracker = harness.announced().await;
    let before = Instant::now();
    let second = async {
        harness.client.stop().await;
        before.elapsed().as_secs()
    };
    assert_eq!(tokio::join!(harness.client.stop(), second), ((), 2));
}

#[tokio::test(start_paused = true)]
async fn unread_events_hold_the_tracker_back_and_cost_nothing_else() {
    let config = ClientConfig::default();
    let mut harness = Setup { events: 1, capacity_bytes: 4096, config, ..Setup::default() }.start();
    let mut tracker = harness.announced().await;
    tracker.send(reply(9)).await;
    let mut sent = 0;
    while timeout(secs(1), tracker.send(remote_offer(sent))).await.is_ok() {
        sent += 1;
        assert!(sent < 200, "the client reads on and on");
    }
    // Longer than a ping may remain unanswered: the pongs are stuck behind the offers.
    sleep(secs(90)).await;
    let mut received = 0;
    while received < sent {
        match harness.event().await.unwrap() {
            TrackerEvent::Offer { offer_id: id, .. } => {
                assert_eq!(id, offer_id(received));
                received += 1;
            }
            TrackerEvent::Disconnected { end, .. } => panic!("{end}"),
            _ => {}
        }
    }
    assert_eq!(harness.state().counters.connects, 1);
}

#[tokio::test(start_paused = true)]
async fn ends_when_nobody_listens_any_more() {
    let mut harness = Setup::default().start();
    let mut tracker = harness.announced().await;
    drop(harness.events);
    assert_eq!(tracker.announce().await.event, Some(AnnounceEvent::Stopped));
    assert_eq!(tracker.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_closes_the_socket() {
    let mut harness = Setup::default().start();
    let mut tracker = harness.announced().await;
    drop(harness.client);
    assert_eq!(tracker.next().await, None);
    while let Some((_, event)) = harness.events.recv().await {
        assert_eq!(event, TrackerEvent::Connected, "nothing but what was there before");
    }
}

/// Each refused attempt to connect is an event, and there are more clients than room for events.
#[tokio::test(start_paused = true)]
async fn clients_that_wait_for_the_same_receiver_get_their_turns() {
    let (sender, mut events) = tokio::sync::mpsc::channel(4);
    let clients: Vec<_> =
        (0..40).map(|n| Setup { refusals: 1, ..Setup::default() }.start_as(n, sender.clone())).collect();
    clients.iter().for_each(|(client, _)| client.join(swarm()));
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < clients.len() {
        let (key, event) = timeout(support::GUARD, events.recv()).await.expect("in time").expect("an event");
        if matches!(event, TrackerEvent::ConnectFailed { .. }) {
            seen.insert(key);
        }
    }
}
