//! The data channel: how it is opened or adopted, its frames in both directions, and how it ends.

use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use rtc_sctp::PayloadProtocolIdentifier as Ppi;

use super::{DtlsRole, Opening, Phase, Session, SessionEvent};
use crate::Frame;

/// How many channels beside the one the other side may open, each closed at once.
const MAX_FURTHER_CHANNELS: usize = 16;

/// The longest label of a channel that is adopted, in bytes. p2pt's have 40.
const MAX_LABEL_BYTES: usize = 1024;

/// The most frames the SCTP stack can hold unread: their stream sequence numbers have 16 bits.
const MAX_RESCUED: usize = 65_536;

impl Session {
    /// Opens the channel, if that is for this side. Data may follow at once (RFC 8832 section 6).
    pub(super) fn open_channel(&mut self, now: Instant) {
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
        self.phase = if self.is_over() { Phase::Over { was_open: true } } else { Phase::Open };
        self.events.push_back(SessionEvent::Open { label });
    }

    /// Reads a stream that is not the channel's: one to adopt, or one too many.
    pub(super) fn handle_other_stream(&mut self, now: Instant, id: u16) {
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
            tracing::debug!(connection = self.connection, id, "closing a further data channel of a connection");
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
        if !self.was_opened() {
            return None;
        }
        if let Some(frame) = self.rescued.pop_front() {
            self.rescued_bytes -= frame.len();
            return Some(frame);
        }
        let frame = self.next_frame(now);
        if frame.is_none() && !self.is_over() {
            self.sctp_events(now);
            self.reopen_window(now);
        }
        frame
    }

    /// Takes a frame to send; gives it back if the channel does not take it. The caller bounds what is under way.
    pub(crate) fn send(&mut self, now: Instant, frame: Frame) -> Result<(), Frame> {
        let is_over = self.is_over();
        let (Some(id), Some((_, association)), false) = (self.stream, &mut self.association, is_over) else {
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
                tracing::debug!(connection = self.connection, %error, "frame not taken by SCTP");
                Err(frame)
            }
        }
    }

    /// Bytes of frames sent that are not acknowledged.
    pub(crate) fn outstanding(&mut self) -> usize {
        if self.is_over() {
            return self.last_outstanding;
        }
        let (Some(id), Some((_, association))) = (self.stream, &mut self.association) else { return 0 };
        association.stream(id).and_then(|stream| stream.buffered_amount()).unwrap_or(self.last_outstanding)
    }

    /// Takes out what has been received and acknowledged, and notes what is outstanding. At most two windows are held so,
    /// however often the other side seems to end.
    pub(super) fn rescue(&mut self, now: Instant) {
        if self.is_over() {
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
            tracing::debug!(connection = self.connection, %error, "cannot reset a channel");
        }
    }
}

/// The label in a DATA_CHANNEL_OPEN (RFC 8832 section 5.1) of a channel that is reliable and ordered, as ours are.
fn label_of(payload: &[u8]) -> Option<String> {
    let (&[3, 0, _, _, _, _, _, _, high, low, _, _], rest) = payload.split_first_chunk()? else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let label = rest.get(..length)?;
    (length <= MAX_LABEL_BYTES).then(|| String::from_utf8_lossy(label).into_owned())
}
