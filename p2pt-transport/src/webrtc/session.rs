//! What runs on a path: DTLS, SCTP in it, and the one data channel in that. It knows records and frames, and no addresses.

mod channel;
mod handshake;
mod held_ack;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), allow(dead_code, reason = "fuzz targets need less of it than tests"))]
mod probe;
mod window;

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use ring::digest;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::{
    config::HandshakeConfig,
    crypto::Certificate,
    endpoint::{Endpoint as Dtls, EndpointEvent},
};
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint as Sctp, EndpointConfig, Event as SctpEvent,
    ServerConfig, StreamEvent, TimerConfig, TransportConfig,
};
use rtc_shared::{TransportProtocol, error::Error};

use self::{
    handshake::{handshake, is_fatal},
    held_ack::HeldAck,
};
use super::{
    flight::Flights,
    guard::{self, DtlsGuard, Limits, RecordVerdict, SctpGuard, Verdict},
};
use crate::Frame;

/// Stands for the other side, whose real address may change.
const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 65_535);

/// How long a flight of the handshake waits for its answer, doubled each time by [`Flights`]. RFC 9147 section 5.8.2 has a second for
/// devices that are slow, and libwebrtc 50 ms; a round trip around the world takes 300.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(250);

/// The certificate's hash that a description announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateHash {
    pub(crate) algorithm: &'static digest::Algorithm,
    pub(crate) bytes: Vec<u8>,
}

/// What all sessions of a transport share.
#[derive(Clone)]
pub(crate) struct SessionConfig {
    pub(crate) crypto: Arc<dyn RTCCryptoProvider>,
    pub(crate) certificate: Certificate,
    /// The receive window in bytes.
    pub(crate) window: u32,
    /// The largest frame in bytes, sent or received.
    pub(crate) max_frame_bytes: u32,
}

/// Which side begins the DTLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DtlsRole {
    Client,
    Server,
}

/// Whose channel it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opening {
    /// This side opens it, with this label.
    Open(String),
    /// The other side does.
    Adopt,
}

/// What has happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionEvent {
    /// The handshake is complete and the certificate is the announced one.
    Secure,
    /// The channel is open.
    Open {
        /// Its label.
        label: String,
    },
    /// The other side has closed the channel, the association or the session.
    ClosedByPeer,
    /// It cannot go on; the text says why.
    Failed(String),
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The DTLS handshake is under way.
    Handshake,
    /// The handshake is complete, and the channel is not open.
    Secure,
    /// The channel is open.
    Open,
    /// It has ended. What was received on a channel that was open can still be read.
    Over { was_open: bool },
}

/// Handshake and association of one connection.
pub(crate) struct Session {
    /// The number of the connection, by which events of the log name it.
    connection: u32,
    dtls: Dtls,
    dtls_guard: DtlsGuard,
    sctp_guard: SctpGuard,
    flights: Flights,
    /// Until the handshake begins, on the side that begins it.
    client: Option<Arc<HandshakeConfig>>,
    role: DtlsRole,
    sctp: Sctp,
    association: Option<(AssociationHandle, Association)>,
    transport: TransportConfig,
    opening: Opening,
    stream: Option<u16>,
    further_channels: usize,
    phase: Phase,
    /// What was outstanding when the stream ended.
    last_outstanding: usize,
    /// Frames taken out before a message that would have thrown them away.
    rescued: VecDeque<Frame>,
    rescued_bytes: usize,
    events: VecDeque<SessionEvent>,
    /// Written by SCTP and not yet encrypted.
    packets: VecDeque<Bytes>,
    records: VecDeque<BytesMut>,
    window: u32,
    share: u32,
    last_sack: Option<Bytes>,
    held_ack: HeldAck,
    /// The last packet with data that was sent, until acknowledgements are asked for.
    last_data: Option<Bytes>,
    /// Acknowledgements are asked for, which the other side would else let wait.
    is_flushing: bool,
    /// The window that the stack had then, and what has been read since, in bytes.
    window_free: u32,
    read: u32,
    reported_window: u32,
    window_update: bool,
}

/// Nothing is given up by counting: how long an opening, a close and a silence may last is decided above, in time. The stack
/// would send lost data five times, for 63 s, and never again, while checks keep the connection alive.
fn timers() -> TimerConfig {
    TimerConfig {
        max_t1_init_retrans: usize::MAX,
        max_t1_cookie_retrans: usize::MAX,
        max_t2_shutdown_retrans: usize::MAX,
        max_t3_rtx_retrans: usize::MAX,
        max_reconfig_retrans: usize::MAX,
        max_ack_retrans: usize::MAX,
    }
}

impl Session {
    /// A session of a connection whose other side has the certificate `expected`.
    pub(crate) fn new(
        config: &SessionConfig,
        connection: u32,
        role: DtlsRole,
        opening: Opening,
        expected: CertificateHash,
    ) -> Result<Self, Error> {
        let handshake = Arc::new(handshake(config, role, expected)?);
        let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let transport = TransportConfig::default()
            .with_timer_config(timers())
            .with_max_message_size(config.max_frame_bytes)
            .with_max_receive_buffer_size(config.window);
        let is_client = role == DtlsRole::Client;
        let server = (!is_client).then(|| Arc::new(ServerConfig::new(transport.clone())));
        Ok(Self {
            connection,
            dtls: Dtls::new(local, TransportProtocol::UDP, (!is_client).then(|| handshake.clone())),
            dtls_guard: DtlsGuard::new(),
            sctp_guard: SctpGuard::new(Limits { receive_window: config.window }),
            flights: Flights::new(FLIGHT_INTERVAL),
            client: is_client.then_some(handshake),
            role,
            sctp: Sctp::new(local, TransportProtocol::UDP, EndpointConfig::default().into(), server),
            association: None,
            transport,
            opening,
            stream: None,
            further_channels: 0,
            phase: Phase::Handshake,
            last_outstanding: 0,
            rescued: VecDeque::new(),
            rescued_bytes: 0,
            events: VecDeque::new(),
            packets: VecDeque::new(),
            records: VecDeque::new(),
            window: config.window,
            share: u32::MAX,
            last_sack: None,
            held_ack: HeldAck::default(),
            last_data: None,
            is_flushing: false,
            window_free: config.window,
            read: 0,
            reported_window: u32::MAX,
            window_update: false,
        })
    }

    /// Begins the handshake, if that is for this side, as soon as there is a path, of this round trip.
    pub(crate) fn begin(&mut self, now: Instant, round_trip: Duration) {
        let Some(client) = self.client.take() else { return };
        if let Err(error) = self.dtls.connect(now, REMOTE, client, None) {
            self.fail(now, format!("DTLS: {error}"));
            return;
        }
        self.flush_records();
        self.flights.began(now, self.records.iter().cloned().collect(), round_trip);
    }

    /// The other side has shown that it knows this side's description.
    pub(crate) fn is_known(&mut self, now: Instant) {
        if !self.is_over() {
            self.records.extend(self.flights.is_known(now));
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over { .. })
    }

    /// Whether the channel is open, or was when the session ended.
    fn was_opened(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Over { was_open: true })
    }

    fn set_over(&mut self) {
        self.phase = Phase::Over { was_open: self.was_opened() };
    }

    fn fail(&mut self, now: Instant, why: String) {
        if !self.is_over() {
            self.rescue(now);
            self.set_over();
            self.events.push_back(SessionEvent::Failed(why));
        }
    }

    /// Takes a DTLS datagram. Whether it carried anything that only the other side could have written.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: BytesMut) -> bool {
        // After the end, any datagram would make a DTLS server begin anew.
        if self.is_over() || self.dtls_guard.inspect(&datagram) == RecordVerdict::Drop {
            return false;
        }
        if self.phase == Phase::Handshake && !self.flights.is_new(&datagram) {
            return false;
        }
        let events = match self.dtls.read(now, REMOTE, None, datagram) {
            Ok(events) => events,
            Err(error) => {
                tracing::debug!(connection = self.connection, %error, "DTLS datagram not understood");
                if self.phase == Phase::Handshake && is_fatal(&error) {
                    self.fail(now, format!("DTLS: {error}"));
                }
                return false;
            }
        };
        let mut is_authentic = false;
        let mut is_closed = false;
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => self.secure(now),
                EndpointEvent::ApplicationData(packet) => {
                    is_authentic = true;
                    self.handle_packet(now, packet.freeze());
                }
                EndpointEvent::PeerClosed => is_closed = true,
                _ => {}
            }
        }
        if is_closed {
            self.closed_by_peer(now);
        }
        is_authentic
    }

    fn secure(&mut self, now: Instant) {
        if !self.is_over() {
            self.phase = Phase::Secure;
        }
        self.dtls_guard.completed();
        self.events.push_back(SessionEvent::Secure);
        // The DTLS client begins, in a second association of both sides there is no point.
        if self.role == DtlsRole::Client {
            match self.sctp.connect(now, ClientConfig::new(self.transport.clone()), REMOTE) {
                Ok(made) => {
                    self.association = Some(made);
                    // Before the other side's own INIT is looked at, which may be here already: this one counts.
                    self.flush_association(now);
                }
                Err(error) => self.fail(now, format!("SCTP: {error}")),
            }
        }
    }

    /// Hands a packet to SCTP. What it ends is settled before: frames that were acknowledged are taken out, and what is
    /// outstanding is noted behind the acknowledgement that may stand in the same packet.
    fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        self.held_ack.received(&packet);
        match self.sctp_guard.inspect(now, &packet) {
            Ok(Verdict::Pass) => {}
            Ok(Verdict::Drop) => return,
            Ok(Verdict::Answer(answer)) => {
                self.send_packet(now, answer, self.share);
                return;
            }
            Err(violation) => {
                self.fail(now, violation.to_string());
                return;
            }
        }
        match guard::split_before_end(&packet) {
            Some((before, end)) => {
                if let Some(before) = before {
                    self.handle_chunks(now, before);
                }
                self.rescue(now);
                self.handle_chunks(now, end);
            }
            None => self.handle_chunks(now, packet),
        }
    }

    fn handle_chunks(&mut self, now: Instant, packet: Bytes) {
        match guard::apart(&packet) {
            Some(parts) => parts.into_iter().for_each(|part| self.handle_part(now, part)),
            None => self.handle_part(now, packet),
        }
    }

    fn handle_part(&mut self, now: Instant, packet: Bytes) {
        match self.sctp.handle(now, REMOTE, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(association))) if self.association.is_none() => {
                self.association = Some((handle, association));
            }
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = &mut self.association {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
        self.sctp_events(now);
    }

    /// When the other side has begun to shut the association down. The stack takes no more to send from then on, and waits for
    /// the other side to complete it, however long.
    pub(crate) fn shutdown_began(&self) -> Option<Instant> {
        self.sctp_guard.shutdown_began()
    }

    fn closed_by_peer(&mut self, now: Instant) {
        self.rescue(now);
        if !self.is_over() {
            self.set_over();
            self.events.push_back(SessionEvent::ClosedByPeer);
        }
    }

    fn sctp_events(&mut self, now: Instant) {
        let mut lost = None;
        while let Some(event) = self.association.as_mut().and_then(|(_, association)| association.poll()) {
            match event {
                SctpEvent::Connected => {
                    tracing::debug!(connection = self.connection, "SCTP association up");
                    self.open_channel(now);
                }
                SctpEvent::Stream(StreamEvent::Opened { .. }) => {
                    let Some((_, association)) = &mut self.association else { break };
                    while association.accept_stream().is_some() {}
                }
                SctpEvent::Stream(StreamEvent::Readable { id }) if self.stream != Some(id) => {
                    self.handle_other_stream(now, id);
                }
                SctpEvent::HandshakeFailed { reason } => lost = Some(reason.to_string()),
                SctpEvent::AssociationLost { id, reason } if Some(id) == self.stream => {
                    lost = Some(reason.to_string());
                }
                _ => {}
            }
        }
        let Some((_, association)) = &mut self.association else { return };
        // Drained associations are removed with the session.
        while association.poll_endpoint_event().is_some() {}
        // One that is being set up is in that state too.
        let is_closed = association.is_closed() && !association.is_handshaking();
        if let Some(reason) = lost {
            tracing::debug!(connection = self.connection, reason, "SCTP stream closed");
            self.closed_by_peer(now);
        } else if is_closed {
            tracing::debug!(connection = self.connection, "SCTP association closed");
            self.closed_by_peer(now);
        }
    }

    /// Ends association and session. What has been received by then is acknowledged before, and nothing after.
    pub(crate) fn end(&mut self, now: Instant) {
        self.rescue(now);
        self.set_over();
        self.acknowledge(now);
        self.flush_association(now);
        if let Some((_, association)) = &mut self.association {
            let _ = association.abort();
        }
        self.flush_association(now);
        if let Err(error) = self.dtls.close(now) {
            tracing::debug!(connection = self.connection, %error, "cannot close the DTLS session");
        }
        self.flush_records();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.is_over() {
            return;
        }
        self.records.extend(self.flights.copies(now));
        let flight_is_due = self.phase == Phase::Handshake && self.flight_due().is_some_and(|at| at <= now);
        if flight_is_due {
            self.flights.repeated();
        }
        if flight_is_due
            && let Err(error) = self.dtls.handle_timeout(REMOTE, now)
            && self.poll_timeout().is_some_and(|at| at <= now)
        {
            self.fail(now, format!("DTLS: {error}"));
        }
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
            self.sctp_events(now);
        }
        if let Some(sack) = self.held_ack.take_due(now) {
            self.write(now, &sack);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        let copy = self.flights.copy_due();
        let dtls = if self.phase == Phase::Handshake { self.flight_due() } else { None };
        let sctp = self.association.as_ref().and_then(|(_, association)| association.poll_timeout());
        [copy, dtls, sctp, self.held_ack.poll_timeout()].into_iter().flatten().min()
    }

    /// When this side's flight is sent again.
    fn flight_due(&self) -> Option<Instant> {
        Some(self.dtls.poll_timeout(&REMOTE)? + self.flights.patience())
    }

    /// The next datagram for the other side. Only what is taken is encrypted, so that the first of many leaves early.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<BytesMut> {
        if self.records.is_empty() {
            if !self.is_over() && self.packets.is_empty() {
                self.gather_packets(now);
            }
            while self.records.is_empty()
                && let Some(packet) = self.packets.pop_front()
            {
                self.send_packet(now, packet, self.share.min(self.window));
            }
            if self.records.is_empty() && !self.is_over() {
                self.update_window(now);
            }
            self.flush_records();
        }
        self.records.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }
}

#[cfg(test)]
mod tests;
