//! Datagrams of unknown senders, and packets of a peer that has the keys.

use std::time::Duration;

use arbitrary::Arbitrary;
use p2pt_transport::webrtc::fuzzing::{Kind, Source, UnknownSenders, Victim};

#[derive(Debug, Arbitrary)]
enum Way {
    Peer,
    Own,
    Unknown(u8),
}

#[derive(Debug, Arbitrary)]
enum What {
    Bytes(Vec<u8>),
    Check { named: bool, controls: bool, nominates: bool, tail: Vec<u8> },
    Response { key: u8, number: u64, conflicts: bool },
    Record { content: u8, epoch: u8, sequence: u32, payload: Vec<u8> },
    Again(u8),
}

#[derive(Debug, Arbitrary)]
enum Datagram {
    Arrives { to: bool, way: Way, what: What },
    Talk(bool),
    Pass(u16),
}

/// The most operations of an input: more of them show nothing that these do not.
const MOST: usize = 200;

/// Whatever unknown senders send to two endpoints, from whatever address: their connection goes on, no data goes to any other address,
/// and what they are made to send is bounded.
pub fn endpoint_datagrams(data: &[u8]) {
    let Some(ops) = crate::read::<Vec<Datagram>>(data) else { return };
    let mut unknown = UnknownSenders::default();
    for op in ops.into_iter().take(MOST) {
        match op {
            Datagram::Arrives { to, way, what } => {
                let source = match way {
                    Way::Peer => Source::Peer,
                    Way::Own => Source::Own,
                    Way::Unknown(number) => Source::Unknown(number),
                };
                let kind = match &what {
                    What::Bytes(bytes) => Kind::Bytes(bytes),
                    What::Check { named, controls, nominates, tail } => {
                        Kind::Check { named: *named, controls: *controls, nominates: *nominates, tail }
                    }
                    What::Response { key, number, conflicts } => {
                        Kind::Response { key: *key, number: *number, conflicts: *conflicts }
                    }
                    What::Record { content, epoch, sequence, payload } => {
                        Kind::Record { content: *content, epoch: *epoch, sequence: *sequence, payload }
                    }
                    What::Again(back) => Kind::Again(*back),
                };
                unknown.send(to, source, &kind);
            }
            Datagram::Talk(from) => unknown.talk(from),
            Datagram::Pass(time) => unknown.pass(Duration::from_millis(time.into())),
        }
    }
    unknown.finish();
}

#[derive(Debug, Arbitrary)]
struct Attack {
    offers: bool,
    ops: Vec<Op>,
}

#[derive(Debug, Arbitrary)]
enum Op {
    Packet(Vec<Chunk>),
    /// The same packet a number of times, with the numbers that are then next.
    Many(u8, Vec<Chunk>),
    AnyPacket([u8; 12], Vec<u8>),
    Datagram(Vec<u8>),
    Pass(u16),
    Listen(bool),
    Read(bool),
    Answer(u16),
    Talk,
    Close,
}

/// Chunks of SCTP. Numbers are counted from those that the victim expects.
#[derive(Debug, Arbitrary)]
enum Chunk {
    Data {
        ahead: i16,
        flags: u8,
        stream: u16,
        number: u16,
        protocol: u8,
        bytes: u16,
    },
    Open {
        ahead: i8,
        stream: u16,
        kind: u8,
        label: u16,
    },
    Sack {
        ahead: i32,
        window: u32,
        gaps: Vec<(u16, u16)>,
        duplicates: u8,
    },
    Init {
        tag: u32,
        window: u32,
        streams: u16,
        tsn: u32,
        parameters: Vec<Parameter>,
    },
    InitAck {
        tag: u32,
        window: u32,
        streams: u16,
        tsn: u32,
        parameters: Vec<Parameter>,
    },
    Heartbeat(Vec<Parameter>),
    ForwardTsn {
        ahead: u32,
        streams: Vec<(u16, u16)>,
    },
    ReConfig(Vec<Reset>),
    /// An abort, an error, a shutdown or one of their acknowledgements, a cookie, and what is not known.
    Other {
        kind: u8,
        flags: u8,
        body: Vec<u8>,
    },
    /// A length that is not its own.
    Wrong {
        kind: u8,
        length: u16,
        body: Vec<u8>,
    },
}

#[derive(Debug, Arbitrary)]
struct Parameter {
    kind: u16,
    value: Vec<u8>,
}

#[derive(Debug, Arbitrary)]
enum Reset {
    Outgoing { request: u32, response: u32, last: i8, streams: Vec<u16> },
    Incoming { request: u32, streams: Vec<u16> },
    Response { request: u32, result: u8 },
    More { request: u32, streams: u16, outgoing: bool },
    Any(Parameter),
}

fn parameter(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let value = &value[..value.len().min(1000)];
    out.extend(kind.to_be_bytes());
    out.extend((value.len() as u16 + 4).to_be_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn chunk(out: &mut Vec<u8>, kind: u8, flags: u8, body: &[u8]) {
    let body = &body[..body.len().min(1300)];
    out.extend([kind, flags]);
    out.extend((body.len() as u16 + 4).to_be_bytes());
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn parameters(begin: Vec<u8>, parameters: &[Parameter]) -> Vec<u8> {
    let mut body = begin;
    for Parameter { kind, value } in parameters {
        parameter(&mut body, *kind, value);
    }
    body
}

fn streams(begin: Vec<u8>, streams: &[u16]) -> Vec<u8> {
    begin.into_iter().chain(streams.iter().flat_map(|stream| stream.to_be_bytes())).collect()
}

fn reset(body: &mut Vec<u8>, received: u32, reset: &Reset) {
    match reset {
        Reset::Outgoing { request, response, last, streams: list } => {
            let last = received.wrapping_add_signed((*last).into());
            parameter(body, 13, &streams(words([*request, *response, last]), list));
        }
        Reset::Incoming { request, streams: list } => parameter(body, 14, &streams(words([*request]), list)),
        Reset::Response { request, result } => parameter(body, 16, &words([*request, (*result).into()])),
        Reset::More { request, streams, outgoing } => {
            let kind = if *outgoing { 17 } else { 18 };
            parameter(body, kind, &words([*request, u32::from(*streams) << 16]));
        }
        Reset::Any(Parameter { kind, value }) => parameter(body, *kind, value),
    }
}

impl Chunk {
    fn write(&self, out: &mut Vec<u8>, received: u32, sent: u32) {
        match self {
            Self::Data { ahead, flags, stream, number, protocol, bytes } => {
                let tsn = received.wrapping_add_signed(i32::from(*ahead)).wrapping_add(1);
                let mut body = words([tsn, u32::from(*stream) << 16 | u32::from(*number), u32::from(*protocol)]);
                body.resize(12 + usize::from(bytes % 1200), b'x');
                chunk(out, 0, *flags, &body);
            }
            Self::Open { ahead, stream, kind, label } => {
                let tsn = received.wrapping_add_signed(i32::from(*ahead)).wrapping_add(1);
                let mut body = words([tsn, u32::from(*stream) << 16, 50]);
                body.extend([3, *kind, 0, 0, 0, 0, 0, 0]);
                body.extend(label.to_be_bytes());
                body.extend([0, 0]);
                body.resize(body.len() + usize::from(label % 1100), b'l');
                chunk(out, 0, 3, &body);
            }
            Self::Sack { ahead, window, gaps, duplicates } => {
                let mut body = words([sent.wrapping_add_signed(*ahead), *window]);
                body.extend((gaps.len().min(300) as u16).to_be_bytes());
                body.extend(u16::from(*duplicates % 20).to_be_bytes());
                for (begin, end) in gaps.iter().take(300) {
                    body.extend(begin.to_be_bytes());
                    body.extend(end.to_be_bytes());
                }
                body.resize(body.len() + usize::from(*duplicates % 20) * 4, 1);
                chunk(out, 3, 0, &body);
            }
            Self::Init { tag, window, streams, tsn, parameters: list } => {
                let counts = u32::from(*streams) << 16 | u32::from(*streams);
                chunk(out, 1, 0, &parameters(words([*tag, *window, counts, *tsn]), list));
            }
            Self::InitAck { tag, window, streams, tsn, parameters: list } => {
                let counts = u32::from(*streams) << 16 | u32::from(*streams);
                chunk(out, 2, 0, &parameters(words([*tag, *window, counts, *tsn]), list));
            }
            Self::Heartbeat(list) => chunk(out, 4, 0, &parameters(Vec::new(), list)),
            Self::ForwardTsn { ahead, streams } => {
                let mut body = words([received.wrapping_add(*ahead)]);
                for (stream, number) in streams.iter().take(300) {
                    body.extend(stream.to_be_bytes());
                    body.extend(number.to_be_bytes());
                }
                chunk(out, 192, 0, &body);
            }
            Self::ReConfig(resets) => {
                let mut body = Vec::new();
                for one in resets {
                    reset(&mut body, received, one);
                }
                chunk(out, 130, 0, &body);
            }
            Self::Other { kind, flags, body } => {
                let kind = [5, 6, 7, 8, 9, 10, 11, 14, 64, 128, 255][usize::from(*kind) % 11];
                chunk(out, kind, *flags, body);
            }
            Self::Wrong { kind, length, body } => {
                out.extend([*kind, 0]);
                out.extend(length.to_be_bytes());
                out.extend(body.iter().take(1300));
            }
        }
    }
}

fn packet(victim: &mut Victim, chunks: &[Chunk]) {
    let mut out = Vec::new();
    for chunk in chunks {
        chunk.write(&mut out, victim.received(), victim.sent());
    }
    victim.packet(&out);
}

/// Whatever a peer writes into the session it shares with an endpoint, it costs the endpoint no more than a bound for each
/// datagram, and the honest peer beside it nothing.
pub fn endpoint_packets(data: &[u8]) {
    let Some(Attack { offers, ops }) = crate::read(data) else { return };
    let mut victim = Victim::new(offers);
    for op in ops.into_iter().take(MOST) {
        match op {
            Op::Packet(chunks) => packet(&mut victim, &chunks),
            Op::Many(times, chunks) => (0..times).for_each(|_| packet(&mut victim, &chunks)),
            Op::AnyPacket(header, chunks) => {
                victim.any_packet(header, &chunks);
            }
            Op::Datagram(bytes) => victim.datagram(&bytes),
            Op::Pass(time) => victim.pass(Duration::from_millis(time.into())),
            Op::Listen(listens) => victim.listen(listens),
            Op::Read(reads) => victim.read(reads),
            Op::Answer(bytes) => victim.answer(bytes.into()),
            Op::Talk => victim.talk(),
            Op::Close => victim.close(),
        }
    }
    victim.finish();
}
