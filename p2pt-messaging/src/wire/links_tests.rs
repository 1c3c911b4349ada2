//! Channels: what goes over which one, what is sent again, and which of them live.

use std::time::Duration;

use super::super::{FrameKind, MAX_PACKET, SessionConfig, SessionEvent, Urgency, pair::*};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_was_not_acknowledged_is_sent_again_as_it_was() {
    let mut pair = Pair::usual();
    pair.open(OTHER);
    let keys: Vec<_> = (0..4).map(|id| pair.a.send(message(id, Urgency::DEFAULT, vec![1; 40_000])).unwrap()).collect();
    let first = pair.transmit_a().unwrap();
    pair.b.receive(pair.now, LINK, &first).unwrap();
    pair.b_to_a();
    // Of these the other side gets one, and its acknowledgement is lost.
    let (got, lost) = (pair.transmit_a().unwrap(), pair.transmit_a().unwrap());
    pair.b.receive(pair.now, LINK, &got).unwrap();
    assert_eq!(pair.a.poll_transmit(pair.now, OTHER, MAX_PACKET), None, "the first channel carries all");
    pair.a.link_closed(pair.now, LINK);
    pair.b.link_closed(pair.now, LINK);
    assert_eq!(pair.transmit_a(), None);
    let again = [(); 2].map(|()| pair.a.poll_transmit(pair.now, OTHER, 2000).unwrap());
    assert_eq!(again[0].as_ptr_range(), got.as_ptr_range());
    assert_eq!(again[1].as_ptr_range(), lost.as_ptr_range());
    again.iter().for_each(|packet| pair.b.receive(pair.now, OTHER, packet).unwrap());
    assert_eq!(messages(&mut pair.b), [0, 1, 2, 3]);
    let ack = pair.b.poll_transmit(pair.now, OTHER, MAX_PACKET).unwrap();
    pair.a.receive(pair.now, OTHER, &ack).unwrap();
    assert_eq!(pair.a.unacknowledged_bytes(), 0);
    let acknowledged = events(&mut pair.a).into_iter().filter(|event| matches!(event, SessionEvent::Acknowledged(_)));
    assert_eq!(acknowledged.collect::<Vec<_>>(), keys.into_iter().map(SessionEvent::Acknowledged).collect::<Vec<_>>());
}

#[test]
fn an_acknowledgement_goes_behind_what_is_sent_again() {
    let mut pair = Pair::usual();
    pair.open(OTHER);
    pair.b.send(message(1, Urgency::DEFAULT, &b"x"[..])).unwrap();
    let lost = pair.b.poll_transmit(pair.now, LINK, MAX_PACKET).unwrap();
    pair.a.send(message(2, Urgency::DEFAULT, &b"y"[..])).unwrap();
    pair.a_to_b();
    pair.b.link_closed(pair.now, LINK);
    assert_eq!(pair.b.poll_transmit(pair.now, OTHER, MAX_PACKET), Some(lost));
    let ack = pair.b.poll_transmit(pair.now, OTHER, MAX_PACKET).unwrap();
    assert_eq!(kinds(&ack), [FrameKind::ACK]);
}

#[test]
fn the_latest_acknowledgement_is_said_again_on_another_channel() {
    let mut pair = Pair::usual();
    pair.open(OTHER);
    pair.a.send(message(1, Urgency::DEFAULT, &b"x"[..])).unwrap();
    pair.a_to_b();
    assert!(pair.b.poll_transmit(pair.now, LINK, MAX_PACKET).is_some(), "lost");
    assert_eq!(pair.b.poll_transmit(pair.now, OTHER, MAX_PACKET), None);
    // The other side does not see yet that the channel has closed, and sends nothing again.
    pair.b.link_closed(pair.now, LINK);
    let ack = pair.b.poll_transmit(pair.now, OTHER, MAX_PACKET).unwrap();
    assert_eq!(ack, &b"\x05\x01\x01"[..]);
    pair.a.receive(pair.now, OTHER, &ack).unwrap();
    assert!(pair.a.is_idle() && pair.b.is_idle());
}

#[test]
fn a_channel_that_is_left_carries_nothing_new() {
    let mut pair = Pair::usual();
    pair.a.link_leaving(LINK);
    pair.a.send(message(1, Urgency::DEFAULT, &b"x"[..])).unwrap();
    assert_eq!(pair.transmit_a(), None);
    pair.open(OTHER);
    assert_eq!(pair.transmit_a(), None);
    let packet = pair.a.poll_transmit(pair.now, OTHER, MAX_PACKET).unwrap();
    // What comes late, from a channel that is closed, is taken too; and what comes twice is taken once.
    pair.b.link_closed(pair.now, OTHER);
    pair.b.receive(pair.now, OTHER, &packet).unwrap();
    pair.b.receive(pair.now, LINK, &packet).unwrap();
    assert_eq!(messages(&mut pair.b), [1]);
}

#[test]
fn a_packet_that_came_twice_is_acknowledged_twice() {
    let mut pair = Pair::usual();
    pair.a.send(message(1, Urgency::DEFAULT, &b"x"[..])).unwrap();
    let packet = pair.transmit_a().unwrap();
    for _ in 0..2 {
        pair.b.receive(pair.now, LINK, &packet).unwrap();
        let ack = pair.b.poll_transmit(pair.now, LINK, MAX_PACKET).unwrap();
        assert_eq!(ack, &b"\x05\x01\x01"[..]);
    }
    assert_eq!(pair.b.poll_transmit(pair.now, LINK, MAX_PACKET), None);
}

#[test]
fn messages_wait_for_acknowledgements_and_control_frames_do_not() {
    let config = SessionConfig::default().max_unacknowledged(100_000);
    let mut pair = Pair::new(config, SessionConfig::default());
    for id in 0..40 {
        pair.a.send(message(id, Urgency::DEFAULT, vec![0; 10_000])).unwrap();
    }
    let packets: Vec<_> = std::iter::from_fn(|| pair.transmit_a()).collect();
    assert_eq!(packets.len(), 2);
    let key = pair.a.open(bytes::Bytes::new(), Urgency::URGENT).unwrap();
    pair.a.write(key, &mut vec![0; 10].into()).unwrap();
    let control = pair.transmit_a().unwrap();
    assert_eq!(kinds(&control), [FrameKind::SEQ, FrameKind::OPEN]);
    assert_eq!(pair.transmit_a(), None);
    packets.iter().chain([&control]).for_each(|packet| pair.b.receive(pair.now, LINK, packet).unwrap());
    pair.settle();
    assert_eq!(messages(&mut pair.b).len(), 40);
    assert!(pair.a.is_idle());
}

#[test]
fn without_acknowledgements_control_frames_are_bounded_too() {
    let mut pair = Pair::new(SessionConfig::default().max_unacknowledged(10_000), SessionConfig::default());
    let mut granted = 0;
    for id in 0..200_000_u64 {
        pair.b.send(message(id, Urgency::DEFAULT, vec![0; 20_000])).unwrap();
        if !pair.b_to_a() {
            break;
        }
        messages(&mut pair.a);
        // What this side says comes, and is never acknowledged.
        let said = pair.transmit_a();
        granted += said.iter().filter(|packet| kinds(packet).contains(&FrameKind::MAX_MSG)).count();
        let unsequenced = said.filter(|packet| packet.len() > 3);
        let frames = unsequenced.iter().flat_map(|packet| super::super::Frames::new(packet)).flatten();
        let grants: Vec<_> = frames.map(|frame| (frame.kind, frame.body.to_vec())).collect();
        let borrowed: Vec<_> = grants.iter().map(|(kind, body)| (*kind, &**body)).collect();
        if !borrowed.is_empty() {
            let packet = packet(&borrowed);
            pair.b.receive(pair.now, LINK, &packet).unwrap();
        }
        assert!(pair.a.unacknowledged_bytes() < 10_000 + (1 << 20) + 1000);
    }
    assert!(granted > 5000, "{granted}");
    assert_eq!(pair.transmit_a().map(|packet| kinds(&packet)), None);
}

#[test]
fn a_silent_channel_is_asked_and_answers() {
    let mut pair = Pair::usual();
    assert_eq!(pair.a.poll_timeout(), Some(pair.now + 15 * SECOND));
    pair.now += 15 * SECOND;
    pair.a.handle_timeout(pair.now);
    let ping = pair.transmit_a().unwrap();
    assert_eq!(ping, &b"\x06\x01\x01"[..]);
    assert_eq!(pair.transmit_a(), None);
    pair.b.receive(pair.now, LINK, &ping).unwrap();
    let pong = pair.b.poll_transmit(pair.now, LINK, MAX_PACKET).unwrap();
    assert_eq!(pong, &b"\x07\x01\x01"[..]);
    pair.now += 14 * SECOND;
    pair.a.receive(pair.now, LINK, &pong).unwrap();
    assert_eq!(pair.a.poll_timeout(), Some(pair.now + 15 * SECOND));
    assert_eq!(events(&mut pair.a), []);
}

#[test]
fn a_channel_without_an_answer_is_dead_once() {
    let mut pair = Pair::usual();
    // The timeout comes late, as after sleep, and still the channel is asked first.
    pair.now += 600 * SECOND;
    pair.a.handle_timeout(pair.now);
    assert_eq!(pair.a.poll_timeout(), Some(pair.now + 15 * SECOND));
    pair.a.handle_timeout(pair.now + 14 * SECOND);
    assert_eq!(events(&mut pair.a), []);
    pair.now += 15 * SECOND;
    pair.a.handle_timeout(pair.now);
    pair.a.handle_timeout(pair.now + 60 * SECOND);
    assert_eq!(events(&mut pair.a), [SessionEvent::LinkDead(LINK)]);
    assert_eq!(pair.a.poll_timeout(), None);
    // A sign of life, late as it is.
    pair.a.receive(pair.now, LINK, &packet(&[(FrameKind::PONG, b"\x01")])).unwrap();
    assert_eq!(pair.a.poll_timeout(), Some(pair.now + 15 * SECOND));
}

#[test]
fn every_channel_is_asked_by_itself() {
    let mut pair = Pair::usual();
    pair.open(OTHER);
    pair.now += 10 * SECOND;
    pair.a.receive(pair.now, LINK, &packet(&[(FrameKind::PING, b"\x05")])).unwrap();
    pair.now += 5 * SECOND;
    pair.a.handle_timeout(pair.now);
    assert_eq!(pair.a.poll_transmit(pair.now, OTHER, 2000).map(|packet| kinds(&packet)), Some(vec![FrameKind::PING]));
    assert_eq!(pair.transmit_a().map(|packet| kinds(&packet)), Some(vec![FrameKind::PONG]));
    // Of many only the latest is answered.
    let pings = packet(&[(FrameKind::PING, b"\x06"), (FrameKind::PING, b"\x07")]);
    pair.a.receive(pair.now, LINK, &pings).unwrap();
    assert_eq!(pair.transmit_a().unwrap(), &b"\x07\x01\x07"[..]);
    assert_eq!(pair.transmit_a(), None);
}
