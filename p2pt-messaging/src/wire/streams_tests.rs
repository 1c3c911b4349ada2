//! Streams, from one session to the other.

use super::super::{MAX_PACKET, Session, SessionConfig, config::MAX_STREAM_WINDOW, pair::*};
use super::*;

const DEFAULT: Urgency = Urgency::DEFAULT;

/// Opens a stream from `a` to `b`, of which both have the key.
fn open(pair: &mut Pair) -> (StreamKey, StreamKey) {
    let key = pair.a.open(Bytes::new(), DEFAULT).unwrap();
    pair.settle();
    (key, pair.b.accept().unwrap().key)
}

/// Writes as much as there is room for.
fn write_all(session: &mut Session, key: StreamKey) -> usize {
    let mut count = 0;
    while let Ok(more) = session.write(key, &mut Bytes::from_static(&[7; 1000])) {
        count += more;
    }
    count
}

fn read_all(session: &mut Session, key: StreamKey) -> usize {
    std::iter::from_fn(|| session.read(key, 5000).ok().filter(|bytes| !bytes.is_empty())).map(|bytes| bytes.len()).sum()
}

#[test]
fn a_stream_carries_bytes_both_ways_and_each_half_ends_by_itself() {
    let mut pair = Pair::usual();
    let key = pair.a.open(Bytes::from_static(b"meta"), Urgency::URGENT).unwrap();
    let mut bytes = Bytes::from_static(b"to");
    assert_eq!(pair.a.write(key, &mut bytes), Ok(2));
    assert!(bytes.is_empty() && !pair.a.is_flushed(key));
    pair.a.finish(key);
    let packet = pair.transmit_a().unwrap();
    assert_eq!(packet, &b"\x04\x01\x00\x0c\x06\x00\x00meta\x0d\x04\x00\x01to"[..]);
    pair.b.receive(pair.now, LINK, &packet).unwrap();
    assert_eq!(pair.b.held_bytes(), 6);
    let accepted = pair.b.accept().unwrap();
    assert_eq!((&accepted.metadata[..], accepted.urgency), (&b"meta"[..], Urgency::URGENT));
    assert!(key.opened_here() && !accepted.key.opened_here());
    assert_eq!(pair.b.read(accepted.key, 1), Ok(Bytes::from_static(b"t")));
    assert_eq!(pair.b.read(accepted.key, 10), Ok(Bytes::from_static(b"o")));
    for _ in 0..2 {
        assert_eq!(pair.b.read(accepted.key, 10), Ok(Bytes::new()));
    }
    assert_eq!(pair.b.write(accepted.key, &mut Bytes::from_static(b"fro")), Ok(3));
    let answer = pair.b.poll_transmit(pair.now, LINK, MAX_PACKET).unwrap();
    assert_eq!(answer, &b"\x05\x01\x01\x04\x01\x00\x0d\x05\x01\x00fro"[..]);
    pair.a.receive(pair.now, LINK, &answer).unwrap();
    assert!(pair.a.is_flushed(key));
    pair.b.finish(accepted.key);
    pair.settle();
    assert_eq!(pair.a.read(key, 10), Ok(Bytes::from_static(b"fro")));
    assert_eq!(pair.a.read(key, 10), Ok(Bytes::new()));
    // The reader knows of the end, and both have ended.
    assert_eq!(pair.a.read(key, 10), Err(ReadError::Unknown));
    assert_eq!(pair.a.write(key, &mut Bytes::new()), Err(WriteError::Unknown));
    assert_eq!(pair.b.read(accepted.key, 10), Err(ReadError::Unknown));
    assert!(pair.a.is_idle() && pair.b.is_idle());
}

#[test]
fn who_waits_is_told() {
    let mut pair = Pair::usual();
    let (key, theirs) = open(&mut pair);
    assert_eq!(events(&mut pair.b), [SessionEvent::StreamReady]);
    assert_eq!(pair.b.read(theirs, 10), Err(ReadError::Blocked));
    assert_eq!(write_all(&mut pair.a, key), 16 << 10);
    assert_eq!(pair.a.write(key, &mut Bytes::from_static(b"x")), Err(WriteError::Blocked));
    pair.settle();
    // All is acknowledged; and nothing was told twice, though more was to be told.
    assert_eq!(events(&mut pair.b), [SessionEvent::Readable(theirs)]);
    assert_eq!(events(&mut pair.a), [SessionEvent::Writable(key)]);
    assert_eq!(pair.a.write(key, &mut Bytes::from_static(b"x")), Err(WriteError::Blocked));
    assert_eq!(pair.b.read(theirs, 8192).map(|bytes| bytes.len()), Ok(8192));
    assert_eq!(read_all(&mut pair.b, theirs), 8192);
    pair.settle();
    assert_eq!(events(&mut pair.a), [SessionEvent::Writable(key)]);
    assert!(pair.a.write(key, &mut Bytes::from_static(b"x")).is_ok());
}

#[test]
fn a_writer_that_waits_for_the_buffer_is_told_when_it_empties() {
    let mut pair = Pair::taking(SessionConfig::default().stream_window(1 << 20).max_streams(4));
    let (key, _) = open(&mut pair);
    assert_eq!(write_all(&mut pair.a, key), 64 << 10);
    events(&mut pair.a);
    assert!(pair.transmit_a().is_some());
    assert_eq!(events(&mut pair.a), [SessionEvent::Writable(key)]);
    assert!(write_all(&mut pair.a, key) > 60_000);
}

#[test]
fn a_stream_that_is_not_read_stalls_no_other() {
    let mut pair = Pair::usual();
    let (stalled, _) = open(&mut pair);
    let (key, theirs) = open(&mut pair);
    write_all(&mut pair.a, stalled);
    let mut count = 0;
    for _ in 0..100 {
        write_all(&mut pair.a, key);
        pair.settle();
        count += read_all(&mut pair.b, theirs);
    }
    assert!(count > 5 << 20, "{count}");
    assert_eq!(pair.b.held_bytes(), 16 << 10);
}

#[test]
fn a_window_grows_while_it_is_read_and_out_of_a_pool() {
    let config = SessionConfig::default().max_streams(2).stream_window(1024).stream_memory(4 * 1024 + 3 * 1024);
    let mut pair = Pair::taking(config);
    let streams = [open(&mut pair), open(&mut pair)];
    let may_come = |pair: &mut Pair, (key, theirs): (StreamKey, StreamKey)| {
        let count = write_all(&mut pair.a, key);
        pair.settle();
        assert_eq!(read_all(&mut pair.b, theirs), count);
        pair.settle();
        count
    };
    // Of 3 KiB the first gets 1 and then 2, and nothing is left for the second.
    assert_eq!([(); 4].map(|()| may_come(&mut pair, streams[0])), [1024, 2048, 4096, 4096]);
    assert_eq!([(); 2].map(|()| may_come(&mut pair, streams[1])), [1024, 1024]);
    // At its end it gives back what it had.
    let (key, theirs) = streams[0];
    pair.a.finish(key);
    pair.settle();
    assert_eq!(pair.b.read(theirs, 1), Ok(Bytes::new()));
    assert_eq!([(); 4].map(|()| may_come(&mut pair, streams[1])), [1024, 2048, 4096, 4096]);
}

#[test]
fn a_window_grows_to_4_mib() {
    let mut pair = Pair::usual();
    let (key, theirs) = open(&mut pair);
    for _ in 0..200 {
        write_all(&mut pair.a, key);
        pair.settle();
        read_all(&mut pair.b, theirs);
    }
    // Now nothing is read. Up to half of the window may have been read without a new grant.
    for _ in 0..200 {
        write_all(&mut pair.a, key);
        pair.settle();
    }
    let held = pair.b.held_bytes();
    assert!(held > MAX_STREAM_WINDOW / 2 && held <= MAX_STREAM_WINDOW, "{held}");
}

#[test]
fn small_writes_take_memory_in_proportion() {
    let mut pair = Pair::usual();
    let (key, theirs) = open(&mut pair);
    for _ in 0..10_000 {
        pair.a.write(key, &mut Bytes::from_static(b"x")).unwrap();
        pair.a_to_b();
        pair.b_to_a();
    }
    // Ten thousand frames, and three pieces.
    let pieces: Vec<_> = std::iter::from_fn(|| pair.b.read(theirs, MAX_PACKET).ok()).map(|bytes| bytes.len()).collect();
    assert_eq!(pieces, [4096, 4096, 1808]);
}

#[test]
fn a_reset_drops_what_was_not_read() {
    let mut pair = Pair::usual();
    let (key, theirs) = open(&mut pair);
    write_all(&mut pair.a, key);
    pair.settle();
    assert_eq!(pair.b.read(theirs, 10).map(|bytes| bytes.len()), Ok(10));
    pair.a.reset(key, u64::MAX);
    pair.a.reset(key, 3);
    assert_eq!(pair.a.write(key, &mut Bytes::from_static(b"x")), Err(WriteError::Finished));
    pair.settle();
    assert!(!pair.a.is_flushed(key));
    assert_eq!(pair.b.held_bytes(), 0);
    assert_eq!(pair.b.read(theirs, 10), Err(ReadError::Reset(MAX_VARINT)));
    // The other half goes on.
    pair.b.write(theirs, &mut Bytes::from_static(b"still")).unwrap();
    pair.b.finish(theirs);
    pair.settle();
    assert_eq!(pair.a.read(key, 10), Ok(Bytes::from_static(b"still")));
    assert_eq!(pair.a.read(key, 10), Ok(Bytes::new()));
    assert_eq!(pair.b.read(theirs, 10), Err(ReadError::Unknown));
}

#[test]
fn a_reset_after_the_end_was_sent_is_none() {
    let mut pair = Pair::usual();
    let (key, theirs) = open(&mut pair);
    pair.a.write(key, &mut Bytes::from_static(b"all")).unwrap();
    pair.a.finish(key);
    pair.a_to_b();
    pair.a.reset(key, 1);
    pair.settle();
    assert_eq!(pair.b.read(theirs, 10), Ok(Bytes::from_static(b"all")));
    assert_eq!(pair.b.read(theirs, 10), Ok(Bytes::new()));
}

#[test]
fn a_reader_that_stops_is_answered_with_a_reset() {
    let mut pair = Pair::usual();
    let (key, theirs) = open(&mut pair);
    write_all(&mut pair.a, key);
    pair.settle();
    write_all(&mut pair.a, key);
    pair.b.stop(theirs, 42);
    assert_eq!((pair.b.held_bytes(), pair.b.read(theirs, 1)), (0, Err(ReadError::Stopped)));
    let stop = pair.b.poll_transmit(pair.now, LINK, MAX_PACKET).unwrap();
    assert_eq!(kinds(&stop), [FrameKind::SEQ, FrameKind::STOP]);
    events(&mut pair.a);
    pair.a.receive(pair.now, LINK, &stop).unwrap();
    assert_eq!(events(&mut pair.a), [SessionEvent::Writable(key)]);
    let reset = pair.transmit_a().unwrap();
    assert_eq!(kinds(&reset), [FrameKind::ACK, FrameKind::SEQ, FrameKind::RESET]);
    pair.b.receive(pair.now, LINK, &reset).unwrap();
    // It is known to the writer even after the other half has ended.
    pair.b.finish(theirs);
    pair.settle();
    assert_eq!(pair.a.read(key, 1), Ok(Bytes::new()));
    assert!(!pair.a.is_flushed(key));
    assert_eq!(pair.a.write(key, &mut Bytes::new()), Err(WriteError::Stopped(42)));
    assert_eq!(pair.a.write(key, &mut Bytes::new()), Err(WriteError::Unknown));
    assert!(pair.a.is_idle() && pair.b.is_idle());
}

#[test]
fn as_many_streams_as_are_granted() {
    let mut pair = Pair::new(SessionConfig::default(), SessionConfig::default().max_streams(8));
    let keys: Vec<_> = (0..8).map(|_| pair.a.open(Bytes::new(), DEFAULT).unwrap()).collect();
    assert!(matches!(pair.a.open(Bytes::new(), DEFAULT), Err(OpenError::TooMany { .. })));
    pair.settle();
    let end = |pair: &mut Pair, index: usize| {
        let theirs = std::iter::from_fn(|| pair.b.accept()).map(|accepted| accepted.key).collect::<Vec<_>>();
        pair.a.reset(keys[index], 0);
        pair.a.stop(keys[index], 0);
        let key = StreamKey { opened_here: false, ..keys[index] };
        assert!(theirs.is_empty() || theirs.contains(&key));
        pair.b.stop(key, 0);
        pair.b.reset(key, 0);
    };
    events(&mut pair.a);
    // None is left, so that one is granted at once; then two at a time.
    end(&mut pair, 0);
    pair.settle();
    assert_eq!(events(&mut pair.a), [SessionEvent::StreamsAvailable]);
    pair.a.open(Bytes::new(), DEFAULT).unwrap();
    assert!(pair.a.open(Bytes::new(), DEFAULT).is_err());
    (1..4).for_each(|index| end(&mut pair, index));
    pair.settle();
    assert_eq!((0..8).map_while(|_| pair.a.open(Bytes::new(), DEFAULT).ok()).count(), 3);
    pair.settle();
}

#[test]
fn a_side_opens_as_many_as_it_would_accept() {
    let mut pair = Pair::new(SessionConfig::default().max_streams(2), SessionConfig::default());
    let key = pair.a.open(Bytes::new(), DEFAULT).unwrap();
    pair.a.open(Bytes::new(), DEFAULT).unwrap();
    assert_eq!(pair.a.open(Bytes::new(), DEFAULT), Err(OpenError::TooMany { limit: 2 }));
    pair.settle();
    let theirs = pair.b.accept().unwrap().key;
    pair.a.reset(key, 0);
    pair.a.stop(key, 0);
    pair.b.stop(theirs, 0);
    pair.b.reset(theirs, 0);
    pair.settle();
    assert!(events(&mut pair.a).contains(&SessionEvent::StreamsAvailable));
    assert!(pair.a.open(Bytes::new(), DEFAULT).is_ok());
}

#[test]
fn metadata_is_sent_whole_and_bounded() {
    let mut pair = Pair::usual();
    let error = pair.a.open(vec![0; MAX_METADATA + 1].into(), DEFAULT);
    assert_eq!(error, Err(OpenError::Metadata { bytes: MAX_METADATA + 1, max: MAX_METADATA }));
    let metadata = Bytes::from(vec![9; MAX_METADATA]);
    for _ in 0..3 {
        pair.a.open(metadata.clone(), DEFAULT).unwrap();
    }
    while let Some(packet) = pair.a.poll_transmit(pair.now, LINK, 1024) {
        assert_eq!(kinds(&packet), [FrameKind::SEQ, FrameKind::OPEN]);
        pair.b.receive(pair.now, LINK, &packet).unwrap();
    }
    assert_eq!(pair.b.held_bytes(), 3 * MAX_METADATA);
    for _ in 0..3 {
        assert_eq!(pair.b.accept().unwrap().metadata, metadata);
    }
    assert_eq!(pair.b.held_bytes(), 0);
}

#[test]
fn streams_and_messages_of_one_urgency_take_turns() {
    let mut pair = Pair::taking(SessionConfig::default().stream_window(1 << 20).max_streams(4));
    let streams = [open(&mut pair), open(&mut pair)];
    pair.a.send(message(1, DEFAULT, vec![0; 1 << 20])).unwrap();
    for (key, _) in streams {
        write_all(&mut pair.a, key);
    }
    let mut turns = Vec::new();
    for _ in 0..6 {
        let packet = pair.transmit_a().unwrap();
        turns.extend(kinds(&packet).iter().filter(|kind| **kind != FrameKind::SEQ).map(|kind| kind.0));
        pair.b.receive(pair.now, LINK, &packet).unwrap();
        for (key, _) in streams {
            write_all(&mut pair.a, key);
        }
    }
    assert_eq!(turns[..6], [8, 13, 13, 8, 13, 13].map(|kind| kind), "{turns:?}");
    // What is more urgent goes before all of them.
    let urgent = pair.a.open(Bytes::new(), Urgency::URGENT).unwrap();
    pair.a.write(urgent, &mut Bytes::from_static(b"x")).unwrap();
    let packet = pair.transmit_a().unwrap();
    assert_eq!(kinds(&packet)[..3], [FrameKind::SEQ, FrameKind::OPEN, FrameKind::DATA]);
}
