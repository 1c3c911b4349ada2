//! What runs on a path: DTLS, SCTP in it, and the one data channel in that. It knows records and frames, and no addresses.

#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), allow(dead_code, reason = "fuzz targets need less of it than tests"))]
mod probe;

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use ring::digest;
use rtc_crypto::RTCCryptoProvider;
use rtc_dtls::{
    config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig, VerifyPeerCertificateFn},
    crypto::Certificate,
    endpoint::{Endpoint as Dtls, EndpointEvent},
    extension::extension_use_srtp::SrtpProtectionProfile,
};
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint as Sctp, EndpointConfig, Event as SctpEvent,
    Payload, PayloadProtocolIdentifier as Ppi, ServerConfig, StreamEvent, TransportConfig,
};
use rtc_shared::{TransportProtocol, error::Error};

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

/// How many channels beside the one the other side may open, each closed at once.
const MAX_FURTHER_CHANNELS: usize = 16;

/// The longest label of a channel that is adopted, in bytes. p2pt's have 40.
const MAX_LABEL_BYTES: usize = 1024;

/// The SCTP stack's longest delay of an acknowledgement (RFC 9260 section 6.2).
const ACK_DELAY: Duration = Duration::from_millis(200);

/// The most frames the SCTP stack can hold unread: their stream sequence numbers have 16 bits.
const MAX_RESCUED: usize = 65_536;

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

/// Handshake and association of one connection.
pub(crate) struct Session {
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
    is_secure: bool,
    is_open: bool,
    is_over: bool,
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
    /// The window that the stack had then, and what has been read since, in bytes.
    window_free: u32,
    read: u32,
    window_told: u32,
    window_update: bool,
}

impl Session {
    /// A session whose other side has the certificate `expected`.
    pub(crate) fn new(
        config: &SessionConfig,
        role: DtlsRole,
        opening: Opening,
        expected: CertificateHash,
    ) -> Result<Self, Error> {
        let handshake = Arc::new(handshake(config, role, expected)?);
        let local = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let transport = TransportConfig::default()
            .with_max_message_size(config.max_frame_bytes)
            .with_max_receive_buffer_size(config.window);
        let is_client = role == DtlsRole::Client;
        let server = (!is_client).then(|| Arc::new(ServerConfig::new(transport.clone())));
        Ok(Self {
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
            is_secure: false,
            is_open: false,
            is_over: false,
            last_outstanding: 0,
            rescued: VecDeque::new(),
            rescued_bytes: 0,
            events: VecDeque::new(),
            packets: VecDeque::new(),
            records: VecDeque::new(),
            window: config.window,
            share: u32::MAX,
            last_sack: None,
            window_free: config.window,
            read: 0,
            window_told: u32::MAX,
            window_update: false,
        })
    }

    /// Begins the handshake, if that is for this side, as soon as there is a path.
    pub(crate) fn begin(&mut self, now: Instant) {
        if let Some(client) = self.client.take()
            && let Err(error) = self.dtls.connect(now, REMOTE, client, None)
        {
            self.fail(now, format!("DTLS: {error}"));
        }
    }

    fn fail(&mut self, now: Instant, why: String) {
        if !self.is_over {
            self.rescue(now);
            self.is_over = true;
            self.events.push_back(SessionEvent::Failed(why));
        }
    }

    /// Takes a DTLS datagram. Whether it carried anything that only the other side could have written.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: BytesMut) -> bool {
        // After the end, any datagram would make a DTLS server begin anew.
        if self.is_over || self.dtls_guard.inspect(&datagram) == RecordVerdict::Drop {
            return false;
        }
        if !self.is_secure && !self.flights.is_new(&datagram) {
            return false;
        }
        let events = match self.dtls.read(now, REMOTE, None, datagram) {
            Ok(events) => events,
            Err(error) => {
                tracing::debug!(%error, "a DTLS datagram was not understood");
                if !self.is_secure && is_fatal(&error) {
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
        self.is_secure = true;
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

    fn closed_by_peer(&mut self, now: Instant) {
        self.rescue(now);
        if !self.is_over {
            self.is_over = true;
            self.events.push_back(SessionEvent::ClosedByPeer);
        }
    }

    /// Takes out what has been received and acknowledged, and notes what is outstanding. At most two windows are held so,
    /// however often the other side seems to end.
    fn rescue(&mut self, now: Instant) {
        if self.is_over {
            return;
        }
        self.last_outstanding = self.outstanding();
        while self.rescued_bytes < self.window as usize
            && self.rescued.len() < MAX_RESCUED
            && let Some(frame) = self.next_frame(now)
        {
            self.rescued_bytes += frame.len();
            self.rescued.push_back(frame);
        }
    }

    fn sctp_events(&mut self, now: Instant) {
        let mut lost = None;
        while let Some(event) = self.association.as_mut().and_then(|(_, association)| association.poll()) {
            match event {
                SctpEvent::Connected => self.open_channel(now),
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
            tracing::debug!(reason, "the channel has ended");
            self.closed_by_peer(now);
        } else if is_closed {
            self.closed_by_peer(now);
        }
    }

    /// Opens the channel, if that is for this side. Data may follow at once (RFC 8832 section 6).
    fn open_channel(&mut self, now: Instant) {
        let (Opening::Open(label), Some((_, association))) = (&self.opening, &mut self.association) else { return };
        if self.stream.is_some() {
            return;
        }
        // The DTLS client uses even stream ids (RFC 8832 section 6).
        let id = u16::from(self.role == DtlsRole::Server);
        let mut open = BytesMut::with_capacity(12 + label.len());
        // DATA_CHANNEL_OPEN: reliable and ordered, no priority, no reliability parameter.
        open.put_slice(&[3, 0, 1, 0, 0, 0, 0, 0]);
        open.put_u16(u16::try_from(label.len()).unwrap_or(0));
        open.put_u16(0);
        open.put_slice(label.as_bytes());
        let opened = association
            .open_stream(id, Ppi::Dcep)
            .and_then(|mut stream| stream.write_chunk_with_ppi(now, &open.freeze(), Ppi::Dcep));
        match opened {
            Ok(_) => {
                self.stream = Some(id);
                self.opened(label.clone());
            }
            Err(error) => self.fail(now, format!("SCTP: {error}")),
        }
    }

    fn opened(&mut self, label: String) {
        if let Some(stream) = self.stream {
            self.sctp_guard.channel(stream);
        }
        self.is_open = true;
        self.events.push_back(SessionEvent::Open { label });
    }

    /// Reads a stream that is not the channel's: one to adopt, or one too many.
    fn handle_other_stream(&mut self, now: Instant, id: u16) {
        let mut refused = false;
        while self.stream != Some(id)
            && let Some((ppi, payload)) = self.next_message(id)
        {
            match (ppi == Ppi::Dcep).then(|| label_of(&payload)).flatten() {
                Some(label) if self.opening == Opening::Adopt && self.stream.is_none() => {
                    self.adopt(now, id, label);
                }
                _ => refused = true,
            }
        }
        if refused && self.stream != Some(id) {
            tracing::debug!(id, "closing a further data channel of a connection");
            if let Some((_, association)) = &mut self.association
                && let Ok(mut stream) = association.stream(id)
            {
                let _ = stream.close(now);
            }
            self.further_channels += 1;
            if self.further_channels > MAX_FURTHER_CHANNELS {
                self.fail(now, "the other side opens channel after channel".to_owned());
            }
        }
    }

    fn adopt(&mut self, now: Instant, id: u16, label: String) {
        self.stream = Some(id);
        if let Some((_, association)) = &mut self.association
            && let Ok(mut stream) = association.stream(id)
        {
            // DATA_CHANNEL_ACK.
            let _ = stream.write_chunk_with_ppi(now, &Bytes::from_static(&[2]), Ppi::Dcep);
        }
        self.acknowledge(now);
        self.opened(label);
    }

    fn next_message(&mut self, id: u16) -> Option<(Ppi, Bytes)> {
        let (_, association) = self.association.as_mut()?;
        let chunks = association.stream(id).ok()?.read_sctp().ok()??;
        let payload = chunks.to_payload(usize::MAX).ok()?.freeze();
        self.read = self.read.saturating_add(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        Some((chunks.ppi, payload))
    }

    /// Acknowledges at once what the stack would let wait for 200 ms: a side that closes soon after the channel is open
    /// would wait for that.
    fn acknowledge(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association
            && !association.is_closed()
        {
            association.handle_timeout(now + ACK_DELAY);
        }
    }

    fn next_frame(&mut self, now: Instant) -> Option<Frame> {
        let id = self.stream?;
        loop {
            let (ppi, payload) = self.next_message(id)?;
            return Some(match ppi {
                Ppi::String => Frame::Text(payload),
                Ppi::Binary => Frame::Binary(payload),
                // An empty frame carries a byte that does not count (RFC 8831 section 6.6).
                Ppi::StringEmpty => Frame::Text(Bytes::new()),
                Ppi::BinaryEmpty => Frame::Binary(Bytes::new()),
                // A DATA_CHANNEL_ACK, or what no data channel sends.
                _ => {
                    self.acknowledge(now);
                    continue;
                }
            });
        }
    }

    /// The next frame received.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Frame> {
        if !self.is_open {
            return None;
        }
        if let Some(frame) = self.rescued.pop_front() {
            self.rescued_bytes -= frame.len();
            return Some(frame);
        }
        let frame = self.next_frame(now);
        if frame.is_none() && !self.is_over {
            self.sctp_events(now);
            self.reopen_window(now);
        }
        frame
    }

    /// What the last acknowledgement would say if it were sent now. Parts of frames may still be held, for which there is no
    /// room twice.
    fn window_now(&self) -> u32 {
        self.window_free.saturating_add(self.read).min(self.window).min(self.share)
    }

    /// The stack never says that its window has opened again, and the other side would wait for a time-out.
    fn reopen_window(&mut self, now: Instant) {
        let half = self.window.min(self.share) / 2;
        if self.window_told < half && self.window_now() >= half && !self.window_update {
            self.window_update = true;
            // One that waits to be sent says more than the last one again.
            self.acknowledge(now);
        }
    }

    /// Takes a frame to send; gives it back if the channel does not take it. The caller bounds what is under way.
    pub(crate) fn send(&mut self, now: Instant, frame: Frame) -> Result<(), Frame> {
        let (Some(id), Some((_, association)), false) = (self.stream, &mut self.association, self.is_over) else {
            return Err(frame);
        };
        let ppi = match (&frame, frame.is_empty()) {
            (Frame::Text(_), false) => Ppi::String,
            (Frame::Text(_), true) => Ppi::StringEmpty,
            (Frame::Binary(_), false) => Ppi::Binary,
            (Frame::Binary(_), true) => Ppi::BinaryEmpty,
        };
        let payload = if frame.is_empty() { Bytes::from_static(&[0]) } else { frame.bytes().clone() };
        let sent = association.stream(id).and_then(|mut stream| stream.write_chunk_with_ppi(now, &payload, ppi));
        match sent {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(%error, "SCTP does not take a frame");
                Err(frame)
            }
        }
    }

    /// Bytes of frames sent that are not acknowledged.
    pub(crate) fn outstanding(&mut self) -> usize {
        if self.is_over {
            return self.last_outstanding;
        }
        let (Some(id), Some((_, association))) = (self.stream, &mut self.association) else { return 0 };
        association.stream(id).and_then(|stream| stream.buffered_amount()).unwrap_or(self.last_outstanding)
    }

    /// Announces no larger receive window than this share of the socket's buffer.
    pub(crate) fn set_share(&mut self, bytes: u32) {
        self.share = bytes;
    }

    /// Closes the channel in the way that peers of this library understand. What it has received is acknowledged before:
    /// the other side counts what was not as lost.
    pub(crate) fn reset_channel(&mut self, now: Instant) {
        self.acknowledge(now);
        self.flush_association(now);
        self.last_outstanding = self.outstanding();
        if let (Some(id), Some((_, association))) = (self.stream, &mut self.association)
            && let Ok(mut stream) = association.stream(id)
            && let Err(error) = stream.close(now)
        {
            tracing::debug!(%error, "resetting a channel");
        }
    }

    /// Ends association and session. What is acknowledged by then is said before, and nothing after.
    pub(crate) fn end(&mut self, now: Instant) {
        self.rescue(now);
        self.is_over = true;
        self.acknowledge(now);
        self.flush_association(now);
        if let Some((_, association)) = &mut self.association {
            let _ = association.abort();
        }
        self.flush_association(now);
        if let Err(error) = self.dtls.close(now) {
            tracing::debug!(%error, "closing a session");
        }
        self.flush_records();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.is_over {
            return;
        }
        let flight_is_due = !self.is_secure && self.flight_due().is_some_and(|at| at <= now);
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
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let dtls = if self.is_secure { None } else { self.flight_due() };
        let sctp = self.association.as_ref().and_then(|(_, association)| association.poll_timeout());
        [dtls, sctp].into_iter().flatten().min()
    }

    /// When this side's flight is sent again.
    fn flight_due(&self) -> Option<Instant> {
        Some(self.dtls.poll_timeout(&REMOTE)? + self.flights.patience())
    }

    /// The next datagram for the other side. Only what is taken is encrypted, so that the first of many leaves early.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<BytesMut> {
        if self.records.is_empty() {
            if !self.is_over && self.packets.is_empty() {
                self.gather_packets(now);
            }
            if let Some(packet) = self.packets.pop_front() {
                self.send_packet(now, packet, self.share.min(self.window));
            } else if !self.is_over {
                self.update_window(now);
            }
            self.flush_records();
        }
        self.records.pop_front()
    }

    fn gather_packets(&mut self, now: Instant) {
        while let Some(sent) = self.association.as_mut().and_then(|(_, association)| association.poll_transmit(now)) {
            let Payload::RawEncode(packets) = sent.message else { continue };
            self.packets.extend(packets);
        }
    }

    fn flush_association(&mut self, now: Instant) {
        self.gather_packets(now);
        while let Some(packet) = self.packets.pop_front() {
            self.send_packet(now, packet, self.share.min(self.window));
        }
        self.update_window(now);
    }

    fn update_window(&mut self, now: Instant) {
        let share = self.share.min(self.window);
        if std::mem::take(&mut self.window_update)
            && let Some(last) = self.last_sack.take()
        {
            let window = self.window_now();
            self.send_packet(now, guard::with_window(&last, window).freeze(), share);
        }
    }

    fn send_packet(&mut self, now: Instant, mut packet: Bytes, share: u32) {
        self.sctp_guard.sent(&packet);
        if let Some(window) = guard::sack_window(&packet) {
            if window > share {
                packet = guard::with_window(&packet, share).freeze();
            }
            self.window_free = window;
            self.read = 0;
            self.window_told = window.min(share);
            self.window_update = false;
            self.last_sack = Some(packet.clone());
        }
        if let Some(fitted) = guard::fitted(&packet) {
            packet = fitted.freeze();
        }
        if let Err(error) = self.dtls.write(now, REMOTE, &packet) {
            tracing::debug!(%error, "writing a DTLS record");
        }
        self.flush_records();
    }

    fn flush_records(&mut self) {
        while let Some(sent) = self.dtls.poll_transmit() {
            self.records.push_back(sent.message);
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }
}

/// The label in a DATA_CHANNEL_OPEN (RFC 8832 section 5.1) of a channel that is reliable and ordered, as ours are.
fn label_of(payload: &[u8]) -> Option<String> {
    let (&[3, 0, _, _, _, _, _, _, high, low, _, _], rest) = payload.split_first_chunk()? else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let label = rest.get(..length)?;
    (length <= MAX_LABEL_BYTES).then(|| String::from_utf8_lossy(label).into_owned())
}

/// Whether a handshake that has met this error can only fail.
fn is_fatal(error: &Error) -> bool {
    matches!(error, Error::ErrNoMatchingCertificateFingerprint | Error::ErrAlertFatalOrClose)
}

fn handshake(config: &SessionConfig, role: DtlsRole, expected: CertificateHash) -> Result<HandshakeConfig, Error> {
    let verify: VerifyPeerCertificateFn = Arc::new(move |certificates: &[Vec<u8>], _: &_| {
        let certificate = certificates.first().ok_or(Error::ErrNonCertificate)?;
        if digest::digest(expected.algorithm, certificate).as_ref() == expected.bytes {
            Ok(())
        } else {
            Err(Error::ErrNoMatchingCertificateFingerprint)
        }
    });
    // Browsers as clients offer SRTP although there is no media, and a server that has none of their profiles refuses them.
    // A client must not ask for it: libwebrtc's servers do not answer that without media.
    let srtp = match role {
        DtlsRole::Client => Vec::new(),
        DtlsRole::Server => {
            vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80]
        }
    };
    ConfigBuilder::default()
        .with_crypto_provider(config.crypto.clone())
        .with_certificates(vec![config.certificate.clone()])
        .with_srtp_protection_profiles(srtp)
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        // Certificates are self-signed; what is verified is their hash.
        .with_insecure_skip_verify(true)
        .with_verify_peer_certificate(Some(verify))
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .with_flight_interval(FLIGHT_INTERVAL)
        .build(role == DtlsRole::Client, None)
}

#[cfg(test)]
mod tests;
