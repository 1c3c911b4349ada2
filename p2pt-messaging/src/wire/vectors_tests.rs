//! docs/p2pt2-vectors.json: examples of everything on the wire, for implementations in other languages. They are made here,
//! with `P2PT_WRITE_VECTORS=1`, and compared with the file in each run.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Frame, FrameKind, Hello, LinkId, MessageKind, OutMessage, Session, SessionConfig, SessionError, Urgency};
use crate::Instant;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/p2pt2-vectors.json");

const LINK: LinkId = LinkId(0);

#[allow(clippy::disallowed_methods, reason = "a state machine only adds to it; which one it is does not matter")]
fn now() -> Instant {
    Instant::now()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("text").as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn hello(byte: u8) -> Hello {
    SessionConfig::default().hello([byte; 16], "mux")
}

fn session() -> Session {
    let mut session = Session::new(SessionConfig::default(), &hello(2));
    session.link_opened(now(), LINK);
    session
}

fn packet(frames: &[(FrameKind, &[u8])]) -> Vec<u8> {
    let mut packet = Vec::new();
    for (kind, body) in frames {
        Frame { kind: *kind, body }.encode(&mut packet).expect("short");
    }
    packet
}

fn hellos_json() -> Value {
    let most = Hello { trackers: vec![[7; 32]], ..hello(1) };
    let one = |what: &str, hello: &Hello| json!({ "what": what, "body": hex(hello.encode().expect("valid")) });
    json!([one("nothing said", &Hello::default()), one("defaults", &hello(1)), one("defaults and a tracker", &most)])
}

/// One frame of each kind. A sequenced one is read behind the SEQ of packet 0.
fn frames_json() -> Value {
    let frames: [(&str, FrameKind, &[u8]); 18] = [
        ("SEQ 0", FrameKind::SEQ, b"\x00"),
        ("ACK 0: nothing was taken yet", FrameKind::ACK, b"\x00"),
        ("PING 1", FrameKind::PING, b"\x01"),
        ("PONG 1", FrameKind::PONG, b"\x01"),
        ("MSG, urgency 3, whole, text, id 5", FrameKind::MSG, b"\x1b\x05hi"),
        ("MSG, urgency 3, whole, JSON, response to id 5", FrameKind::MSG, b"\xbb\x05[1]"),
        ("MSG, urgency 7, first of 4 bytes, raw, id 6", FrameKind::MSG, b"\x6f\x06\x04ab"),
        ("MSG, urgency 7, last, raw", FrameKind::MSG, b"\x77cd"),
        ("CANCEL at urgency 7", FrameKind::CANCEL, b"\x07"),
        ("REFUSE at urgency 7 the first message", FrameKind::REFUSE, b"\x07\x00"),
        ("MAX_MSG 1,048,642", FrameKind::MAX_MSG, b"\x80\x10\x00\x42"),
        ("OPEN 0, urgency 3, metadata \"file\"", FrameKind::OPEN, b"\x00\x03file"),
        ("DATA of the sender's stream 0, with FIN", FrameKind::DATA, b"\x00\x01abc"),
        ("MAX_DATA of the receiver's stream 0, 32,768", FrameKind::MAX_DATA, b"\x01\x80\x00\x80\x00"),
        ("RESET of the sender's stream 0, code 9", FrameKind::RESET, b"\x00\x09"),
        ("STOP of the receiver's stream 0, code 9", FrameKind::STOP, b"\x01\x09"),
        ("MAX_STREAMS 320", FrameKind::MAX_STREAMS, b"\x41\x40"),
        ("BYE, code 0, text \"done\"", FrameKind::BYE, b"\x00done"),
    ];
    frames.map(|(what, kind, body)| json!({ "what": what, "frame": hex(packet(&[(kind, body)])) })).to_vec().into()
}

fn violation(packets: &[Vec<u8>]) -> SessionError {
    let mut session = session();
    packets
        .iter()
        .find_map(|packet| session.receive(now(), LINK, &Bytes::from(packet.clone())).err())
        .expect("a violation")
}

/// The name of the violation, as `SessionError` has it.
fn name(error: &SessionError) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn malformed_json() -> Value {
    use FrameKind as Kind;
    let behind_seq = |kind, body: &[u8]| vec![packet(&[(Kind::SEQ, b"\x00"), (kind, body)])];
    let cases = [
        ("a frame is cut off", vec![vec![4, 2, 0]]),
        ("a SEQ has more than its number", vec![packet(&[(Kind::SEQ, b"\x00\x00")])]),
        ("a MSG without SEQ", vec![packet(&[(Kind::MSG, b"\x1b\x05hi")])]),
        ("an ACK behind SEQ", behind_seq(Kind::ACK, b"\x00")),
        ("packet 1 before packet 0", vec![packet(&[(Kind::SEQ, b"\x01")])]),
        ("an ACK of what was not sent", vec![packet(&[(Kind::ACK, b"\x01")])]),
        ("a fragment without a first one", behind_seq(Kind::MSG, b"\x03hi")),
        ("a message larger than 64 MiB", behind_seq(Kind::MSG, b"\x0b\x05\x84\x00\x00\x01a")),
        ("a CANCEL of no message", behind_seq(Kind::CANCEL, b"\x03")),
        ("an urgency of 8", behind_seq(Kind::CANCEL, b"\x08")),
        ("a REFUSE of no message", behind_seq(Kind::REFUSE, b"\x03\x00")),
        ("stream 1 before stream 0", behind_seq(Kind::OPEN, b"\x01\x03")),
        ("DATA of no stream", behind_seq(Kind::DATA, b"\x00\x00a")),
        ("unknown flags of a DATA", behind_seq(Kind::DATA, b"\x00\x02a")),
        (
            "DATA behind FIN",
            vec![packet(&[
                (Kind::SEQ, b"\x00"),
                (Kind::OPEN, b"\x00\x03"),
                (Kind::DATA, b"\x00\x01"),
                (Kind::DATA, b"\x00\x00a"),
            ])],
        ),
        (
            "16,385 bytes on a new stream",
            vec![packet(&[
                (Kind::SEQ, b"\x00"),
                (Kind::OPEN, b"\x00\x03"),
                (Kind::DATA, &[b"\x00\x00".as_slice(), &[0; 16_385]].concat()),
            ])],
        ),
        ("a frame behind BYE", vec![packet(&[(Kind::SEQ, b"\x00"), (Kind::BYE, b"\x00"), (Kind::CANCEL, b"\x03")])]),
    ];
    cases
        .into_iter()
        .map(|(what, packets)| {
            let error = violation(&packets);
            json!({ "what": what, "packets": packets.iter().map(hex).collect::<Vec<_>>(), "violation": name(&error) })
        })
        .collect::<Vec<_>>()
        .into()
}

/// What both sides send, each until it has nothing more to say.
fn settle(sides: &mut [(&str, Session); 2], what: &str, steps: &mut Vec<Value>) {
    loop {
        let before = steps.len();
        for from in 0..2 {
            while let Some(packet) = sides[from].1.poll_transmit(now(), LINK, 1200) {
                sides[1 - from].1.receive(now(), LINK, &packet).expect("no violation");
                let state =
                    |session: &Session| json!({ "idle": session.is_idle(), "held_bytes": session.held_bytes() });
                steps.push(json!({
                    "what": what,
                    "from": sides[from].0,
                    "packet": hex(&packet),
                    "after": { "a": state(&sides[0].1), "b": state(&sides[1].1) },
                }));
            }
        }
        if steps.len() == before {
            return;
        }
    }
}

fn exchange_json() -> Value {
    let side = |name, theirs: &Hello| {
        let mut session = Session::new(SessionConfig::default(), theirs);
        session.link_opened(now(), LINK);
        (name, session)
    };
    let (mut sides, mut steps) = ([side("a", &hello(2)), side("b", &hello(1))], Vec::new());
    let message = |response, kind, bytes: &'static str| OutMessage {
        id: 5,
        response,
        kind,
        urgency: Urgency::DEFAULT,
        bytes: Bytes::from_static(bytes.as_bytes()),
    };

    sides[0].1.send(message(false, MessageKind::Text, "hi")).expect("small");
    settle(&mut sides, "a sends a message", &mut steps);
    let received = sides[1].1.receive_message().expect("a message");
    assert_eq!((received.id, &received.bytes[..]), (5, &b"hi"[..]));
    sides[1].1.send(message(true, MessageKind::Json, "[1]")).expect("small");
    settle(&mut sides, "b responds", &mut steps);
    assert!(sides[0].1.receive_message().expect("a response").response);

    let key = sides[0].1.open(Bytes::from_static(b"file"), Urgency::DEFAULT).expect("room");
    sides[0].1.write(key, &mut Bytes::from_static(b"abc")).expect("room");
    sides[0].1.finish(key);
    settle(&mut sides, "a opens a stream, writes and finishes its half", &mut steps);
    let accepted = sides[1].1.accept().expect("a stream");
    assert_eq!(sides[1].1.read(accepted.key, 100).expect("bytes"), "abc");
    sides[1].1.reset(accepted.key, 9);
    settle(&mut sides, "b reads, and resets its half", &mut steps);
    sides[0].1.leave(0, "done");
    settle(&mut sides, "a leaves", &mut steps);
    json!({ "hello_a": hex(hello(1).encode().expect("valid")), "hello_b": hex(hello(2).encode().expect("valid")), "steps": steps })
}

fn computed() -> Value {
    json!({
        "hellos": hellos_json(),
        "frames": frames_json(),
        "exchange": exchange_json(),
        "malformed": malformed_json(),
    })
}

fn file() -> Value {
    let text = std::fs::read_to_string(FILE).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn vectors_are_what_is_computed() {
    let computed = computed();
    if std::env::var_os("P2PT_WRITE_VECTORS").is_some() {
        std::fs::write(FILE, format!("{computed:#}\n")).expect("written");
    }
    assert_eq!(file(), computed);
}

/// What stands in the file is read, with nothing else.
#[test]
fn vectors_are_read() {
    let file = file();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    for hello in list(&file["hellos"]) {
        let body = unhex(&hello["body"]);
        assert_eq!(Hello::decode(&body).expect("a HELLO").encode(), Ok(body), "{hello}");
    }
    for frame in list(&file["frames"]) {
        let bytes = unhex(&frame["frame"]);
        let frames: Result<Vec<_>, _> = super::Frames::new(&bytes).collect();
        let [read] = frames.expect("frames")[..] else { panic!("{frame} is not one frame") };
        super::packet::Content::read(read).unwrap_or_else(|error| panic!("{frame}: {error}"));
    }
    for malformed in list(&file["malformed"]) {
        let packets: Vec<_> = list(&malformed["packets"]).iter().map(unhex).collect();
        assert_eq!(name(&violation(&packets)), malformed["violation"], "{malformed}");
    }
}
