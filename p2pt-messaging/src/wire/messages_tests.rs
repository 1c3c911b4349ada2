//! Messages, from one session to the other.

use super::super::{GivenUp, InMessage, MAX_PACKET, MessageKind, Session, SessionConfig, pair::*};
use super::*;
use bytes::Bytes;

const URGENT: Urgency = Urgency::URGENT;
const DEFAULT: Urgency = Urgency::DEFAULT;
const BACKGROUND: Urgency = Urgency::BACKGROUND;

fn send(session: &mut Session, id: u64, urgency: Urgency, size: usize) -> MessageKey {
    session.send(message(id, urgency, vec![id as u8; size])).unwrap()
}

#[test]
fn a_message_arrives_as_it_is_and_is_acknowledged() {
    let mut pair = Pair::usual();
    let kinds = [MessageKind::Text, MessageKind::Json, MessageKind::Bytes, MessageKind::Raw];
    for (id, kind) in (0..).zip(kinds) {
        for (size, response) in [(0, true), (2, false), (200_000, true)] {
            let bytes = Bytes::from(vec![id as u8; size]);
            let out = OutMessage { id, response, kind, urgency: URGENT, bytes: bytes.clone() };
            let key = pair.a.send(out).unwrap();
            pair.settle();
            assert_eq!(pair.b.receive_message(), Some(InMessage { id, response, kind, urgency: URGENT, bytes }));
            let mut told = events(&mut pair.a);
            told.retain(|event| *event != SessionEvent::RoomFor(URGENT));
            assert_eq!(told, [SessionEvent::Taken(key), SessionEvent::Acknowledged(key)]);
        }
    }
    pair.settle();
    assert_eq!(pair.b.receive_message(), None);
    assert!(pair.a.is_idle() && pair.b.is_idle());
    assert_eq!((pair.a.unacknowledged_bytes(), pair.b.held_bytes()), (0, 0));
}

#[test]
fn the_bytes_of_the_wire_are_these() {
    let mut pair = Pair::usual();
    send(&mut pair.a, 5, URGENT, 2);
    let response = OutMessage { response: true, kind: MessageKind::Json, ..message(300, DEFAULT, &b"{}"[..]) };
    pair.a.send(response).unwrap();
    let expected = b"\x04\x01\x00\x08\x04\x58\x05\x05\x05\x08\x05\xbb\x41\x2c{}";
    assert_eq!(pair.transmit_a().unwrap(), &expected[..]);
    send(&mut pair.a, 6, BACKGROUND, 70_000);
    let first = pair.transmit_a().unwrap();
    assert_eq!(first[..15], *b"\x04\x01\x01\x08\x80\x00\xff\xf8\x4f\x06\x80\x01\x11\x70\x06");
    let rest = pair.transmit_a().unwrap();
    assert_eq!(rest[..9], *b"\x04\x01\x02\x08\x51\x7f\x57\x06\x06");
}

#[test]
fn small_messages_share_a_packet() {
    let mut pair = Pair::usual();
    for id in 0..100 {
        send(&mut pair.a, id, DEFAULT, 20);
    }
    assert!(pair.a_to_b());
    assert!(!pair.a_to_b());
    assert_eq!(messages(&mut pair.b), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_packet_is_within_its_budget() {
    let mut pair = Pair::taking(SessionConfig::default());
    send(&mut pair.a, 0, DEFAULT, 100_000);
    for id in 1..100 {
        send(&mut pair.a, id, BACKGROUND, 700);
    }
    for budget in (0..70_000).step_by(997) {
        let Some(packet) = pair.a.poll_transmit(pair.now, LINK, budget) else { break };
        assert!(packet.len() <= budget.clamp(1024, MAX_PACKET), "{} of {budget}", packet.len());
        pair.b.receive(pair.now, LINK, &packet).unwrap();
    }
    pair.settle();
    assert_eq!(messages(&mut pair.b), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_packet_is_filled_to_the_last_byte() {
    let mut pair = Pair::usual();
    send(&mut pair.a, 0, DEFAULT, 500_000);
    let sizes: Vec<_> = std::iter::from_fn(|| pair.transmit_a()).map(|packet| packet.len()).collect();
    assert_eq!(sizes.len(), 8);
    assert!(sizes[..7].iter().all(|size| *size == MAX_PACKET), "{sizes:?}");
}

#[test]
fn what_is_more_urgent_overtakes_between_fragments() {
    let mut pair = Pair::usual();
    send(&mut pair.a, 1, BACKGROUND, 300_000);
    send(&mut pair.a, 2, BACKGROUND, 10);
    assert!(pair.a_to_b());
    send(&mut pair.a, 3, DEFAULT, 100_000);
    assert!(pair.a_to_b());
    send(&mut pair.a, 4, URGENT, 10);
    assert!(pair.a_to_b());
    assert_eq!(messages(&mut pair.b), [4, 3]);
    pair.settle();
    assert_eq!(messages(&mut pair.b), [1, 2]);
}

#[test]
fn the_most_urgent_is_taken_first() {
    let mut pair = Pair::usual();
    for (id, urgency) in [(1, BACKGROUND), (2, DEFAULT), (3, URGENT), (4, DEFAULT)] {
        send(&mut pair.a, id, urgency, 10);
        assert!(pair.a_to_b());
    }
    assert_eq!(messages(&mut pair.b), [3, 2, 4, 1]);
}

#[test]
fn what_is_not_read_holds_back_the_sender() {
    let mut pair = Pair::taking(SessionConfig::default().message_window(10_000));
    for id in 0..100 {
        send(&mut pair.a, id, DEFAULT, 936);
    }
    pair.settle();
    assert_eq!(pair.b.held_bytes(), 10_000);
    // Ten of them, with 64 bytes more each, and the next one waits for all of its credit or begins.
    let mut count = 0;
    while let Some(message) = pair.b.receive_message() {
        assert_eq!(message.id, count);
        count += 1;
        pair.settle();
        // With the window full, each one that is read makes room for the next at once.
        assert_eq!(pair.b.held_bytes(), 10_000.min(100_000 - 1000 * count as usize));
    }
    assert_eq!(count, 100);
}

#[test]
fn fragments_give_their_credit_back() {
    let mut pair = Pair::taking(SessionConfig::default().message_window(1024));
    send(&mut pair.a, 1, DEFAULT, 1 << 20);
    pair.settle();
    // It is whole, and unread it leaves no more than what was granted before.
    send(&mut pair.a, 2, URGENT, 2000);
    pair.settle();
    assert_eq!(messages(&mut pair.b), [1]);
    pair.settle();
    assert_eq!(messages(&mut pair.b), [2]);
}

#[test]
fn grants_are_few() {
    let mut pair = Pair::taking(SessionConfig::default().message_window(64_000));
    let mut packets = 0;
    for id in 0..1000 {
        send(&mut pair.a, id, DEFAULT, 936);
        pair.a_to_b();
        assert_eq!(messages(&mut pair.b), [id]);
        while let Some(packet) = pair.b.poll_transmit(pair.now, LINK, MAX_PACKET) {
            packets += usize::from(kinds(&packet).contains(&FrameKind::MAX_MSG));
            pair.a.receive(pair.now, LINK, &packet).unwrap();
        }
    }
    // A quarter of the window is 16 messages.
    assert_eq!(packets, 1000 / 16);
}

#[test]
fn incomplete_messages_are_within_the_room_of_the_receiver() {
    let mut pair = Pair::taking(SessionConfig::default().reassembly(250_000).max_message(300_000));
    send(&mut pair.a, 1, BACKGROUND, 150_000);
    assert!(pair.a_to_b());
    send(&mut pair.a, 2, URGENT, 150_000);
    send(&mut pair.a, 3, DEFAULT, 70_000);
    send(&mut pair.a, 4, DEFAULT, 10);
    send(&mut pair.a, 5, Urgency::new(4).unwrap(), 60_000);
    // The more urgent ones of several packets wait for the first; what fits into a packet does not.
    pair.settle();
    assert_eq!(messages(&mut pair.b), [2, 3, 4, 5, 1]);
    // Alone, one may be larger than the room.
    send(&mut pair.a, 6, DEFAULT, 300_000);
    pair.settle();
    assert_eq!(messages(&mut pair.b), [6]);
    let error = pair.a.may_send(300_001).unwrap_err();
    assert_eq!((error.bytes, error.max), (300_001, 300_000));
    assert_eq!(pair.a.send(message(7, DEFAULT, vec![0; 300_001])), Err(error));
}

#[test]
fn room_that_a_cancelled_message_had_or_waited_for_is_there_for_others() {
    let mut pair = Pair::taking(SessionConfig::default().reassembly(250_000));
    let first = send(&mut pair.a, 1, BACKGROUND, 240_000);
    assert!(pair.a_to_b());
    // What waits holds back what is less urgent and would have room.
    let waiting = send(&mut pair.a, 2, URGENT, 240_000);
    assert!(pair.a_to_b());
    assert_eq!(pair.b.receiving().count(), 1);
    assert!(pair.a.cancel(first).is_some());
    assert!(pair.a_to_b());
    assert_eq!(pair.b.receiving().map(|receiving| receiving.1).collect::<Vec<_>>(), [2]);
    let behind = send(&mut pair.a, 3, BACKGROUND, 240_000);
    send(&mut pair.a, 4, Urgency::new(1).unwrap(), 80_000);
    pair.settle();
    assert_eq!(messages(&mut pair.b), [2, 4, 3]);
    assert!(pair.a.cancel(waiting).is_none() && pair.a.cancel(behind).is_none());

    send(&mut pair.a, 5, BACKGROUND, 160_000);
    assert!(pair.a_to_b());
    let waiting = send(&mut pair.a, 6, URGENT, 200_000);
    send(&mut pair.a, 7, DEFAULT, 90_000);
    assert!(pair.a_to_b());
    assert_eq!(pair.b.receiving().count(), 1);
    assert!(pair.a.cancel(waiting).is_some());
    assert!(pair.a_to_b());
    assert_eq!(pair.b.receiving().map(|receiving| receiving.1).collect::<Vec<_>>(), [7, 5]);
}

#[test]
fn a_message_that_was_not_sent_whole_can_be_cancelled() {
    let mut pair = Pair::usual();
    let whole = send(&mut pair.a, 1, DEFAULT, 10);
    let current = send(&mut pair.a, 2, DEFAULT, 100_000);
    let waiting = send(&mut pair.a, 3, DEFAULT, 10);
    let behind = send(&mut pair.a, 4, DEFAULT, 10);
    assert!(pair.a_to_b());
    assert_eq!(pair.a.cancel(whole), None);
    assert_eq!(pair.a.cancel(waiting).map(|message| message.id), Some(3));
    assert_eq!(pair.a.cancel(current).map(|message| message.id), Some(2));
    assert_eq!(pair.a.cancel(current), None);
    assert_eq!(pair.a.progress(current), None);
    assert_eq!(pair.b.receiving().count(), 1);
    let packet = pair.transmit_a().unwrap();
    assert_eq!(kinds(&packet), [FrameKind::SEQ, FrameKind::CANCEL, FrameKind::MSG]);
    pair.b.receive(pair.now, LINK, &packet).unwrap();
    assert_eq!((messages(&mut pair.b), pair.b.receiving().count()), (vec![1, 4], 0));
    pair.settle();
    assert!(pair.a.is_idle());
    let told = events(&mut pair.a);
    assert!(told.contains(&SessionEvent::Acknowledged(behind)) && !told.contains(&SessionEvent::Taken(current)));
}

#[test]
fn progress_is_known_at_both_ends() {
    let mut pair = Pair::usual();
    let key = send(&mut pair.a, 9, DEFAULT, 300_000);
    assert_eq!(pair.a.progress(key), Some(Progress { sent: 0, acknowledged: 0, total: 300_000 }));
    pair.a_to_b();
    pair.a_to_b();
    let sent = pair.a.progress(key).unwrap().sent;
    assert!(sent > 130_000 && sent < 132_000);
    assert_eq!(pair.b.receiving().collect::<Vec<_>>(), [(DEFAULT, 9, sent, 300_000)]);
    // Of two packets there is one event, with the latest numbers.
    let receiving = SessionEvent::Receiving { urgency: DEFAULT, id: 9, received: sent, total: 300_000 };
    assert_eq!(events(&mut pair.b), [receiving]);
    pair.b_to_a();
    assert_eq!(pair.a.progress(key), Some(Progress { sent, acknowledged: sent, total: 300_000 }));
    pair.settle();
    assert_eq!(pair.a.progress(key), None);
    assert_eq!(events(&mut pair.b), [SessionEvent::MessageReady]);
}

#[test]
fn there_is_room_for_64_kib_at_each_urgency() {
    let mut pair = Pair::usual();
    send(&mut pair.a, 1, DEFAULT, 65_535 - 64);
    assert!(pair.a.has_room(DEFAULT));
    send(&mut pair.a, 2, DEFAULT, 0);
    assert!(!pair.a.has_room(DEFAULT) && pair.a.has_room(URGENT));
    pair.settle();
    assert!(pair.a.has_room(DEFAULT));
    let rooms = events(&mut pair.a).into_iter().filter(|event| *event == SessionEvent::RoomFor(DEFAULT));
    assert_eq!(rooms.count(), 1);
    let key = send(&mut pair.a, 3, URGENT, 100_000);
    assert!(!pair.a.has_room(URGENT));
    pair.a.cancel(key);
    assert!(pair.a.has_room(URGENT));
    assert_eq!(events(&mut pair.a), [SessionEvent::RoomFor(URGENT)]);
}

#[test]
fn a_message_on_its_way_is_refused() {
    let mut pair = Pair::usual();
    send(&mut pair.a, 1, DEFAULT, 10);
    let key = send(&mut pair.a, 2, DEFAULT, 300_000);
    send(&mut pair.a, 3, DEFAULT, 20);
    pair.a_to_b();
    pair.a_to_b();
    let held = pair.b.held_bytes();
    let GivenUp { id, urgency, bytes, total, response, .. } = pair.b.give_up_largest().unwrap();
    assert_eq!((id, urgency, total, response), (2, DEFAULT, 300_000, false));
    assert_eq!(pair.b.held_bytes(), held - bytes);
    assert_eq!((pair.b.give_up_largest(), pair.b.receiving().count()), (None, 0));
    pair.settle();
    assert_eq!(messages(&mut pair.b), [1, 3]);
    let refused = SessionEvent::Refused(key, message(2, DEFAULT, vec![2; 300_000]));
    assert!(events(&mut pair.a).contains(&refused));
    assert!(pair.a.is_idle() && pair.b.is_idle());
}

#[test]
fn a_message_that_was_sent_whole_is_refused_before_it_is_acknowledged() {
    let mut pair = Pair::usual();
    let key = send(&mut pair.a, 1, DEFAULT, 100_000);
    pair.a_to_b();
    assert_eq!(pair.b.give_up_largest().map(|given_up| given_up.id), Some(1));
    pair.a_to_b();
    assert_eq!(events(&mut pair.a), [SessionEvent::RoomFor(DEFAULT), SessionEvent::Taken(key)]);
    // The last fragment has come, and is not acknowledged before the refusal has gone.
    let first = pair.b.poll_transmit(pair.now, LINK, MAX_PACKET).unwrap();
    assert_eq!(kinds(&first)[..3], [FrameKind::ACK, FrameKind::SEQ, FrameKind::REFUSE]);
    assert_eq!(first[..3], *b"\x05\x01\x01");
    let second = pair.b.poll_transmit(pair.now, LINK, MAX_PACKET).unwrap();
    assert_eq!(second, &b"\x05\x01\x02"[..]);
    pair.a.receive(pair.now, LINK, &first).unwrap();
    pair.a.receive(pair.now, LINK, &second).unwrap();
    assert_eq!(events(&mut pair.a), [SessionEvent::Refused(key, message(1, DEFAULT, vec![1; 100_000]))]);
    pair.settle();
    assert!(pair.a.is_idle() && pair.b.is_idle());
    assert_eq!(messages(&mut pair.b), [0_u64; 0]);
}

#[test]
fn a_message_that_is_both_cancelled_and_refused_comes_back_once() {
    let mut pair = Pair::usual();
    let key = send(&mut pair.a, 1, DEFAULT, 100_000);
    pair.a_to_b();
    pair.b.give_up_largest().unwrap();
    assert!(pair.a.cancel(key).is_some());
    send(&mut pair.a, 2, DEFAULT, 10);
    pair.settle();
    assert!(!events(&mut pair.a).iter().any(|event| matches!(event, SessionEvent::Refused(..))));
    assert_eq!(messages(&mut pair.b), [2]);
}

#[test]
fn refusals_that_are_not_acknowledged_are_bounded() {
    let config = SessionConfig::default().message_window(1 << 30).max_unacknowledged(1 << 30).max_frame(1024);
    let mut pair = Pair::new(config.clone(), config);
    let mut given_up = 0;
    for _ in 0..2000 {
        let key = send(&mut pair.a, 1, DEFAULT, 100_000);
        pair.a_to_b();
        given_up += usize::from(pair.b.give_up_largest().is_some());
        // The refusals are lost, with their channel.
        pair.b.poll_transmit(pair.now, LINK, MAX_PACKET);
        pair.a.cancel(key).unwrap();
        pair.a_to_b();
    }
    assert_eq!(given_up, 1024);
}

#[test]
fn small_messages_do_not_keep_their_packets() {
    let mut pair = Pair::usual();
    let mut packet = pair.transmit_a();
    assert_eq!(packet, None);
    send(&mut pair.a, 1, DEFAULT, 60_000);
    send(&mut pair.a, 2, DEFAULT, 10);
    packet = pair.transmit_a();
    let packet = packet.unwrap();
    pair.b.receive(pair.now, LINK, &packet).unwrap();
    let [large, small] = [(); 2].map(|()| pair.b.receive_message().unwrap().bytes);
    let range = packet.as_ptr_range();
    assert!(range.contains(&large.as_ptr()), "most of a packet is not copied");
    assert!(!range.contains(&small.as_ptr()), "a small part of it is");
}
