//! Any text, any cut, any order; any bytes.

mod common;

use std::{collections::BTreeMap, time::Duration};

use common::{javascript_frames, push, start, stringify, utf16};
use p2pt_messaging::{
    Chunks, FrameError, InvalidMessage, Json, Limits, MIN_BUDGET, Message, MessageId, Payload, Progress, Reassembler,
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// Text of all widths, with plenty of what must be escaped.
fn text() -> impl Strategy<Value = String> {
    let char = prop_oneof![
        4 => any::<char>(),
        4 => (0x20u8..0x7f).prop_map(char::from),
        1 => (0u8..0x20).prop_map(char::from),
        1 => prop::sample::select(vec!['"', '\\', '/', '\u{7f}', '\u{2028}', 'é', '漢', '😀', '\u{10ffff}']),
    ];
    prop_oneof![
        vec(char, 0..1200).prop_map(|chars| chars.into_iter().collect()),
        // Long runs, so that there are many chunks and few escapes.
        ("[a-z\"😀]{0,3}", 0usize..1500).prop_map(|(unit, times)| unit.repeat(times)),
    ]
}

/// JavaScript strings, with lone surrogates and pairs.
fn units() -> impl Strategy<Value = Vec<u16>> {
    let unit = prop_oneof![
        2 => any::<u16>(),
        2 => 0x20u16..0x7f,
        2 => 0xd83du16..0xd83f,
        2 => 0xde00u16..0xde02,
        1 => prop::sample::select(utf16("\"\\u/d8\n\0")),
    ];
    vec(unit, 1..60)
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![text().prop_map(Payload::Text), text().prop_map(|text| Payload::from(serde_json::json!([text])))]
}

fn complete(id: &MessageId, payload: &Payload) -> Result<Progress, FrameError> {
    Ok(Progress::Complete(Message { id: id.clone(), payload: payload.clone() }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_keep_to_the_budget_and_to_the_format(payload in payload(), budget in MIN_BUDGET..3000, id: u64) {
        let message_id = MessageId::from(id);
        let frames: Vec<String> = Chunks::new(&message_id, &payload, budget).unwrap().collect();
        let mut joined = String::new();
        for (index, frame) in frames.iter().enumerate() {
            prop_assert!(frame.len() <= budget);
            prop_assert!(frame.capacity() <= budget, "{} grew to {}", frame.len(), frame.capacity());
            let fields: serde_json::Value = serde_json::from_str(&frame[1..]).unwrap();
            let msg = fields["msg"].as_str().unwrap();
            // The one way to write it: JSON.stringify's escapes and key order.
            let is_json = payload.as_json().is_some();
            let last = index + 1 == frames.len();
            let o = if is_json { ",\"o\":1" } else { "" };
            let end = if last { ",\"last\":true}" } else { "}" };
            prop_assert_eq!(frame, &format!("^{{\"id\":{id},\"msg\":{}{o},\"c\":{index}{end}", stringify(&utf16(msg))));
            prop_assert!(!msg.is_empty() || frames.len() == 1);
            // Nothing that would still have fitted is left for the next frame: a frame lacks at most one character.
            prop_assert!(last || frame.len() + ",\"last\":true".len() + 6 > budget);
            joined.push_str(msg);
        }
        prop_assert_eq!(Some(joined.as_str()), payload.as_str());
    }

    #[test]
    fn messages_survive_any_interleaving_and_any_order(
        messages in vec((payload(), MIN_BUDGET..1500), 1..6), keys in vec(any::<u32>(), 256), shuffled: bool,
    ) {
        let mut frames = Vec::new();
        for (number, (payload, budget)) in messages.iter().enumerate() {
            let id = MessageId::from(number as u64);
            let chunks: Vec<String> = Chunks::new(&id, payload, *budget).unwrap().collect();
            let count = chunks.len();
            for (index, frame) in chunks.into_iter().enumerate() {
                let key = keys[(index * 7 + number * 31) % keys.len()];
                // In order per message, messages mixed; or everything mixed.
                let key = if shuffled { key } else { u32::try_from(index * 1000 / count).unwrap() };
                frames.push((key, number, frame));
            }
        }
        frames.sort_by_key(|(key, ..)| *key);
        let mut missing: Vec<usize> = vec![0; messages.len()];
        frames.iter().for_each(|(_, number, _)| missing[*number] += 1);
        let mut reassembler = Reassembler::new(Limits::default());
        for (_, number, frame) in frames {
            missing[number] -= 1;
            let progress = push(&mut reassembler, frame);
            if missing[number] == 0 {
                prop_assert_eq!(progress, complete(&MessageId::from(number as u64), &messages[number].0));
            } else {
                prop_assert_eq!(progress, Ok(Progress::Partial));
            }
        }
        prop_assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));
    }

    #[test]
    fn text_with_lone_surrogates_cut_anywhere_is_mended(units in units(), cut in 1usize..8, reverse: bool) {
        let mut frames = javascript_frames("\"é\"", &units, false, cut);
        if reverse {
            frames.reverse();
        }
        let mut reassembler = Reassembler::new(Limits::default());
        let last = frames.pop().unwrap();
        for frame in frames {
            prop_assert_eq!(push(&mut reassembler, frame), Ok(Progress::Partial));
        }
        let id: MessageId = "\"é\"".parse().unwrap();
        let text = String::from_utf16_lossy(&units);
        prop_assert_eq!(push(&mut reassembler, last), complete(&id, &Payload::Text(text)));
    }

    #[test]
    fn json_with_lone_surrogates_cut_anywhere_is_mended(units in units(), cut in 1usize..8, well_formed: bool) {
        // Before 2019 JSON.stringify wrote lone surrogates as they are, since then as escapes.
        let json = if well_formed {
            utf16(&stringify(&units))
        } else {
            let plain: Vec<u16> = units.iter().copied().filter(|unit| *unit >= 0x20 && ![0x22, 0x5c].contains(unit)).collect();
            [&[u16::from(b'"')], plain.as_slice(), &[u16::from(b'"')]].concat()
        };
        let plain: Vec<u16> = json[1..json.len() - 1].to_vec();
        let expected = String::from_utf16_lossy(if well_formed { &units } else { &plain });
        let mut reassembler = Reassembler::new(Limits::default());
        let mut received = None;
        for frame in javascript_frames("-1.5e3", &json, true, cut) {
            if let Progress::Complete(message) = push(&mut reassembler, frame).unwrap() {
                received = Some(message.payload);
            }
        }
        prop_assert_eq!(received.unwrap().as_json().unwrap().parse::<String>().unwrap(), expected);
    }

    #[test]
    fn of_a_chunk_that_comes_twice_the_later_counts(pushes in vec((0u32..6, "[a-z]{0,4}", prop::bool::weighted(0.1)), 1..40)) {
        let mut reassembler = Reassembler::new(Limits::default());
        let mut model: BTreeMap<u32, String> = BTreeMap::new();
        let mut end: Option<u32> = None;
        for (index, text, last) in pushes {
            let frame = format!("^{{\"id\":1,\"msg\":\"{text}\",\"c\":{index},\"last\":{last}}}");
            if last && index == 0 {
                // Whole in itself, whatever came before.
                prop_assert_eq!(push(&mut reassembler, frame), complete(&1.into(), &Payload::Text(text)));
                return Ok(());
            }
            if end.is_some_and(|end| index > end) {
                let rejected = FrameError::InvalidMessage { id: 1.into(), reason: InvalidMessage::ChunkAfterLast };
                prop_assert_eq!(push(&mut reassembler, frame), Err(rejected));
                prop_assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));
                return Ok(());
            }
            if last {
                end = Some(index);
                model.retain(|&other, _| other < index);
            }
            model.insert(index, text);
            if end.is_some_and(|end| model.len() == end as usize + 1) {
                let joined = model.into_values().collect();
                prop_assert_eq!(push(&mut reassembler, frame), complete(&1.into(), &Payload::Text(joined)));
                prop_assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));
                return Ok(());
            }
            prop_assert_eq!(push(&mut reassembler, frame), Ok(Progress::Partial));
        }
    }

    #[test]
    fn any_text_is_json_or_an_error_and_never_a_lone_surrogate(text in "[\\\\\"ud83de0 \\[\\],]{0,24}") {
        if let Ok(json) = Json::from_text(text) {
            prop_assert!(json.to_value().is_ok(), "{}", json.as_str());
        }
    }
}

/// One thing a hostile peer, or its reader, may do.
#[derive(Clone, Debug)]
enum Step {
    Chunk { id: String, msg: String, index: u64, o: bool, last: bool },
    Damaged { index: Index, byte: u8, cut: bool },
    Bytes(Vec<u8>),
    Wait(u64),
    Pause,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    let id = prop_oneof![4 => "[0-9]", 1 => "\"[a-z]{0,4}\"", 1 => Just(format!("\"{}\"", "i".repeat(200)))];
    let index = prop_oneof![8 => 0u64..9, 1 => any::<u64>()];
    let msg = prop_oneof!["[a-z]{0,300}", Just(String::new()), "(\\\\ud83d|\\\\ude00|\\\\n|\\[|7){0,9}"];
    let chunk = (id, msg, index, any::<bool>(), prop::bool::weighted(0.3));
    prop_oneof![
        12 => chunk.prop_map(|(id, msg, index, o, last)| Step::Chunk { id, msg, index, o, last }),
        2 => (any::<Index>(), any::<u8>(), any::<bool>()).prop_map(|(index, byte, cut)| Step::Damaged { index, byte, cut }),
        1 => vec(any::<u8>(), 0..40).prop_map(Step::Bytes),
        1 => (0u64..20).prop_map(Step::Wait),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_or_exceeds_the_bounds(
        steps in vec(step(), 1..120), held in 0usize..6000, message in 0usize..1500, in_flight in 0usize..5, chunks in 0u32..9,
    ) {
        let mut limits = Limits::default();
        limits.max_held_bytes = held;
        limits.max_message_bytes = message;
        limits.max_in_flight_messages = in_flight;
        limits.max_chunks = chunks;
        limits.max_frame_bytes = 600;
        let mut reassembler = Reassembler::new(limits);
        let mut now = start();
        let mut paused = false;
        let mut latest = b"^".to_vec();
        for step in steps {
            let frame = match step {
                Step::Chunk { id, msg, index, o, last } => {
                    latest = format!("^{{\"id\":{id},\"msg\":\"{msg}\",\"o\":{o},\"c\":{index},\"last\":{last}}}").into_bytes();
                    latest.clone()
                }
                Step::Damaged { index, byte, cut } => {
                    let mut frame = latest.clone();
                    let at = index.index(frame.len());
                    frame[at] = byte;
                    frame.truncate(if cut { at } else { frame.len() });
                    frame
                }
                Step::Bytes(bytes) => [b"^", bytes.as_slice()].concat(),
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    let due = reassembler.poll_timeout().is_some_and(|due| due <= now);
                    let expired = reassembler.handle_timeout(now);
                    prop_assert_eq!(due, !expired.is_empty());
                    continue;
                }
                Step::Pause => {
                    paused = true;
                    reassembler.pause(now);
                    prop_assert_eq!(reassembler.poll_timeout(), None);
                    continue;
                }
                Step::Resume => {
                    paused = false;
                    reassembler.resume(now);
                    continue;
                }
            };
            if let Ok(Progress::Complete(done)) = reassembler.push(now, &frame) {
                prop_assert!(done.payload.len() <= message);
            }
            prop_assert!(reassembler.held_bytes() <= held);
            prop_assert!(reassembler.in_flight() <= in_flight);
            prop_assert_eq!(reassembler.held_bytes() == 0, reassembler.in_flight() == 0);
            prop_assert_eq!(reassembler.poll_timeout().is_some(), reassembler.in_flight() > 0 && !paused);
        }
        reassembler.resume(now);
        drop(reassembler.handle_timeout(now + Duration::from_secs(30)));
        prop_assert_eq!((reassembler.in_flight(), reassembler.held_bytes()), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Room is asked for before it is taken, as little as is needed, and then the chunk is taken; what comes of a message
    /// is the same as with all the room there is.
    #[test]
    fn room_is_never_exceeded_and_changes_nothing_else(
        chunks in vec((0u64..4, 0u64..8, "[a-z]{0,400}", prop::bool::weighted(0.2)), 1..80), spare in 0usize..300,
    ) {
        let limits = || Limits::default().max_message_bytes(1500).max_held_bytes(8000);
        let (mut free, mut tight) = (Reassembler::new(limits()), Reassembler::new(limits()));
        let now = start();
        let mut room = 0;
        tight.set_room(room);
        for (id, index, msg, last) in chunks {
            let frame = format!("^{{\"id\":{id},\"msg\":\"{msg}\",\"c\":{index},\"last\":{last}}}");
            let expected = free.push(now, frame.as_bytes());
            let mut result = tight.push(now, frame.as_bytes());
            if let Ok(Progress::NeedsRoom { bytes }) = result {
                let held = (tight.held_bytes(), tight.in_flight());
                prop_assert!(bytes > 0);
                tight.set_room(room + bytes - 1);
                let again = tight.push(now, frame.as_bytes());
                prop_assert_eq!(again, Ok(Progress::NeedsRoom { bytes: 1 }));
                prop_assert_eq!((tight.held_bytes(), tight.in_flight()), held, "nothing was taken");
                room += bytes + spare;
                tight.set_room(room);
                result = tight.push(now, frame.as_bytes());
            }
            prop_assert!(tight.held_bytes() <= room, "{} bytes in a room of {room}", tight.held_bytes());
            // With less room less is held, so that a limit is met later.
            let full = |result: &Result<Progress, FrameError>| {
                let reason = InvalidMessage::TooManyBytesHeld { limit: 8000 };
                matches!(result, Err(FrameError::InvalidMessage { reason: why, .. }) if *why == reason)
            };
            if full(&expected) || full(&result) {
                return Ok(());
            }
            prop_assert_eq!(result, expected);
        }
    }

    #[test]
    fn what_is_given_up_is_the_largest_and_its_further_chunks_are_rejected(sizes in vec(0usize..2000, 1..8)) {
        let (mut reassembler, now) = (Reassembler::new(Limits::default()), start());
        for (id, size) in sizes.iter().enumerate() {
            let frame = format!("^{{\"id\":{id},\"msg\":\"{}\",\"c\":0}}", "x".repeat(*size));
            prop_assert_eq!(reassembler.push(now, frame.as_bytes()), Ok(Progress::Partial));
        }
        let held = reassembler.held_bytes();
        let gone = reassembler.give_up_largest(now).expect("there is one");
        let index: usize = gone.id.to_string().parse().unwrap();
        prop_assert_eq!(Some(&sizes[index]), sizes.iter().max());
        prop_assert_eq!((reassembler.held_bytes(), gone.chunks), (held - gone.bytes, 1));
        let next = format!("^{{\"id\":{index},\"msg\":\"\",\"c\":1}}");
        let rejected = FrameError::InvalidMessage { id: gone.id, reason: InvalidMessage::AlreadyRejected };
        prop_assert_eq!(reassembler.push(now, next.as_bytes()), Err(rejected));
        while reassembler.give_up_largest(now).is_some() {}
        prop_assert_eq!((reassembler.held_bytes(), reassembler.in_flight()), (0, 0));
    }
}
