//! The end of a session, and what breaks it.

use super::super::{
    FrameKind as Kind, WireError,
    pair::{LINK, Pair, events, kinds, message, messages},
};
use super::*;

const DEFAULT: Urgency = Urgency::DEFAULT;

#[test]
fn leaving_comes_behind_what_was_queued() {
    let mut pair = Pair::usual();
    let key = pair.a.open(Bytes::new(), DEFAULT).unwrap();
    pair.a.write(key, &mut Bytes::from_static(b"rest")).unwrap();
    pair.a.send(message(1, Urgency::BACKGROUND, vec![0; 200_000])).unwrap();
    pair.a.leave(7, &"ö".repeat(1000));
    pair.a.leave(8, "again");
    let late = pair.a.send(message(2, DEFAULT, &b"late"[..])).unwrap();
    assert_eq!(pair.a.open(Bytes::new(), DEFAULT), Err(OpenError::Ended));
    assert_eq!(pair.a.write(key, &mut Bytes::new()), Err(WriteError::Ended));
    assert!(!pair.a.is_idle());
    pair.settle();
    assert!(pair.a.is_idle() && pair.b.is_idle());
    assert_eq!(messages(&mut pair.b), [1]);
    let theirs = pair.b.accept().unwrap().key;
    assert_eq!(pair.b.read(theirs, 10), Ok(Bytes::from_static(b"rest")));
    assert_eq!(pair.b.read(theirs, 10), Err(ReadError::Ended));
    assert_eq!(pair.b.write(theirs, &mut Bytes::new()), Err(WriteError::Ended));
    assert_eq!(events(&mut pair.b).last(), Some(&SessionEvent::Left { code: 7, text: "ö".repeat(512) }));
    assert_eq!(pair.a.into_unacknowledged(), [(late, message(2, DEFAULT, &b"late"[..]))]);
    assert!(pair.b.into_unacknowledged().is_empty());
}

#[test]
fn both_may_leave_at_once_and_what_was_not_sent_comes_back() {
    let mut pair = Pair::new(SessionConfig::default().message_window(1024), SessionConfig::default());
    let [unsent, behind] = [1, 2].map(|id| pair.b.send(message(id, DEFAULT, vec![0; 2000])).unwrap());
    pair.b.leave(1, "b");
    assert!(pair.b_to_a());
    pair.a.leave(2, "a");
    pair.settle();
    assert!(events(&mut pair.b).contains(&SessionEvent::Left { code: 2, text: "a".into() }));
    assert!(events(&mut pair.a).iter().all(|event| !matches!(event, SessionEvent::LinkDead(_))));
    assert!(pair.a.is_idle() && pair.b.is_idle());
    let keys: Vec<_> = pair.b.into_unacknowledged().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [unsent, behind]);
}

#[test]
fn what_is_unacknowledged_comes_back_without_a_copy_and_in_order() {
    let mut pair = Pair::usual();
    let bytes = Bytes::from(vec![5; 100_000]);
    let urgencies = [Urgency::BACKGROUND, DEFAULT, Urgency::URGENT, DEFAULT];
    let keys: Vec<_> =
        (0..).zip(urgencies).map(|(id, urgency)| pair.a.send(message(id, urgency, bytes.clone())).unwrap()).collect();
    pair.a_to_b();
    // The most urgent one is refused, and comes back even if that was not asked for.
    pair.b.give_up_largest().unwrap();
    pair.b_to_a();
    let (back, messages): (Vec<_>, Vec<_>) = pair.a.into_unacknowledged().into_iter().unzip();
    assert_eq!(back, keys);
    assert!(messages.iter().all(|message| message.bytes.as_ptr() == bytes.as_ptr()));
}

#[test]
fn a_message_that_is_acknowledged_does_not_come_back() {
    let mut pair = Pair::usual();
    pair.a.send(message(1, DEFAULT, vec![0; 10])).unwrap();
    pair.settle();
    assert!(pair.a.into_unacknowledged().is_empty());
}

/// What `a` says to a packet of these frames, before which both have sent some.
fn fault(frames: &[(Kind, &[u8])]) -> SessionError {
    let config = SessionConfig::default().message_window(2000).max_message(5000).reassembly(6000).max_streams(2);
    let mut pair = Pair::new(config, SessionConfig::default());
    pair.a.open(Bytes::new(), DEFAULT).unwrap();
    pair.a.send(message(1, DEFAULT, &b"x"[..])).unwrap();
    pair.settle();
    let key = pair.b.accept().unwrap().key;
    // The other half ends: stream 0 of a has no end yet.
    pair.b.finish(key);
    pair.settle();
    let result = pair.feed_a(frames);
    let error = result.expect_err("a packet that breaks the protocol");
    // It has ended.
    assert_eq!(pair.feed_a(&[(Kind::PING, b"\x00")]), Err(error));
    assert_eq!(pair.transmit_a(), None);
    error
}

const SEQ: (Kind, &[u8]) = (Kind::SEQ, b"\x01");

#[test]
fn frames_have_their_places_and_bodies() {
    let sequenced = [
        Kind::MSG,
        Kind::CANCEL,
        Kind::REFUSE,
        Kind::MAX_MSG,
        Kind::OPEN,
        Kind::DATA,
        Kind::MAX_DATA,
        Kind::RESET,
        Kind::STOP,
        Kind::MAX_STREAMS,
        Kind::BYE,
    ];
    for kind in sequenced {
        // Of each, these bytes are a body, or are none.
        let bodies: [&[u8]; 5] = [b"", b"\x00", b"\x00\x00", b"\x00\x00\x00", b"\x18\x00"];
        let fits = |body: &&[u8]| fault(&[(kind, *body)]) == SessionError::Misplaced { kind };
        assert!(bodies.iter().any(fits), "{kind:?}");
        assert_eq!(fault(&[SEQ, (kind, b"")]), SessionError::Malformed { kind }, "{kind:?}");
        assert_eq!(fault(&[SEQ, (kind, b"\xff")]), SessionError::Malformed { kind }, "{kind:?}");
    }
    for kind in [Kind::SEQ, Kind::ACK, Kind::PING, Kind::PONG] {
        assert_eq!(fault(&[(kind, b"")]), SessionError::Malformed { kind });
        assert_eq!(fault(&[(kind, b"\x00\x00")]), SessionError::Malformed { kind });
        assert_eq!(fault(&[SEQ, (kind, b"\x00")]), SessionError::Misplaced { kind });
    }
    let malformed: [(Kind, &[u8]); 6] = [
        (Kind::CANCEL, b"\x08"),
        (Kind::DATA, b"\x00\x02x"),
        (Kind::OPEN, b"\x00\x08"),
        (Kind::BYE, b"\x00\xff"),
        (Kind::BYE, &[0; 1026]),
        (Kind::OPEN, &[0; 2 + (16 << 10) + 1]),
    ];
    for (kind, body) in malformed {
        assert_eq!(fault(&[SEQ, (kind, body)]), SessionError::Malformed { kind });
    }
}

#[test]
fn each_fault_has_its_name() {
    assert_eq!(fault(&[(Kind::SEQ, b"\x03")]), SessionError::Gap { expected: 1, got: 3 });
    assert_eq!(fault(&[(Kind::ACK, b"\x09")]), SessionError::Acknowledged { next: 9, sent: 1 });
    let refuse: (Kind, &[u8]) = (Kind::REFUSE, b"\x03\x00");
    // The only message was acknowledged, and at this urgency there was none.
    assert_eq!(fault(&[SEQ, refuse]), SessionError::Refusal);
    assert_eq!(fault(&[SEQ, (Kind::REFUSE, b"\x00\x00")]), SessionError::Refusal);
    assert_eq!(fault(&[SEQ, (Kind::CANCEL, b"\x03")]), SessionError::Fragment);
    assert_eq!(fault(&[SEQ, (Kind::BYE, b"\x00"), (Kind::MAX_MSG, b"\x00")]), SessionError::AfterBye);
    assert_eq!(fault(&[SEQ, (Kind::OPEN, b"\x01\x00")]), SessionError::StreamOrder { id: 1, expected: 0 });
    let opens: [(Kind, &[u8]); 4] =
        [SEQ, (Kind::OPEN, b"\x00\x00"), (Kind::OPEN, b"\x01\x00"), (Kind::OPEN, b"\x02\x00")];
    assert_eq!(fault(&opens), SessionError::TooManyStreams { id: 2, granted: 2 });
    for kind in [Kind::MAX_DATA, Kind::RESET, Kind::STOP] {
        assert_eq!(fault(&[SEQ, (kind, b"\x00\x00")]), SessionError::UnknownStream);
        assert_eq!(fault(&[SEQ, (kind, b"\x03\x00")]), SessionError::UnknownStream);
    }
    assert_eq!(fault(&[SEQ, (Kind::DATA, b"\x00\x00")]), SessionError::UnknownStream);
    assert_eq!(fault(&[SEQ, (Kind::DATA, b"\x01\x00x")]), SessionError::StreamEnded);
    assert_eq!(fault(&[SEQ, (Kind::RESET, b"\x01\x00")]), SessionError::StreamEnded);
    let data = [&b"\x00\x00"[..], &[0; (16 << 10) + 1]].concat();
    let window = SessionError::StreamWindow { received: 16_385, granted: 16_384 };
    assert_eq!(fault(&[SEQ, (Kind::OPEN, b"\x00\x00"), (Kind::DATA, &data)]), window);
    assert_eq!(fault(&[(Kind::SEQ, b"\x01"), (Kind(1 << 20), b"?"), SEQ]), SessionError::Misplaced { kind: Kind::SEQ });
}

#[test]
fn messages_are_within_what_was_granted() {
    let fragment = |header: u8, head: &[u8], size: usize| [&[header], head, &vec![0; size][..]].concat();
    let one = |body: &[u8]| fault(&[SEQ, (Kind::MSG, body)]);
    let (first, last) = (1 << 3, 1 << 4);
    // 1,937 bytes are one more than the window has room for.
    let granted = SessionError::MessageWindow { received: 2001, granted: 2000 };
    assert_eq!(one(&fragment(first | last, b"\x00", 1937)), granted);
    let too_large = SessionError::MessageTooLarge { bytes: 5001, max: 5000 };
    assert_eq!(one(&fragment(first, b"\x00\x53\x89", 1)), too_large);
    // Behind the end, before the beginning, longer and shorter than was said.
    for body in [
        fragment(0, b"", 1),
        fragment(last, b"", 1),
        fragment(first, b"\x00\x02", 3),
        fragment(first, b"\x00\x02", 2),
        fragment(first, b"\x00\x00", 0),
    ] {
        assert_eq!(one(&body), SessionError::Fragment);
    }
    let two = |a: &[u8], b: &[u8]| fault(&[SEQ, (Kind::MSG, a), (Kind::MSG, b)]);
    let begin = fragment(first, b"\x00\x4b\xb8", 10);
    assert_eq!(two(&begin, &begin), SessionError::Fragment);
    assert_eq!(two(&begin, &fragment(last, b"", 10)), SessionError::Fragment);
    let other = fragment(first | 1, b"\x00\x4b\xb9", 10);
    assert_eq!(two(&begin, &other), SessionError::Reassembly { bytes: 6001, max: 6000 });
}

#[test]
fn a_packet_is_frames_and_not_too_large() {
    let mut pair = Pair::usual();
    let large = Bytes::from(vec![0; MAX_PACKET + 1]);
    let mut other = Pair::usual();
    let now = pair.now;
    assert_eq!(pair.a.receive(now, LINK, &large), Err(SessionError::PacketTooLarge { bytes: MAX_PACKET + 1 }));
    let cut = Bytes::from_static(b"\x04\x02\x00");
    let error = SessionError::Wire(WireError::Body { said: 2, left: 1 });
    assert_eq!(other.a.receive(now, LINK, &cut), Err(error));
    // Kinds that are not known are passed over, in any place, and so are those from before the session.
    let mut third = Pair::usual();
    third
        .feed_a(&[
            (Kind(99), b"?"),
            (Kind::HELLO, b"?"),
            (Kind::SEQ, b"\x00"),
            (Kind(1 << 30), b"?"),
            (Kind::AUTH, b""),
        ])
        .unwrap();
    assert_eq!(third.transmit_a().map(|packet| kinds(&packet)), Some(vec![Kind::ACK]));
}

#[test]
fn a_cancelled_message_cannot_be_refused_for_ever() {
    let mut pair = Pair::usual();
    let key = pair.a.send(message(1, DEFAULT, vec![0; 100_000])).unwrap();
    pair.a_to_b();
    pair.a.cancel(key).unwrap();
    pair.settle();
    // Its end is acknowledged.
    let result = pair.feed_a(&[(Kind::SEQ, b"\x00"), (Kind::REFUSE, b"\x03\x00")]);
    assert_eq!(result, Err(SessionError::Refusal));
}
