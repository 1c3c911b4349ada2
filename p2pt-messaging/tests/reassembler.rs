//! The reassembler's rules, one by one.

mod common;

use std::time::{Duration, Instant};

use common::{push, start};
use p2pt_messaging::{
    Chunks, Expired, FrameError, InvalidMessage, Limits, MIN_BUDGET, Message, MessageId, NotAChunk, Payload, Progress,
    Reassembler, may_be_taken_for_a_chunk,
};

fn with(set: impl FnOnce(&mut Limits)) -> Reassembler {
    let mut limits = Limits::default();
    set(&mut limits);
    Reassembler::new(limits)
}

fn chunk(id: u64, index: u64, text: &str) -> String {
    format!("^{{\"id\":{id},\"msg\":\"{text}\",\"c\":{index}}}")
}

fn last(id: u64, index: u64, text: &str) -> String {
    format!("^{{\"id\":{id},\"msg\":\"{text}\",\"c\":{index},\"last\":true}}")
}

fn text(id: u64, text: &str) -> Result<Progress, FrameError> {
    Ok(Progress::Complete(Message { id: id.into(), payload: text.into() }))
}

fn rejected(id: u64, reason: InvalidMessage) -> Result<Progress, FrameError> {
    Err(FrameError::InvalidMessage { id: id.into(), reason })
}

const PARTIAL: Result<Progress, FrameError> = Ok(Progress::Partial);

#[test]
fn what_does_not_begin_with_the_mark_is_the_applications() {
    let mut reassembler = with(|limits| limits.max_frame_bytes = 10);
    for frame in [b"".as_slice(), b"raw text, longer than any chunk may be", b"{}", b" ^{}", b"\xff\x00"] {
        assert_eq!(push(&mut reassembler, frame), Ok(Progress::Foreign(NotAChunk::NoMark)));
    }
}

#[test]
fn a_frame_above_the_limit_is_not_read() {
    let frame = last(1, 0, "hello");
    let exact = frame.len();
    assert_eq!(push(&mut with(|limits| limits.max_frame_bytes = exact), &frame), text(1, "hello"));
    let mut smaller = with(|limits| limits.max_frame_bytes = exact - 1);
    assert_eq!(push(&mut smaller, &frame), Err(FrameError::TooLarge { bytes: exact, limit: exact - 1 }));
}

#[test]
fn frames_that_are_no_chunks_are_the_applications_and_say_why() {
    use NotAChunk::{Missing, NotAnObject, WrongType};
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    for (json, expected) in [
        ("", NotAnObject),
        ("garbage", NotAnObject),
        ("^{}", NotAnObject),
        ("[1]", NotAnObject),
        ("7", NotAnObject),
        ("{", NotAnObject),
        (r#"{"id":1"#, NotAnObject),
        (r#"{"id":1,}"#, NotAnObject),
        (r#"{"id":01,"msg":"","c":0}"#, NotAnObject),
        (r#"{"id":1,"msg":"","c":0} x"#, NotAnObject),
        (r#"{"id":1,"msg":"","c":0}{}"#, NotAnObject),
        (r#"{id:1,"msg":"","c":0}"#, NotAnObject),
        ("{}", Missing("id")),
        (r#"{"msg":"","c":0,"last":true}"#, Missing("id")),
        (r#"{"id":1,"c":0,"last":true}"#, Missing("msg")),
        (r#"{"id":1,"msg":"lost","last":true}"#, Missing("c")),
        (r#"{"id":1,"msg":7,"c":0}"#, WrongType("msg")),
        (r#"{"id":1,"msg":null,"c":0}"#, WrongType("msg")),
        (r#"{"id":1,"msg":"\x","c":0}"#, WrongType("msg")),
        (r#"{"id":1,"msg":"\ud83","c":0}"#, WrongType("msg")),
        (r#"{"id":1,"msg":"\u+123","c":0}"#, WrongType("msg")),
        (r#"{"id":1,"msg":"open"#, WrongType("msg")),
        (r#"{"id":1,"msg":"open\"#, WrongType("msg")),
        ("{\"id\":1,\"msg\":\"a\nb\",\"c\":0}", WrongType("msg")),
        (r#"{"id":1,"msg":"","c":-1}"#, WrongType("c")),
        (r#"{"id":1,"msg":"","c":0.5}"#, WrongType("c")),
        (r#"{"id":1,"msg":"","c":"0"}"#, WrongType("c")),
        (r#"{"id":1,"msg":"","c":null}"#, WrongType("c")),
        (r#"{"id":1,"msg":"","c":1.0}"#, WrongType("c")),
        (&format!("{{\"x\":{deep}"), NotAnObject),
    ] {
        let progress = push(&mut with(|_| {}), format!("^{json}"));
        assert_eq!(progress, Ok(Progress::Foreign(expected)), "{}", &json[..json.len().min(80)]);
    }
    let no_utf8 = b"^{\"id\":\"\xff\",\"msg\":\"\",\"c\":0}";
    assert_eq!(push(&mut with(|_| {}), no_utf8), Ok(Progress::Foreign(WrongType("id"))));
}

#[test]
fn a_chunk_with_an_id_above_the_limit_is_an_error_and_not_the_applications() {
    let long = format!("\"{}\"", "i".repeat(MessageId::MAX_BYTES - 1));
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let too_long = Err(FrameError::IdTooLong { limit: MessageId::MAX_BYTES });
    for id in [&long, &deep] {
        assert_eq!(push(&mut with(|_| {}), format!("^{{\"id\":{id},\"msg\":\"\",\"c\":0}}")), too_long);
        // Nor is it a chunk without the other fields.
        let progress = push(&mut with(|_| {}), format!("^{{\"id\":{id},\"msg\":\"\"}}"));
        assert_eq!(progress, Ok(Progress::Foreign(NotAChunk::Missing("c"))));
    }
    let later = format!("^{{\"id\":{long},\"msg\":\"m\",\"c\":0,\"last\":true,\"id\":1}}");
    assert_eq!(push(&mut with(|_| {}), later), text(1, "m"), "the later of two counts");
}

#[test]
fn every_object_behind_the_mark_may_be_taken_for_a_chunk_and_nothing_else() {
    for (frame, may) in [
        ("^{}", true),
        ("^ {\"id\":1} ", true),
        (r#"^{"id":9,"msg":"no c","last":true}"#, true),
        (r#"^{"a":"\ud83d","b":[1e999,{}]}"#, true),
        ("^", false),
        ("^garbage", false),
        ("^{nonsense", false),
        ("^{} x", false),
        ("^7", false),
        ("^[{}]", false),
        ("{}", false),
        (" ^{}", false),
        ("", false),
    ] {
        assert_eq!(may_be_taken_for_a_chunk(frame.as_bytes()), may, "{frame}");
    }
}

#[test]
fn chunks_may_be_written_in_any_way_json_allows() {
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    for json in [
        r#"{"id":1,"msg":"é\n","c":0,"last":true}"#,
        r#"{"last":true,"c":0,"msg":"é\n","id":1}"#,
        " {\t\"id\" : 1 ,\r\n \"msg\" : \"é\\n\" , \"c\":0 , \"last\" : true } \n",
        r#"{"x":{"msg":"no","y":[1e9,"}"]},"id":1,"msg":"é\n","c":0,"last":true,"":null}"#,
        r#"{"id":2,"id":1,"msg":"first","msg":"é\n","c":5,"c":0,"last":false,"last":true}"#,
        r#"{"\u0069d":1,"m\u0073g":"\u00E9\u000a","c":0,"last":true}"#,
        r#"{"id":1,"msg":"é\n","c":0,"last":1,"o":0}"#,
        r#"{"id":1,"msg":"é\n","c":0,"last":"false","o":""}"#,
        r#"{"id":1,"msg":"é\n","c":0,"last":{},"o":null}"#,
        r#"{"id":1,"msg":"é\n","c":0,"last":[],"o":-0.0}"#,
        &format!("{{\"x\":{deep},\"id\":1,\"msg\":\"é\\n\",\"c\":0,\"last\":true}}"),
    ] {
        assert_eq!(push(&mut with(|_| {}), format!("^{json}")), text(1, "é\n"), "{}", &json[..json.len().min(80)]);
    }
    for last in ["false", "0", "\"\"", "null", "0e5"] {
        let frame = format!("^{{\"id\":1,\"msg\":\"\",\"c\":0,\"last\":{last}}}");
        assert_eq!(push(&mut with(|_| {}), frame), PARTIAL, "{last}");
    }
    for o in ["1", "true", "\"0\"", "[]", "0.5"] {
        let frame = format!("^{{\"id\":1,\"msg\":\"[1]\",\"o\":{o},\"c\":0,\"last\":true}}");
        let payload = Payload::from(serde_json::json!([1]));
        let message = Message { id: 1.into(), payload };
        assert_eq!(push(&mut with(|_| {}), frame), Ok(Progress::Complete(message)), "{o}");
    }
}

#[test]
fn any_id_comes_back_as_it_was() {
    for (sent, echoed) in [
        ("177550", "177550"),
        ("18446744073709551616", "18446744073709551616"),
        ("-3", "-3"),
        ("1.0", "1.0"),
        ("null", "null"),
        ("true", "true"),
        (r#""a b\" c""#, r#""a b\" c""#),
        (r#""\ud83d\u00e9""#, r#""\ud83d\u00e9""#),
        ("\"漢字\"", "\"漢字\""),
        ("{ \"a b\" : [ 1 , \"\\\\\" , \" \" ] }", r#"{"a b":[1,"\\"," "]}"#),
    ] {
        let frame = format!("^{{\"id\":{sent},\"msg\":\"m\",\"c\":0,\"last\":true}}");
        let Ok(Progress::Complete(message)) = push(&mut with(|_| {}), frame) else { panic!("{sent}") };
        assert_eq!(message.id.to_string(), echoed);
        assert_eq!(sent.parse(), Ok(message.id.clone()));
        let frame = Chunks::new(&message.id, &message.payload, MIN_BUDGET).unwrap().next().unwrap();
        assert_eq!(frame, format!("^{{\"id\":{echoed},\"msg\":\"m\",\"c\":0,\"last\":true}}"));
    }
    // Chunks belong together if the ids are the same text, however they were spaced.
    let mut reassembler = with(|_| {});
    assert_eq!(push(&mut reassembler, r#"^{"id":[1, 2],"msg":"a","c":0}"#), PARTIAL);
    assert_eq!(push(&mut reassembler, r#"^{"id":["1",2],"msg":"x","c":1,"last":true}"#), PARTIAL);
    let done = push(&mut reassembler, r#"^{"id":[1,2],"msg":"b","c":1,"last":true}"#);
    assert!(matches!(done, Ok(Progress::Complete(message)) if message.payload.text() == Some("ab")));
}

#[test]
fn json_that_is_none_and_text_that_is_none_are_rejected_and_forgotten() {
    let mut reassembler = with(|_| {});
    let frame = r#"^{"id":1,"msg":"{\"a\":","o":1,"c":0,"last":true}"#;
    assert!(matches!(
        push(&mut reassembler, frame),
        Err(FrameError::InvalidMessage { id, reason: InvalidMessage::NotJson(_) }) if id == MessageId::from(1)
    ));
    let frame = b"^{\"id\":1,\"msg\":\"\xff\",\"c\":0,\"last\":true}";
    assert_eq!(push(&mut reassembler, frame), rejected(1, InvalidMessage::NotUtf8));
    // The same with the last chunk first: nothing of the message is to come, so its id is free at once.
    assert_eq!(push(&mut reassembler, last(1, 1, "b")), PARTIAL);
    assert_eq!(push(&mut reassembler, b"^{\"id\":1,\"msg\":\"\xff\",\"c\":0}"), rejected(1, InvalidMessage::NotUtf8));
    assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));
    assert_eq!(push(&mut reassembler, chunk(1, 0, "a")), PARTIAL);
    assert_eq!(push(&mut reassembler, last(1, 1, "b")), text(1, "ab"));
}

#[test]
fn hostile_depth_is_an_error_not_an_overflow() {
    let mut reassembler = with(|_| {});
    let json = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let frame = format!("^{{\"id\":1,\"msg\":\"{json}\",\"o\":1,\"c\":0,\"last\":true}}");
    let Ok(Progress::Complete(message)) = push(&mut reassembler, frame) else { panic!("not taken") };
    assert!(message.payload.as_json().unwrap().to_value().is_err());
}

#[test]
fn a_message_above_the_limit_is_rejected_until_its_end() {
    let mut reassembler = with(|limits| limits.max_message_bytes = 5);
    let too_large = || InvalidMessage::TooLarge { limit: 5 };
    assert_eq!(push(&mut reassembler, last(1, 0, "12345")), text(1, "12345"));
    assert_eq!(push(&mut reassembler, last(1, 0, "123456")), rejected(1, too_large()));

    assert_eq!(push(&mut reassembler, chunk(1, 0, "1234")), PARTIAL);
    assert_eq!(push(&mut reassembler, chunk(1, 1, "56")), rejected(1, too_large()));
    assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));
    assert_eq!(push(&mut reassembler, chunk(1, 2, "7")), rejected(1, InvalidMessage::AlreadyRejected));
    assert_eq!(push(&mut reassembler, chunk(2, 0, "other")), PARTIAL);
    assert_eq!(push(&mut reassembler, last(1, 3, "8")), rejected(1, InvalidMessage::AlreadyRejected));
    // From here on the id may be used again, as chains of responses do.
    assert_eq!(push(&mut reassembler, chunk(1, 0, "1234")), PARTIAL);
    assert_eq!(push(&mut reassembler, last(1, 1, "5")), text(1, "12345"));

    // Refused with its last chunk, nothing of it is to come.
    assert_eq!(push(&mut reassembler, chunk(1, 0, "1234")), PARTIAL);
    assert_eq!(push(&mut reassembler, last(1, 1, "56")), rejected(1, too_large()));

    // Replacing a chunk counts once.
    assert_eq!(push(&mut reassembler, chunk(1, 0, "1234")), PARTIAL);
    assert_eq!(push(&mut reassembler, chunk(1, 0, "5678")), PARTIAL);
    assert_eq!(push(&mut reassembler, last(1, 1, "9")), text(1, "56789"));

    // A message in one frame ends the refusal, too: the sender has moved on.
    assert_eq!(push(&mut reassembler, chunk(1, 0, "123456")), rejected(1, too_large()));
    assert_eq!(push(&mut reassembler, last(1, 0, "1")), text(1, "1"));
    assert_eq!(push(&mut reassembler, chunk(1, 0, "1")), PARTIAL);
}

#[test]
fn with_too_many_in_flight_the_new_one_is_rejected() {
    let mut reassembler = with(|limits| limits.max_in_flight_messages = 2);
    assert_eq!(push(&mut reassembler, chunk(1, 0, "a")), PARTIAL);
    assert_eq!(push(&mut reassembler, chunk(2, 0, "b")), PARTIAL);
    assert_eq!(push(&mut reassembler, chunk(3, 0, "c")), rejected(3, InvalidMessage::TooManyInFlight { limit: 2 }));
    assert_eq!(push(&mut reassembler, last(4, 0, "whole")), text(4, "whole"));
    assert_eq!(push(&mut reassembler, last(1, 1, "a")), text(1, "aa"));
    assert_eq!(push(&mut reassembler, chunk(3, 1, "c")), rejected(3, InvalidMessage::AlreadyRejected));
    assert_eq!(push(&mut reassembler, chunk(5, 0, "d")), PARTIAL);
}

#[test]
fn held_memory_is_bounded_whatever_the_chunks() {
    let mut orders: Vec<Box<dyn FnMut(u64) -> String>> = vec![
        Box::new(|n| chunk(1, n, "")),               // empty chunks of one message
        Box::new(|n| chunk(1, n + 1, "x")),          // small ones ahead of the first
        Box::new(|n| chunk(1, n, &"x".repeat(100))), // in order
        Box::new(|n| chunk(n, 3, "x")),              // many messages
        Box::new(|n| format!("^{{\"id\":\"{n:0200}\",\"msg\":\"\",\"c\":1}}")), // with long ids
    ];
    for (number, order) in orders.iter_mut().enumerate() {
        let mut reassembler = with(|limits| {
            limits.max_held_bytes = 20_000;
            limits.max_in_flight_messages = usize::MAX;
        });
        let mut most = 0;
        let refusal = (0..20_000).find_map(|n| {
            let refusal = push(&mut reassembler, order(n)).err();
            most = most.max(reassembler.held_bytes());
            refusal
        });
        let reason = InvalidMessage::TooManyBytesHeld { limit: 20_000 };
        assert!(
            matches!(refusal, Some(FrameError::InvalidMessage { reason: why, .. }) if why == reason),
            "order {number}"
        );
        assert!((10_000..=20_000).contains(&most), "order {number} held {most}");
    }
}

#[test]
fn the_memory_of_an_id_counts() {
    let held = |id: &str| {
        let mut reassembler = with(|_| {});
        assert_eq!(push(&mut reassembler, format!("^{{\"id\":{id},\"msg\":\"m\",\"c\":0}}")), PARTIAL);
        reassembler.held_bytes()
    };
    assert_eq!(held("\"eight8\""), held("8") + 8);
}

#[test]
fn a_chunk_index_is_bounded() {
    let mut reassembler = with(|limits| limits.max_chunks = 10);
    let too_many = || InvalidMessage::TooManyChunks { limit: 10 };
    assert_eq!(push(&mut reassembler, chunk(1, 9, "a")), PARTIAL);
    assert_eq!(push(&mut reassembler, chunk(1, 10, "a")), rejected(1, too_many()));
    assert_eq!(push(&mut reassembler, last(2, u64::from(u32::MAX) + 1, "a")), rejected(2, too_many()));
    for (id, huge) in [(3, "18446744073709551616".to_owned()), (4, "9".repeat(400))] {
        let frame = format!("^{{\"id\":{id},\"msg\":\"\",\"c\":{huge}}}");
        assert_eq!(push(&mut reassembler, frame), rejected(id, too_many()));
    }
    assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));
}

#[test]
fn an_abandoned_message_does_not_mix_with_the_next_of_its_id() {
    let mut reassembler = with(|_| {});
    // As when a browser's queue overflows: the rest of the message is never sent.
    for index in 0..5 {
        assert_eq!(push(&mut reassembler, chunk(1, index, "old")), PARTIAL);
    }
    assert_eq!(push(&mut reassembler, chunk(1, 0, "new")), PARTIAL);
    assert_eq!(push(&mut reassembler, chunk(1, 1, "er")), PARTIAL);
    assert_eq!(push(&mut reassembler, last(1, 2, " message")), text(1, "newer message"));
    assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));

    assert_eq!(push(&mut reassembler, chunk(1, 0, "old")), PARTIAL);
    assert_eq!(push(&mut reassembler, last(1, 0, "new")), text(1, "new"));
    assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));
}

#[test]
fn only_the_last_chunk_says_whether_the_message_is_json() {
    let mut reassembler = with(|_| {});
    assert_eq!(push(&mut reassembler, r#"^{"id":1,"msg":"[1","c":0}"#), PARTIAL);
    let done = push(&mut reassembler, r#"^{"id":1,"msg":"]","o":1,"c":1,"last":true}"#);
    assert!(matches!(done, Ok(Progress::Complete(message)) if message.payload.as_json().is_some()));
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn push_at(reassembler: &mut Reassembler, now: Instant, frame: String) {
    assert_eq!(reassembler.push(now, frame.as_bytes()), PARTIAL);
}

#[test]
fn an_incomplete_message_is_dropped_30_s_after_its_latest_chunk() {
    let start = start();
    let mut reassembler = with(|_| {});
    assert_eq!(reassembler.poll_timeout(), None);
    push_at(&mut reassembler, start, chunk(1, 0, "a"));
    push_at(&mut reassembler, start + seconds(10), chunk(2, 0, "b"));
    push_at(&mut reassembler, start + seconds(20), chunk(1, 2, "c"));
    assert_eq!(reassembler.poll_timeout(), Some(start + seconds(40)));
    let nearly = start + seconds(40) - Duration::from_millis(1);
    assert!(reassembler.handle_timeout(nearly).is_empty());
    let expired: Vec<(MessageId, usize)> = reassembler
        .handle_timeout(start + seconds(40))
        .into_iter()
        .map(|Expired { id, chunks, .. }| (id, chunks))
        .collect();
    assert_eq!(expired, [(2.into(), 1)]);
    assert_eq!(reassembler.poll_timeout(), Some(start + seconds(50)));
    assert_eq!(reassembler.handle_timeout(start + seconds(50))[0].chunks, 2);
    assert_eq!((reassembler.poll_timeout(), reassembler.held_bytes()), (None, 0));
}

#[test]
fn time_in_which_nobody_reads_does_not_count() {
    let start = start();
    let mut reassembler = with(|_| {});
    push_at(&mut reassembler, start, chunk(1, 0, "a"));
    reassembler.pause(start + seconds(10));
    reassembler.pause(start + seconds(20));
    // A frame that was already on its way does not start the clock.
    push_at(&mut reassembler, start + seconds(50), chunk(2, 0, "b"));
    assert_eq!(reassembler.poll_timeout(), None);
    assert!(reassembler.handle_timeout(start + seconds(1000)).is_empty());
    reassembler.resume(start + seconds(110));
    reassembler.resume(start + seconds(120));
    assert_eq!(reassembler.poll_timeout(), Some(start + seconds(130)));
    assert_eq!(reassembler.handle_timeout(start + seconds(130)).len(), 1);
    assert_eq!(reassembler.poll_timeout(), Some(start + seconds(140)));
}

#[test]
fn a_refusal_is_forgotten_when_its_message_falls_silent() {
    let start = start();
    let mut reassembler = with(|limits| limits.max_message_bytes = 1);
    let refusal = |result| matches!(result, Err(FrameError::InvalidMessage { .. }));
    assert!(refusal(reassembler.push(start, chunk(1, 0, "ab").as_bytes())));
    assert!(refusal(reassembler.push(start + seconds(29), chunk(1, 1, "a").as_bytes())));
    assert!(refusal(reassembler.push(start + seconds(58), chunk(1, 2, "a").as_bytes())));
    reassembler.pause(start + seconds(58));
    reassembler.resume(start + seconds(1058));
    assert!(refusal(reassembler.push(start + seconds(1087), chunk(1, 3, "a").as_bytes())));
    push_at(&mut reassembler, start + seconds(1117), chunk(1, 0, "a"));
}

#[test]
fn an_endless_idle_timeout_is_none() {
    let mut reassembler = with(|limits| limits.idle_timeout = Duration::MAX);
    push_at(&mut reassembler, start(), chunk(1, 0, "a"));
    assert_eq!(reassembler.poll_timeout(), None);
}

#[test]
fn refusals_are_remembered_in_bounded_number() {
    let mut reassembler = with(|limits| limits.max_message_bytes = 1);
    for id in 0..10_000 {
        assert_eq!(push(&mut reassembler, chunk(id, 0, "ab")), rejected(id, InvalidMessage::TooLarge { limit: 1 }));
    }
    assert_eq!(push(&mut reassembler, chunk(9_999, 1, "a")), rejected(9_999, InvalidMessage::AlreadyRejected));
    // Long forgotten: taken for a new message, which will remain incomplete.
    assert_eq!(push(&mut reassembler, chunk(0, 1, "a")), PARTIAL);
}
