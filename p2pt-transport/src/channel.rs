//! An open channel, split into its sending and receiving half.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{SendFrameError, TrySendAllError, TrySendFrameError};

/// One data-channel message. (This workspace calls it a frame; a p2pt *message* may take many.)
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// Text. Sent text must be UTF-8; received text is what the other side sent and may not be.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl Frame {
    /// A text frame; a `String` is taken over without a copy.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Bytes::from(text.into()))
    }

    /// A binary frame.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// The payload.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
        }
    }

    /// The payload's size in bytes.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// The payload as text, with U+FFFD where it is not UTF-8.
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes())
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::Text(_)) { "Text" } else { "Binary" };
        write!(f, "Frame::{kind}({} bytes)", self.len())
    }
}

/// Which side of the offer this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// This side made the offer and created the channel.
    Offerer,
    /// This side answered and adopted the channel.
    Answerer,
}

/// A DTLS certificate's SHA-256 fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The first `a=fingerprint:sha-256 AB:CD:…` line of an SDP.
    pub fn from_sdp(sdp: &str) -> Option<Self> {
        let line = sdp.lines().find_map(|line| {
            let value = line.trim().strip_prefix("a=fingerprint:")?;
            let (algorithm, hex) = value.split_once(' ')?;
            algorithm.eq_ignore_ascii_case("sha-256").then_some(hex)
        })?;
        let mut bytes = [0; 32];
        let mut parts = line.trim().split(':');
        for byte in &mut bytes {
            let part = parts.next()?;
            // A sign is no digit, though the parser takes one.
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// What is known of a channel from the moment it opens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelInfo {
    /// The channel's label: the same on both sides, drawn at random by the offerer for each connection.
    pub label: String,
    /// Which side of the offer this is.
    pub role: Role,
    /// This side's certificate, where the backend has one.
    pub local_fingerprint: Option<Fingerprint>,
    /// The other side's certificate, where the backend has one.
    pub remote_fingerprint: Option<Fingerprint>,
    /// The largest frame in bytes that may be sent: what both the other side and this backend can take. The facade needs
    /// some hundred bytes to send anything, and the conformance suite sends frames of 1,000.
    pub max_frame_bytes: usize,
    /// The size in bytes up to which larger frames make bulk transfers faster, for senders that can choose; at most
    /// [`max_frame_bytes`](Self::max_frame_bytes).
    pub good_frame_bytes: usize,
}

impl ChannelInfo {
    /// A description with no fingerprints, of a channel on which frames of any size are good.
    pub fn new(label: impl Into<String>, role: Role, max_frame_bytes: usize) -> Self {
        Self {
            label: label.into(),
            role,
            local_fingerprint: None,
            remote_fingerprint: None,
            max_frame_bytes,
            good_frame_bytes: max_frame_bytes,
        }
    }
}

/// An open channel. Dropping it, or both its halves, closes it as [`FrameSender::close`] does, without waiting for that.
#[derive(Debug)]
#[must_use = "a channel that is dropped is closed"]
pub struct Channel {
    /// What is known of it.
    pub info: ChannelInfo,
    /// The sending half; clones share it.
    pub sender: Arc<dyn FrameSender>,
    /// The receiving half.
    pub receiver: Box<dyn FrameReceiver>,
}

/// The sending half of a [`Channel`].
#[async_trait]
pub trait FrameSender: fmt::Debug + Send + Sync {
    /// Hands one frame to the channel, waiting while its send buffer is full.
    ///
    /// `Ok` means accepted in order, not delivered. Cancelling the future before it resolves sends nothing.
    ///
    /// # Errors
    /// [`SendFrameError`]; a caller waiting for capacity gets `Closed` as soon as the channel closes.
    async fn send(&self, frame: Frame) -> Result<(), SendFrameError>;

    /// Hands one frame to the channel if its send buffer has room.
    ///
    /// # Errors
    /// [`TrySendFrameError::Full`] gives the frame back.
    fn try_send(&self, frame: Frame) -> Result<(), TrySendFrameError>;

    /// Hands several frames to the channel, in this order, if its send buffer has room for all of them; otherwise none.
    /// Frames of other senders may come between. What never fits, because it exceeds an empty buffer, can be sent by
    /// [`send`](Self::send) alone, so that a buffer should hold a message of common size: 2 MiB in the backend `webrtc`.
    ///
    /// # Errors
    /// [`TrySendAllError`].
    fn try_send_all(&self, frames: Vec<Frame>) -> Result<(), TrySendAllError>;

    /// Bytes accepted by [`send`](Self::send) that the other side has not acknowledged, as far as the backend can tell.
    ///
    /// Stays readable after the channel has closed: what may have been lost.
    fn unacknowledged_bytes(&self) -> u64;

    /// Closes gracefully: what was accepted is flushed within a short deadline of the backend, then the close is sent to
    /// the other side. Returns when the connection is closed. Idempotent, and safe to call from several tasks.
    async fn close(&self);

    /// Resolves once the channel has closed, whichever side closed it, even while received frames still wait to be
    /// read. Cancel-safe, and callable from several tasks.
    async fn closed(&self) -> ChannelClosed;

    /// The channel's numbers as they are now. Unless a backend implements it, it knows none of them.
    async fn stats(&self) -> ChannelStats {
        ChannelStats::default()
    }
}

/// The receiving half of a [`Channel`].
#[async_trait]
pub trait FrameReceiver: fmt::Debug + Send {
    /// The next frame, in order. Frames received before the close come before the error. Cancel-safe.
    ///
    /// # Errors
    /// Why the channel closed, the same every time it is asked again.
    async fn recv(&mut self) -> Result<Frame, ChannelClosed>;
}

/// Why a channel ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelClosed {
    /// This side closed or dropped it.
    #[error("closed by this side")]
    Local,
    /// The other side closed it.
    #[error("closed by the other side")]
    Remote,
    /// Nothing was received from the other side for this long.
    #[error("the other side has been silent for {0:?}")]
    Timeout(Duration),
    /// More arrived than was read. Only backends without
    /// [`back_pressure`](crate::Capabilities::back_pressure) end a channel so, which cannot make the other side wait. The frames
    /// held come before it; those after them are lost.
    #[error("more than {max_bytes} bytes arrived that were not read")]
    Overflow {
        /// How many bytes the backend holds at most.
        max_bytes: usize,
    },
    /// The connection broke; the text says what the backend saw.
    #[error("the connection failed: {0}")]
    Failed(String),
    /// The transport was shut down.
    #[error("the transport was shut down")]
    ShutDown,
}

/// A channel's numbers. Bytes are counted by every backend; what else a backend cannot tell is absent.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// The type of the selected local candidate: `host`, `srflx`, `prflx` or `relay`.
    pub local_candidate: Option<String>,
    /// The type of the selected remote candidate.
    pub remote_candidate: Option<String>,
    /// The types of the local and the remote candidate of each pair on which a check was answered, once for each two types;
    /// what a diagnosis shows. Pairs that are not checked any more once the channel is open may be missing.
    pub working_pairs: Vec<(String, String)>,
    /// The last measured round-trip time.
    pub round_trip: Option<Duration>,
    /// Payload bytes accepted for sending.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_64_digits_and_no_signs() {
        let hex: Vec<String> = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let read = |hex: &str| Fingerprint::from_sdp(&format!("v=0\r\na=fingerprint:SHA-256 {hex}\r\n"));
        let fingerprint = read(&hex.join(":")).unwrap();
        assert_eq!(fingerprint.to_string(), hex.join(":").to_uppercase());
        let with = |part: &str| [&hex[..31], &[part.to_owned()]].concat().join(":");
        for bad in [with("+7"), with("7"), with("1ff"), with("é"), hex[..31].join(":"), with("1f:20")] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }
}
