//! Frames recorded from the JavaScript p2pt 1.6.2, and what it made of them.

mod common;

use common::{javascript_frames, push, utf16};
use p2pt_messaging::{Chunks, Json, Limits, MIN_BUDGET, Message, MessageId, NotAChunk, Payload, Progress, Reassembler};
use serde_json::Value;

/// The lines of the recording. Some hold lone surrogates, which serde can read once they are mended.
fn lines() -> Vec<Value> {
    let text = include_str!("vectors/datachannel-frames.jsonl");
    let read = |line| Json::from_text(line).expect("a line of JSON").to_value().expect("serde can read it");
    text.lines().map(read).collect()
}

/// The content of the messages of which only both ends were recorded.
fn content(case: &str) -> (String, bool) {
    match case {
        "16000 ascii" => ("a".repeat(16_000), false),
        "16001 ascii" => ("a".repeat(16_001), false),
        "emoji across chunk boundary" => ("a".repeat(15_999) + "😀" + &"b".repeat(10), false),
        "16000 CJK" => ("漢".repeat(16_000), false),
        "16000 x U+0001 (6x JSON growth)" => ("\u{1}".repeat(16_000), false),
        "40 KB string" => ("x".repeat(40_000), false),
        "100 KB object" => (format!("{{\"k\":\"{}\"}}", "y".repeat(99_992)), true),
        _ => panic!("no description of {case}"),
    }
}

/// The bytes of a recorded frame.
fn frame(line: &Value) -> Vec<u8> {
    let case = line["case"].as_str().expect("a case");
    let wire_bytes = line["wire_bytes"].as_u64().expect("a size");
    let bytes = match (case, line["raw"].as_str(), line["raw_head"].as_str()) {
        (_, Some(raw), _) => raw.as_bytes().to_vec(),
        (_, _, Some(head)) => {
            let (text, is_json) = content(case);
            let id: String = head.chars().skip(7).take_while(char::is_ascii_digit).collect();
            let frames = javascript_frames(&id, &utf16(&text), is_json, 16_000);
            let tail = line["raw_tail"].as_str().expect("a tail");
            let of_line = |frame: &&String| frame.starts_with(head) && frame.ends_with(tail);
            frames.iter().find(of_line).unwrap_or_else(|| panic!("{case} rebuilt differs")).clone().into_bytes()
        }
        _ => panic!("{case} has no bytes"),
    };
    assert_eq!(bytes.len() as u64, wire_bytes, "{case}");
    bytes
}

/// Whether a payload is what the summary says was received; long texts are given by their length in UTF-16.
fn matches(payload: &Payload, received: &Value) -> bool {
    match (payload, received) {
        (Payload::Text(text), Value::String(received)) => {
            text == received || *received == format!("string({})", text.encode_utf16().count())
        }
        (Payload::Json(json), Value::String(cut)) if cut.contains('…') => {
            let head = cut.split_once('…').map_or("", |(head, _)| head);
            json.as_str().starts_with(head) && json.as_str() == content("100 KB object").0
        }
        (Payload::Json(json), received) => json.to_value().is_ok_and(|value| value == *received),
        _ => false,
    }
}

#[test]
fn every_recorded_frame_is_received_as_javascript_did() {
    let mut a_to_b = Reassembler::new(Limits::default());
    let mut b_to_a = Reassembler::new(Limits::default());
    let mut got: Vec<(String, Message)> = Vec::new();
    let (mut frames, mut binary, mut summaries) = (0, 0, 0);
    for line in lines() {
        if let Some(case) = line["case"].as_str() {
            frames += 1;
            let from = line["from"].as_str().unwrap();
            if line["opcode"] == "binary" {
                // It is no message, though JavaScript takes one for a message that looks like it.
                binary += 1;
                continue;
            }
            let reassembler = if from == "A" { &mut a_to_b } else { &mut b_to_a };
            let progress = push(reassembler, frame(&line));
            match case {
                "peer.send raw string" => assert_eq!(progress, Ok(Progress::Foreign(NotAChunk::NoMark)), "{case}"),
                "peer.send raw ^garbage" => {
                    assert_eq!(progress, Ok(Progress::Foreign(NotAChunk::NotAnObject)), "{case}");
                }
                // JavaScript loses the text and delivers ''; no application can want that.
                "frame without c" => {
                    assert_eq!(progress, Ok(Progress::Foreign(NotAChunk::Missing("c"))), "{case}");
                }
                _ => match progress.unwrap_or_else(|error| panic!("{case}: {error}")) {
                    Progress::Complete(message) => got.push((from.to_owned(), message)),
                    progress => assert_eq!(progress, Progress::Partial, "{case}"),
                },
            }
        } else {
            summaries += 1;
            let case = line["summary"].as_str().unwrap();
            let expected: Vec<Value> = match case {
                "chained response" => {
                    let chain = line["chain"].as_array().unwrap().iter().map(|step| step[1].clone());
                    std::iter::once(line["msg_events_B"][0].clone()).chain(chain).collect()
                }
                "frame without c" | "peer.send p2pt frame as binary" => Vec::new(),
                _ => line["received"].as_array().cloned().unwrap_or_default(),
            };
            let payloads: Vec<&Payload> = got.iter().map(|(_, message)| &message.payload).collect();
            assert_eq!(payloads.len(), expected.len(), "{case}: {payloads:?}");
            assert!(payloads.iter().zip(&expected).all(|(payload, expected)| matches(payload, expected)), "{case}");
            got.clear();
        }
    }
    assert_eq!((frames, binary, summaries), (45, 2, 41));
    assert_eq!((a_to_b.in_flight(), b_to_a.in_flight()), (1, 0), "the frame without last waits for more");
}

#[test]
fn recorded_frames_of_well_formed_text_are_sent_byte_for_byte() {
    let mut reassembler = Reassembler::new(Limits::default());
    let mut reproduced = 0;
    for line in lines().iter().filter(|line| line["case"].is_string() && line["opcode"] == "text") {
        let case = line["case"].as_str().unwrap();
        let frame = frame(line);
        let Ok(Progress::Complete(message)) = push(&mut reassembler, &frame) else { continue };
        // Forged by hand, not well formed, or cut by UTF-16 units where no budget of bytes cuts.
        let excepted = ["frame unknown extra keys", "frame key order differs", "lone surrogate", "100 KB object"];
        if excepted.contains(&case) || case == "emoji across chunk boundary" {
            continue;
        }
        let is_multiple = ["16001 ascii", "40 KB string"].contains(&case);
        let budget = if is_multiple { 16_041 } else { frame.len().max(MIN_BUDGET) };
        let frames: Vec<String> = Chunks::new(&message.id, &message.payload, budget).unwrap().collect();
        if is_multiple {
            let text = utf16(message.payload.as_str().expect("no bytes"));
            assert_eq!(frames, javascript_frames(&message.id.to_string(), &text, false, 16_000), "{case}");
        } else {
            assert_eq!(frames.len(), 1, "{case}");
        }
        assert_eq!(frames.last().unwrap().as_bytes(), frame, "{case}");
        reproduced += 1;
    }
    assert_eq!(reproduced, 24);
}

#[test]
fn the_values_javascript_cannot_send_arrive_all_the_same() {
    let values = [Value::from(0), Value::from(false), Value::from(1.5), Value::from(""), Value::from("text")];
    for value in values {
        let mut reassembler = Reassembler::new(Limits::default());
        let message = Message { id: MessageId::from(200_000), payload: Payload::from(value) };
        let frames: Vec<String> = Chunks::new(&message.id, &message.payload, MIN_BUDGET).unwrap().collect();
        let [frame] = frames.as_slice() else { panic!("{frames:?}") };
        assert_eq!(push(&mut reassembler, frame), Ok(Progress::Complete(message)));
    }
}
