//! What a peer's SCTP packets may cost.

use std::time::Instant;

use bytes::Bytes;

use super::chunks::{self, *};

/// Streams a peer may ever send on. A connection uses one, and ends at the 17th further channel; `rtc-sctp` keeps a
/// state for every stream number it sees, and looks at all of them for every DATA chunk.
const MAX_STREAMS: usize = 32;

/// How far, in TSNs, DATA may be ahead of what was last acknowledged. A SACK says how far a gap is in 16 bits
/// (RFC 9260 §3.3.4): of what lies further, `rtc-sctp` says the wrong number, or panics with overflow checks.
const MAX_AHEAD: u32 = 65_534;

/// Gaps between the TSNs received, above which only DATA that fills the first gap passes. An honest sender makes one for
/// each lost packet: at most about half as many as fit in a receive window of 1.25 MiB (1,100 full packets). The stack
/// lists all of them in each SACK: 8 KiB here, 131 KB and a wrong length at the most.
const MAX_GAPS: u32 = 2_048;

/// What follows the first gap so closely passes although there are [`MAX_GAPS`]: a full packet of 1,200 bytes holds 59 of
/// the shortest chunks.
const NEXT_TSNS: u32 = 64;

/// What a fragment of a message costs of the credit that the bytes on the connection's channel earn. `rtc-sctp` keeps
/// the fragments of a message in one `Vec`, in which an early one moves all later ones, and looks through them for each
/// that arrives. Senders cut messages into packets, so a fragment comes with about 1,100 bytes. Two short ones for each
/// packet (the end of a message and the beginning of the next) are paid by a quarter of them.
const FRAGMENT_COST: u32 = 256;

/// Credit for fragments at the beginning and at the most: 256 fragments.
const FRAGMENT_CREDIT: u32 = 256 * FRAGMENT_COST;

/// What is added to the credit each second: 64 fragments, so that a sender that must cut its messages into a window of a
/// few bytes is slowed down, not stopped.
const FRAGMENT_CREDIT_A_SECOND: u32 = 64 * FRAGMENT_COST;

/// Requests to reset streams that may be unanswered. RFC 6525 §5.1.1 allows one; libwebrtc asks again under a new number
/// while the first is in progress. `rtc-sctp` answers every one of them anew for each TSN that arrives.
const MAX_RESETS_PENDING: usize = 2;

/// Requests to reset streams in the life of a connection: twice as many as it can have channels. `rtc-sctp` keeps its own
/// request for each until the peer answers that.
const MAX_RESETS: u8 = 64;

/// Chunks a second that are answered one by one (HEARTBEAT, COOKIE-ECHO, SHUTDOWN, requests to reset); further ones are
/// dropped.
/// An honest peer sends a few, seconds apart.
const CONTROL_A_SECOND: u8 = 64;

/// How often an INIT that is sent again is answered: RFC 9260 §16 allows a sender 8 retransmissions.
const MAX_ANSWERS: u8 = 16;

/// What DATA beside the channel may cost in the life of a connection: its bytes, and [`BESIDE_COST`] for each chunk. Of
/// further channels, which are closed at once, that is two windows at least.
const MAX_BESIDE: u32 = 8 << 20;

/// What a chunk costs `rtc-sctp` that waits for one before it, beside its bytes: some 600 bytes, measured.
const BESIDE_COST: u32 = 600;

/// How many receive windows of DATA are taken beyond the room there is, each chunk the next in sequence, because it may
/// complete what keeps the stack full. A window holds one and a half of the largest frames, and there is room for another
/// when the stack first says that it has none: only a message that never ends takes more.
const MAX_WINDOWS_BEYOND: u32 = 2;

/// Whether this build panics where `rtc-sctp` counts TSNs with `+ 1` past 2³² (`association/mod.rs`,
/// `handle_peer_last_tsn_and_acknowledgement`). Builds with debug assertions check for overflow unless configured otherwise.
const TSN_MUST_NOT_WRAP: bool = cfg!(debug_assertions);

/// What this side allows one peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The receive window the stack is configured with, in bytes.
    pub(crate) receive_window: u32,
}

/// What to do with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    /// The stack may have it.
    Pass,
    /// It is lost, as a network loses packets: nothing else happens.
    Drop,
    /// It is an INIT that the peer sends again because the answer was lost; the stack would begin a second association.
    /// Its first answer goes to the peer instead.
    Answer(Bytes),
}

/// Why a peer's packet ends the connection. No peer sends any of these by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// FORWARD-TSN skips messages of channels with partial reliability, which no p2pt peer opens. `rtc-sctp` counts to its
    /// number one by one.
    #[error("the other side sent FORWARD-TSN, which belongs to unreliable channels")]
    ForwardTsn,
    /// DATA without data would fill memory without ever filling the window; RFC 9260 §6.2 ends associations for it.
    #[error("the other side sent a DATA chunk without data")]
    EmptyData,
    /// `rtc-sctp` keeps the parts of a message, however long, until its last, and looks at all of them for each that
    /// arrives. See [`MAX_WINDOWS_BEYOND`].
    #[error("the other side sent a message without an end")]
    EndlessMessage,
    /// Messages on other streams may wait for earlier ones that never come, and then nothing reads them. The window counts
    /// their bytes alone, of which they need have only one. See [`MAX_BESIDE`].
    #[error("the other side sent too much beside the channel")]
    Beside,
    /// See [`MAX_STREAMS`].
    #[error("the other side used more than {MAX_STREAMS} streams")]
    TooManyStreams,
    /// See [`MAX_RESETS`].
    #[error("the other side asked for too many stream resets")]
    TooManyResets,
    /// A SACK of which the gap blocks overlap so much that they name more TSNs than 16 bits can.
    #[error("the other side sent an acknowledgement with contradictory gap blocks")]
    GapBlocks,
    /// An INIT or INIT-ACK with which no association can begin.
    #[error("the other side's SCTP handshake has impossible values")]
    Init,
    /// An ABORT whose error causes are longer than itself.
    #[error("the other side aborted the connection, with a malformed reason")]
    Abort,
    /// The peer's TSNs passed 2³², which `rtc-sctp` does not survive in this build. Release builds never say this.
    #[error("the other side's sequence numbers wrapped around, which this debug build cannot follow")]
    TsnWrap,
}

/// How far the SCTP handshake is, from what was received and sent.
#[derive(Debug, Default)]
enum Handshake {
    /// Neither side has begun.
    #[default]
    Idle,
    /// This side has sent INIT.
    Asking,
    /// The peer has sent INIT.
    Asked { peer: Init, answer: Option<Bytes>, answers: u8 },
    /// Nothing of INIT or INIT-ACK is of use any more.
    Over,
}

/// Guards one association. It holds no packet, except its INIT-ACK during the handshake.
#[derive(Debug)]
pub(crate) struct SctpGuard {
    limits: Limits,
    handshake: Handshake,
    /// The TSN last acknowledged to the peer; `None` before the peer has named its first.
    acknowledged: Option<u32>,
    /// Bytes of new DATA that may come before the stack says again that it has room.
    room: u32,
    /// Bytes of DATA that the stack has taken since there was room.
    beyond: u32,
    /// Bytes of DATA that it was given since its last SACK, which says whether it has taken them.
    offered: u32,
    /// What DATA beside the channel has cost.
    beside: u32,
    /// Gaps between the TSNs received: what the stack last acknowledged and what may have been added since.
    gaps: u32,
    /// The TSN that was received last.
    last_tsn: u32,
    fragment_credit: u32,
    credited: Option<Instant>,
    /// The stream of the connection's channel, once that is open.
    channel: Option<u16>,
    streams: [u16; MAX_STREAMS],
    stream_count: u8,
    resets: u8,
    last_reset: Option<u32>,
    pending_resets: [Option<u32>; MAX_RESETS_PENDING],
    control_second: Option<Instant>,
    controls: u8,
    shutdown_began: Option<Instant>,
}

/// What one packet adds, until it is known that all of it passes.
struct Scan {
    /// Which kinds of chunks there were, of those that may be there once.
    seen: u16,
    room: u32,
    offered: u32,
    beside: u32,
    gaps: u32,
    last_tsn: u32,
    fragment_credit: u32,
}

impl Scan {
    /// Whether `kind`, below 16, is there for the first time.
    fn once(&mut self, kind: u8) -> bool {
        let bit = 1 << (kind & 15);
        let first = self.seen & bit == 0;
        self.seen |= bit;
        first
    }
}

impl SctpGuard {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            handshake: Handshake::Idle,
            acknowledged: None,
            room: limits.receive_window.saturating_mul(2),
            beyond: 0,
            offered: 0,
            beside: 0,
            gaps: 0,
            last_tsn: 0,
            fragment_credit: FRAGMENT_CREDIT,
            credited: None,
            channel: None,
            streams: [0; MAX_STREAMS],
            stream_count: 0,
            resets: 0,
            last_reset: None,
            pending_resets: [None; MAX_RESETS_PENDING],
            control_second: None,
            controls: 0,
            shutdown_began: None,
        }
    }

    /// When the peer has first asked to shut the association down.
    pub(crate) fn shutdown_began(&self) -> Option<Instant> {
        self.shutdown_began
    }

    /// The connection's channel is open, on this stream.
    pub(crate) fn channel(&mut self, stream: u16) {
        self.channel = Some(stream);
    }

    /// Looks at one packet before the stack sees it.
    ///
    /// Checksum and verification tag are the stack's to check: DTLS has authenticated the packet, so a wrong one only
    /// misleads what is counted here about its sender.
    pub(crate) fn inspect(&mut self, now: Instant, packet: &[u8]) -> Result<Verdict, Violation> {
        let Some(mut rest) = packet.get(COMMON_HEADER..).filter(|rest| !rest.is_empty()) else {
            return Ok(Verdict::Drop);
        };
        let mut scan = Scan {
            seen: 0,
            room: self.room,
            offered: self.offered,
            beside: self.beside,
            gaps: self.gaps,
            last_tsn: self.last_tsn,
            fragment_credit: self.fragment_credit,
        };
        while let Some([kind, flags, high, low]) = rest.first_chunk() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let padded = length.next_multiple_of(4);
            // The stack drops a packet of which the last chunk's padding is missing.
            if length < CHUNK_HEADER || padded > rest.len() {
                return Ok(Verdict::Drop);
            }
            let chunk = &rest[..length];
            let alone = packet.len() == COMMON_HEADER + padded;
            let passes = match *kind {
                DATA => self.data(now, chunk, *flags, &mut scan)?,
                SACK => scan.once(SACK) && sack_passes(chunk)?,
                INIT | INIT_ACK => return if alone { self.init(packet, chunk) } else { Ok(Verdict::Drop) },
                // Everything behind an ABORT is to be ignored, which the stack does not do.
                ABORT if !chunks::is_abort(chunk) => return Err(Violation::Abort),
                ABORT => padded == rest.len(),
                FORWARD_TSN | I_FORWARD_TSN => return Err(Violation::ForwardTsn),
                // RFC 9260 §5.1: it comes first.
                COOKIE_ECHO if rest.len() + COMMON_HEADER != packet.len() => false,
                kind => self.control(now, kind, chunk, &mut scan)?,
            };
            if !passes {
                return Ok(Verdict::Drop);
            }
            rest = &rest[padded..];
        }
        if !rest.is_empty() {
            return Ok(Verdict::Drop);
        }
        self.room = scan.room;
        self.offered = scan.offered;
        self.beside = scan.beside;
        self.gaps = scan.gaps;
        self.last_tsn = scan.last_tsn;
        self.fragment_credit = scan.fragment_credit;
        if scan.seen & 1 << SHUTDOWN != 0 {
            self.shutdown_began.get_or_insert(now);
        }
        Ok(Verdict::Pass)
    }

    /// Looks at one packet that the stack wants to send, before anything in it is changed.
    ///
    /// What the stack acknowledges, how much room it says it has and which resets it has answered bounds what may come.
    /// A window update that is made of an earlier SACK is shown here too: the stack itself sends none when a slow reader
    /// catches up.
    pub(crate) fn sent(&mut self, packet: &Bytes) {
        let Some(&kind) = packet.get(COMMON_HEADER) else { return };
        let chunk = &packet[COMMON_HEADER..];
        match kind {
            SACK => {
                let (Some(acknowledged), Some(room), Some(gaps)) = (be32(chunk, 4), be32(chunk, 8), be16(chunk, 12))
                else {
                    return;
                };
                let offered = std::mem::take(&mut self.offered);
                let has_taken = self.acknowledged.replace(acknowledged) != Some(acknowledged);
                self.gaps = gaps.into();
                // The stack says 0 however much it holds above its window: then what is left of the room counts on.
                if room > 0 {
                    self.room = room.saturating_add(self.limits.receive_window);
                    self.beyond = 0;
                } else if has_taken {
                    self.beyond = self.beyond.saturating_add(offered);
                }
            }
            INIT if matches!(self.handshake, Handshake::Idle) => self.handshake = Handshake::Asking,
            INIT_ACK => {
                if let Handshake::Asked { answer, .. } = &mut self.handshake {
                    *answer = Some(packet.clone());
                }
            }
            RE_CONFIG => {
                let length = be16(chunk, 2).map_or(0, usize::from);
                let resets = chunk.get(..length).and_then(chunks::re_config).unwrap_or_default();
                for reset in resets.into_iter().flatten() {
                    if let Reset::Response { sequence, done: true } = reset {
                        let answered = self.pending_resets.iter_mut().find(|pending| **pending == Some(sequence));
                        if let Some(pending) = answered {
                            *pending = None;
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn data(&mut self, now: Instant, chunk: &[u8], flags: u8, scan: &mut Scan) -> Result<bool, Violation> {
        let (Some(tsn), Some(stream)) = (be32(chunk, 4), be16(chunk, 8)) else { return Ok(false) };
        // DATA cannot come before the handshake has named the first TSN.
        let Some(acknowledged) = self.acknowledged else { return Ok(false) };
        if chunk.len() < DATA_FIXED {
            return Ok(false);
        }
        if chunk.len() == DATA_FIXED {
            return Err(Violation::EmptyData);
        }
        self.stream(stream)?;
        let ahead = tsn.wrapping_sub(acknowledged);
        if ahead == 0 || ahead > u32::MAX / 2 {
            // The stack has had it, and says so again.
            return Ok(true);
        }
        if TSN_MUST_NOT_WRAP && (tsn < acknowledged || tsn == u32::MAX) {
            return Err(Violation::TsnWrap);
        }
        if ahead > MAX_AHEAD {
            return Ok(false);
        }
        if tsn != scan.last_tsn.wrapping_add(1) && ahead != 1 {
            scan.gaps = scan.gaps.saturating_add(1);
            if scan.gaps > MAX_GAPS && ahead > NEXT_TSNS {
                return Ok(false);
            }
        }
        scan.last_tsn = tsn;

        // At most 64 KiB, from a 16-bit length.
        let bytes = chunk.len().next_multiple_of(4) as u32;
        // The next TSN always passes: without it a stack that is full of incomplete messages never has room again.
        scan.room = match scan.room.checked_sub(bytes) {
            Some(room) => room,
            None if ahead == 1 => {
                scan.offered = scan.offered.saturating_add(bytes);
                let most = self.limits.receive_window.saturating_mul(MAX_WINDOWS_BEYOND);
                if self.beyond.saturating_add(scan.offered) > most {
                    return Err(Violation::EndlessMessage);
                }
                0
            }
            None => return Ok(false),
        };
        let (unordered, whole) = (flags & 4 != 0, flags & 3 == 3);
        if unordered || self.channel != Some(stream) {
            scan.beside = scan.beside.saturating_add(bytes + BESIDE_COST);
            if scan.beside > MAX_BESIDE {
                return Err(Violation::Beside);
            }
        }
        // What other streams carry is thrown away, and what is unordered is read at once: neither fills the window, so
        // neither earns anything.
        if !unordered && self.channel.is_none_or(|channel| channel == stream) {
            scan.fragment_credit = (scan.fragment_credit + bytes).min(FRAGMENT_CREDIT);
        }
        if !whole && !self.pay_for_fragment(now, scan) {
            return Ok(false);
        }
        Ok(true)
    }

    fn pay_for_fragment(&mut self, now: Instant, scan: &mut Scan) -> bool {
        if scan.fragment_credit < FRAGMENT_COST {
            let since = self.credited.map_or(1.0, |credited| now.saturating_duration_since(credited).as_secs_f32());
            // At most one second's worth, so the product fits.
            let earned = (since.min(1.0) * FRAGMENT_CREDIT_A_SECOND as f32) as u32;
            if scan.fragment_credit + earned < FRAGMENT_COST {
                return false;
            }
            self.credited = Some(now);
            scan.fragment_credit += earned;
        }
        scan.fragment_credit -= FRAGMENT_COST;
        true
    }

    /// Remembers a stream that the peer uses.
    fn stream(&mut self, id: u16) -> Result<(), Violation> {
        let count = usize::from(self.stream_count);
        if self.streams[..count].contains(&id) {
            return Ok(());
        }
        *self.streams.get_mut(count).ok_or(Violation::TooManyStreams)? = id;
        self.stream_count += 1;
        Ok(())
    }

    fn control(&mut self, now: Instant, kind: u8, chunk: &[u8], scan: &mut Scan) -> Result<bool, Violation> {
        let well_formed = match kind {
            HEARTBEAT => scan.once(kind) && chunks::is_heartbeat(chunk),
            COOKIE_ECHO => true,
            COOKIE_ACK | SHUTDOWN_ACK | SHUTDOWN_COMPLETE => scan.once(kind) && chunk.len() == CHUNK_HEADER,
            SHUTDOWN => scan.once(kind) && chunk.len() == CHUNK_HEADER + 4,
            // Its low bits are those of INIT-ACK; 15 is no chunk of this list.
            RE_CONFIG => scan.once(15),
            // An ERROR (9) is information, but the stack closes the association for any and panics on some. HEARTBEAT-ACK
            // (5) answers what this stack never sends. Of others it understands nothing and drops their packets.
            _ => false,
        };
        if !well_formed {
            return Ok(false);
        }
        if kind == RE_CONFIG {
            return self.re_config(now, chunk);
        }
        if kind == COOKIE_ECHO {
            self.handshake = Handshake::Over;
        }
        Ok(self.control_is_due(now))
    }

    fn control_is_due(&mut self, now: Instant) -> bool {
        let second = self.control_second.get_or_insert(now);
        if now.saturating_duration_since(*second).as_secs() >= 1 {
            (*second, self.controls) = (now, 0);
        }
        self.controls = self.controls.saturating_add(1);
        self.controls <= CONTROL_A_SECOND
    }

    fn re_config(&mut self, now: Instant, chunk: &[u8]) -> Result<bool, Violation> {
        let Some(resets) = chunks::re_config(chunk) else { return Ok(false) };
        for reset in resets.into_iter().flatten() {
            // A response costs nothing; this stack, as a peer, sends one for each TSN while a request is in progress.
            let Reset::Request { sequence, streams } = reset else { continue };
            if !self.control_is_due(now) {
                return Ok(false);
            }
            if streams > MAX_STREAMS {
                return Err(Violation::TooManyResets);
            }
            if self.last_reset == Some(sequence) || self.pending_resets.contains(&Some(sequence)) {
                continue;
            }
            let Some(place) = self.pending_resets.iter_mut().find(|pending| pending.is_none()) else {
                return Ok(false);
            };
            if self.resets == MAX_RESETS {
                return Err(Violation::TooManyResets);
            }
            *place = Some(sequence);
            self.resets += 1;
            self.last_reset = Some(sequence);
        }
        Ok(true)
    }

    /// An INIT or INIT-ACK, alone in its packet.
    fn init(&mut self, packet: &[u8], chunk: &[u8]) -> Result<Verdict, Violation> {
        let Some(init) = chunks::init(chunk) else { return Ok(Verdict::Drop) };
        let is_ack = chunk[0] == INIT_ACK;
        // `rtc-sctp` begins an association for every INIT, with any tag in the packet's header.
        let begins = match &mut self.handshake {
            Handshake::Idle => !is_ack && be32(packet, 4) == Some(0),
            Handshake::Asking => is_ack,
            Handshake::Asked { peer, answer: Some(answer), answers }
                if !is_ack && *peer == init && *answers < MAX_ANSWERS =>
            {
                *answers += 1;
                return Ok(Verdict::Answer(answer.clone()));
            }
            Handshake::Asked { .. } | Handshake::Over => false,
        };
        if !begins {
            return Ok(Verdict::Drop);
        }
        if !init.usable {
            return Err(Violation::Init);
        }
        if TSN_MUST_NOT_WRAP && init.initial_tsn == 0 {
            return Err(Violation::TsnWrap);
        }
        self.acknowledged = Some(init.initial_tsn.wrapping_sub(1));
        self.last_tsn = init.initial_tsn.wrapping_sub(1);
        self.handshake =
            if is_ack { Handshake::Over } else { Handshake::Asked { peer: init, answer: None, answers: 0 } };
        Ok(Verdict::Pass)
    }
}

/// Whether a SACK is consistent. The stack walks through every TSN that a gap block names, block by block.
fn sack_passes(chunk: &[u8]) -> Result<bool, Violation> {
    match chunks::gap_tsns(chunk) {
        None => Ok(false),
        Some(tsns) if tsns > u64::from(u16::MAX) => Err(Violation::GapBlocks),
        Some(_) => Ok(true),
    }
}
