//! Two SCTP stacks in memory, and a peer that writes its packets by hand.

use std::{
    net::{Ipv4Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ServerConfig, StreamEvent, TimerConfig, TransportConfig,
};
use rtc_shared::TransportProtocol;

use super::{Limits, SctpGuard, Verdict, Violation, chunks::*, sack::write_checksum};

/// The receive window of the stacks here, in bytes.
pub(super) const WINDOW: u32 = 131_072;

pub(super) const STREAM: u16 = 1;

const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

pub(super) fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One stack, with or without a guard before it.
pub(super) struct Stack {
    endpoint: Endpoint,
    pub(super) association: Option<(AssociationHandle, Association)>,
    pub(super) guard: Option<SctpGuard>,
    /// Associations that a packet began.
    pub(super) begun: usize,
    pub(super) connected: bool,
    /// Streams that have ended, and whether by an end of the association.
    pub(super) ended: Vec<u16>,
    pub(super) verdicts: Vec<(u8, Verdict)>,
    pub(super) received: Vec<Bytes>,
}

impl Stack {
    pub(super) fn new(guarded: bool) -> Self {
        let server = Arc::new(ServerConfig::new(transport()));
        Self {
            endpoint: Endpoint::new(REMOTE, TransportProtocol::UDP, Arc::new(EndpointConfig::default()), Some(server)),
            association: None,
            guard: guarded.then(|| SctpGuard::new(Limits { receive_window: WINDOW })),
            begun: 0,
            connected: false,
            ended: Vec::new(),
            verdicts: Vec::new(),
            received: Vec::new(),
        }
    }

    pub(super) fn connect(&mut self, now: Instant) {
        let connected = self.endpoint.connect(now, ClientConfig::new(transport()), REMOTE);
        self.association = Some(connected.unwrap());
    }

    pub(super) fn association(&mut self) -> &mut Association {
        &mut self.association.as_mut().unwrap().1
    }

    /// Hands a packet to the stack, if the guard lets it pass; packets to be sent at once are the guard's answers.
    pub(super) fn receive(&mut self, now: Instant, packet: &Bytes) -> Result<Option<Bytes>, Violation> {
        if let Some(guard) = &mut self.guard {
            let verdict = guard.inspect(now, packet)?;
            self.verdicts.push((packet.get(COMMON_HEADER).copied().unwrap_or(u8::MAX), verdict.clone()));
            match verdict {
                Verdict::Pass => {}
                Verdict::Drop => return Ok(None),
                Verdict::Answer(answer) => return Ok(Some(answer)),
            }
        }
        match self.endpoint.handle(now, REMOTE, None, packet.clone()) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.begun += 1;
                self.association = Some((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((ours, association)) = &mut self.association
                    && *ours == handle
                {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
        self.events();
        Ok(None)
    }

    pub(super) fn events(&mut self) {
        let Some((_, association)) = &mut self.association else { return };
        while let Some(event) = association.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::AssociationLost { id, .. } => self.ended.push(id),
                Event::Stream(StreamEvent::Opened { .. }) => while association.accept_stream().is_some() {},
                _ => {}
            }
        }
    }

    /// The packets the stack sends now, as the guard has seen them.
    pub(super) fn poll(&mut self, now: Instant) -> Vec<Bytes> {
        let mut packets = Vec::new();
        while let Some((_, association)) = &mut self.association
            && let Some(sent) = association.poll_transmit(now)
            && let Payload::RawEncode(raw) = sent.message
        {
            packets.extend(raw);
        }
        if let Some(guard) = &mut self.guard {
            packets.iter().for_each(|packet| guard.sent(packet));
        }
        packets
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.association.as_ref().and_then(|(_, association)| association.poll_timeout())
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
        }
        self.events();
    }

    pub(super) fn send(&mut self, now: Instant, stream: u16, data: &Bytes) -> bool {
        let association = self.association();
        if association.stream(stream).is_err() {
            let _ = association.open_stream(stream, PayloadProtocolIdentifier::Binary);
        }
        let Ok(mut stream) = association.stream(stream) else { return false };
        stream.write_chunk_with_ppi(now, data, PayloadProtocolIdentifier::Binary).is_ok()
    }

    pub(super) fn read_all(&mut self) {
        let streams = self.association.as_ref().map(|(_, association)| association.stream_ids()).unwrap_or_default();
        streams.into_iter().for_each(|stream| self.read(stream));
    }

    /// Reads what is complete on `stream`.
    pub(super) fn read(&mut self, stream: u16) {
        let Some((_, association)) = &mut self.association else { return };
        while let Ok(mut readable) = association.stream(stream)
            && let Ok(Some(chunks)) = readable.read_sctp()
        {
            self.received.push(chunks.to_payload(usize::MAX).unwrap().freeze());
        }
        self.events();
    }
}

fn transport() -> TransportConfig {
    // A plan of losses may lose the same packet many times.
    let timers = TimerConfig { max_t3_rtx_retrans: usize::MAX, max_reconfig_retrans: usize::MAX, ..Default::default() };
    TransportConfig::default().with_max_receive_buffer_size(WINDOW).with_timer_config(timers)
}

/// A stack whose peer writes its packets by hand.
pub(super) struct Victim {
    pub(super) stack: Stack,
    pub(super) now: Instant,
    tag: u32,
    /// The next TSN of the peer that has not been used.
    pub(super) tsn: u32,
    /// The first TSN the victim has sent, where a test needs it.
    pub(super) first_sent: u32,
}

impl Victim {
    /// A victim whose peer has just opened a channel.
    pub(super) fn new(guarded: bool) -> Self {
        Self::with_tsn(guarded, 1_000).unwrap()
    }

    /// The peer's first TSN is `tsn`.
    pub(super) fn with_tsn(guarded: bool, tsn: u32) -> Result<Self, Violation> {
        let mut victim = Self { stack: Stack::new(guarded), now: start(), tag: 0, tsn, first_sent: 0 };
        let init_ack = victim.give(&[&init_chunk(INIT, 7, 1 << 20, tsn)])?.remove(0);
        victim.tag = be32(&init_ack, COMMON_HEADER + 4).unwrap();
        let cookie = &init_ack[COMMON_HEADER + INIT_FIXED + 4..][..32];
        let _ = victim.give(&[&chunk(COOKIE_ECHO, 0, cookie)])?;
        assert!(victim.stack.connected);
        Ok(victim)
    }

    /// A victim that has sent its INIT and waits for an answer.
    pub(super) fn that_began(guarded: bool) -> Self {
        let mut victim = Self { stack: Stack::new(guarded), now: start(), tag: 0, tsn: 1_000, first_sent: 0 };
        victim.stack.connect(victim.now);
        let init = victim.stack.poll(victim.now).remove(0);
        victim.tag = be32(&init, COMMON_HEADER + 4).unwrap();
        let cookie = param(7, &[7; 32]);
        let mut init_ack = init_chunk(INIT_ACK, 7, 1 << 20, victim.tsn);
        init_ack.resize(init_ack.len().next_multiple_of(4), 0);
        init_ack.extend(cookie);
        let length = init_ack.len() as u16;
        init_ack[2..4].copy_from_slice(&length.to_be_bytes());
        let _ = victim.give(&[&init_ack]).unwrap();
        let _ = victim.give(&[&chunk(COOKIE_ACK, 0, &[])]).unwrap();
        assert!(victim.stack.connected);
        victim
    }

    /// Gives the victim a packet with these chunks; what it sends then.
    pub(super) fn give(&mut self, chunks: &[&[u8]]) -> Result<Vec<Bytes>, Violation> {
        let packet = packet(self.tag, chunks);
        let answer = self.stack.receive(self.now, &packet)?;
        let mut sent = self.stack.poll(self.now);
        sent.extend(answer);
        Ok(sent)
    }

    /// A packet with these chunks that it takes.
    pub(super) fn packet(&self, chunks: &[&[u8]]) -> Bytes {
        packet(self.tag, chunks)
    }

    /// Gives the victim a packet; `None` if its stack panics. Nothing may be asked of it then.
    pub(super) fn survives(&mut self, chunks: &[&[u8]]) -> Option<Result<Vec<Bytes>, Violation>> {
        catch_unwind(AssertUnwindSafe(|| self.give(chunks))).ok()
    }

    /// Lets time pass until the victim has sent what it delays.
    pub(super) fn wait(&mut self) -> Vec<Bytes> {
        self.now += Duration::from_millis(200);
        self.stack.handle_timeout(self.now);
        self.stack.poll(self.now)
    }

    /// The last SACK the victim sends within its delay after a packet with these chunks.
    pub(super) fn sack(&mut self, chunks: &[&[u8]]) -> Result<Sack, Violation> {
        let mut sent = self.give(chunks)?;
        sent.extend(self.wait());
        let packet = sent.into_iter().rfind(|packet| packet[COMMON_HEADER] == SACK).unwrap();
        Ok(Sack::read(packet))
    }

    /// A DATA chunk with the next TSN.
    pub(super) fn next(&mut self, stream: u16, sequence: u16, bytes: usize) -> Vec<u8> {
        self.tsn = self.tsn.wrapping_add(1);
        data(self.tsn.wrapping_sub(1), stream, sequence, WHOLE, bytes)
    }
}

/// What a SACK says.
#[derive(Debug)]
pub(super) struct Sack {
    pub(super) packet: Bytes,
    pub(super) tsn: u32,
    pub(super) window: u32,
    pub(super) gaps: u16,
}

impl Sack {
    fn read(packet: Bytes) -> Self {
        let chunk = &packet[COMMON_HEADER..];
        let (tsn, window, gaps) = (be32(chunk, 4).unwrap(), be32(chunk, 8).unwrap(), be16(chunk, 12).unwrap());
        Self { packet, tsn, window, gaps }
    }
}

/// DATA flags: beginning and end of a message.
pub(super) const WHOLE: u8 = 3;

pub(super) fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind, flags];
    chunk.put_u16((CHUNK_HEADER + value.len()) as u16);
    chunk.extend_from_slice(value);
    chunk
}

pub(super) fn param(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut param = Vec::new();
    param.put_u16(kind);
    param.put_u16((4 + value.len()) as u16);
    param.extend_from_slice(value);
    param
}

pub(super) fn init_chunk(kind: u8, tag: u32, window: u32, tsn: u32) -> Vec<u8> {
    let mut value = Vec::new();
    value.put_u32(tag);
    value.put_u32(window);
    value.put_u16(1024);
    value.put_u16(65_535);
    value.put_u32(tsn);
    // As a browser does: FORWARD-TSN supported, and RE-CONFIG among the extensions.
    value.extend(param(0xC000, &[]));
    value.extend(param(0x8008, &[RE_CONFIG, FORWARD_TSN]));
    chunk(kind, 0, &value)
}

pub(super) fn data(tsn: u32, stream: u16, sequence: u16, flags: u8, bytes: usize) -> Vec<u8> {
    let mut value = Vec::new();
    value.put_u32(tsn);
    value.put_u16(stream);
    value.put_u16(sequence);
    value.put_u32(53);
    value.resize(12 + bytes, 0);
    chunk(DATA, flags, &value)
}

pub(super) fn sack(tsn: u32, window: u32, blocks: &[(u16, u16)]) -> Vec<u8> {
    let mut value = Vec::new();
    value.put_u32(tsn);
    value.put_u32(window);
    value.put_u16(blocks.len() as u16);
    value.put_u16(0);
    for (start, end) in blocks {
        value.put_u16(*start);
        value.put_u16(*end);
    }
    chunk(SACK, 0, &value)
}

/// A request to reset `streams`, to be done when `tsn` has arrived.
pub(super) fn reset_request(sequence: u32, tsn: u32, streams: &[u16]) -> Vec<u8> {
    let mut value = Vec::new();
    value.put_u32(sequence);
    value.put_u32(0);
    value.put_u32(tsn);
    streams.iter().for_each(|stream| value.put_u16(*stream));
    chunk(RE_CONFIG, 0, &param(13, &value))
}

pub(super) fn packet(tag: u32, chunks: &[&[u8]]) -> Bytes {
    let mut packet = BytesMut::new();
    packet.put_u16(5000);
    packet.put_u16(5000);
    packet.put_u32(tag);
    packet.put_u32(0);
    for chunk in chunks {
        packet.extend_from_slice(chunk);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    write_checksum(&mut packet);
    packet.freeze()
}
