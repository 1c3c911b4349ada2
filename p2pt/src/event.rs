//! What happens in a swarm, as the application sees it.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use p2pt_messaging::{MessageId, Payload};
use p2pt_proto::PeerId;
use p2pt_tracker::{AnnounceUrl, TrackerWarning};
use p2pt_transport::{ChannelClosed, Frame, Role, ServerWarning, TransportError};
use p2pt_trust::Trust;

use crate::{Message, Peer, PeerStream, ReceiveError, SendError};

/// Something happened in a swarm.
///
/// For each peer: `PeerConnected`, then its messages in order, then `PeerClosed`; never otherwise, never twice.
///
/// Displayed, it is one line for a log, in which no message's text appears, but its size.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A peer can be talked to.
    PeerConnected(Peer),
    /// The last connection to a peer is gone, and everything it sent has been delivered.
    PeerClosed(PeerClosed),
    /// A complete message that is not the response to a request of ours.
    Message(Message),
    /// A frame that is no part of a message: what the other side sent with [`Peer::send_frame`] or JavaScript's
    /// `peer.send`. Every binary frame is one, and every text frame that is not a `^` and a JSON object with the fields of
    /// a chunk; the crate `p2pt-messaging` has the exact rule.
    Data(Data),
    /// Something that was [queued](Peer::queue) for a peer was not sent, though the peer is there.
    SendFailed(SendFailed),
    /// A connected peer is known better or less than before: further trackers show its key, or it was pinned or unpinned.
    TrustChanged(TrustChanged),
    /// A peer has opened a [stream](PeerStream). Dropped, it is reset.
    Stream(PeerStream),
    /// A part of a message violates a limit, or its message does or is not valid; the message is lost.
    InvalidFrame(InvalidFrame),
    /// A tracker is reached, and has answered an announce on its present connection for the first time.
    TrackerConnected(TrackerConnected),
    /// A tracker gives trouble. Discovery goes on, there and elsewhere.
    TrackerWarning {
        /// Which one.
        tracker: AnnounceUrl,
        /// What is wrong.
        warning: TrackerWarning,
        /// How many warnings of this kind, which is a variant of [`TrackerWarning`], this tracker has caused since the
        /// last one that was read: each kind is reported once a minute at most, and while one is unread a later one
        /// takes its place.
        missed: u64,
    },
    /// An attempt to connect to a peer, of which no more is known than what a tracker said, has failed.
    ConnectionFailed(ConnectionFailed),
    /// This side has not let a peer in that a tracker introduced. The peer learns nothing: it has no answer to its
    /// offer, or nothing that comes of its answer. With [`RejectReason::Duplicate`] that is normal at every announce, and
    /// worth no line in a log.
    ConnectionRejected(ConnectionRejected),
    /// The transport could make no offer, so unknown peers cannot be invited; it is asked again at the next announce.
    OfferFailed(Arc<TransportError>),
    /// A STUN or TURN server of the transport's configuration is of no use. Peers are met without it, as far as the network
    /// lets them. Each swarm has it once for each server, a swarm that is joined later at its beginning.
    ServerWarning(ServerWarning),
}

/// A peer has gone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PeerClosed {
    /// Which one.
    pub peer: Peer,
    /// How its last connection ended.
    pub reason: ChannelClosed,
    /// The code and the words with which the peer [left](Peer::leave), if it speaks p2pt/2 and did.
    pub left: Option<(u64, String)>,
    /// Bytes of frames handed to its channel that the other side never acknowledged: what may have been lost.
    pub unacknowledged_bytes: u64,
    /// How many of the messages and frames [queued](Peer::queue) for it no channel had taken whole.
    pub unsent_messages: u64,
    /// How many bytes these were.
    pub unsent_bytes: u64,
    /// The messages that the other side has not acknowledged, in the order of sending, with those that were still queued;
    /// requests are not among them, since each has its own error. Of a peer that speaks p2pt/1, the queued ones alone. Of
    /// those that were sent it is not known whether they have come: an application that sends them again may double them.
    pub returned: Arc<[Returned]>,
}

/// A message that was not acknowledged, or not sent, when its peer closed.
///
/// Its `Debug` says how large it is, and does not print it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Returned {
    /// Its id; of a response, that of the message to which it responds.
    pub id: MessageId,
    /// Its content.
    pub payload: Payload,
}

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returned").field("id", &self.id).field("bytes", &self.payload.len()).finish()
    }
}

/// Something queued for a peer was not sent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SendFailed {
    /// The peer for which it was.
    pub peer: Peer,
    /// The message's id; `None` for a frame.
    pub id: Option<MessageId>,
    /// Why it was not sent.
    pub error: SendError,
    /// How many `SendFailed` of this peer just after this one were dropped, because 32 were not read.
    pub missed: u64,
}

/// A connected peer is known better or less than before.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TrustChanged {
    /// Which one.
    pub peer: Peer,
    /// How far it was known.
    pub was: Trust,
    /// How far it is known now.
    pub now: Trust,
}

/// A frame that is no part of a message.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Data {
    /// The peer that sent it.
    pub peer: Peer,
    /// The frame, as it came.
    pub frame: Frame,
}

/// A frame, or the message it belonged to, was refused.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct InvalidFrame {
    /// The peer that sent it.
    pub peer: Peer,
    /// Why it was refused.
    pub error: ReceiveError,
}

/// A tracker is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerConnected {
    /// Which one.
    pub tracker: AnnounceUrl,
    /// How many of the node's trackers are reached now.
    pub connected: usize,
    /// How many it has.
    pub total: usize,
}

/// An attempt to connect has failed. While these and [`ConnectionRejected`] are unread, the latest 32 for each tracker
/// are kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionFailed {
    /// The peer, as the tracker says.
    pub peer_id: PeerId,
    /// By which tracker the offer or the answer came.
    pub tracker: AnnounceUrl,
    /// Whether the offer was this side's.
    pub role: Role,
    /// Why it failed.
    pub error: Arc<TransportError>,
    /// How many `ConnectionFailed` and `ConnectionRejected` of this tracker just before this one were dropped, because
    /// they were not read.
    pub missed: u64,
}

/// A peer was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionRejected {
    /// Which one, as the tracker says.
    pub peer_id: PeerId,
    /// By which tracker its offer or its answer came.
    pub tracker: AnnounceUrl,
    /// Whether the offer was this side's.
    pub role: Role,
    /// Why it was refused.
    pub reason: RejectReason,
    /// How many `ConnectionFailed` and `ConnectionRejected` of this tracker just before this one were dropped, because
    /// they were not read.
    pub missed: u64,
}

/// Why this side did not let a peer in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// The swarm has as many peers as it may.
    Full,
    /// The peer has its channels already. Nothing to worry about: trackers draw recipients of offers at random.
    Duplicate,
    /// As many attempts as may be are under way, or as many as this tracker may cause.
    Busy,
    /// The application's filter does not admit it.
    Filtered,
    /// The peer is banned.
    Banned,
    /// A peer is connected under this id, and this is another one: one of the two runs another library, or shows another
    /// certificate, of which a node of this library has one for each run. It is a stranger under the peer's id, two nodes
    /// were given one id, or the peer was started anew under its old id and is let in once its old connection has ended
    /// here, which takes the idle timeout (4 s unless configured) if it did not say goodbye.
    NotTheSamePeer,
    /// It has no key, and [`Policy`](crate::trust::Policy) asks for one, or the peer id is that of a key that this node
    /// has met: a stranger under the id, or a tracker that has taken the signature away.
    Unsigned,
    /// Its description is signed, and the signature does not hold: it was changed on its way, was made for another swarm or
    /// offer, or is of a key from which the peer id does not follow. Or the other end of the channel is not the author of the
    /// description: another peer stands between the two. This tracker, or something before it,
    /// has forged the description or passed a forgery on.
    BadSignature,
    /// Its signed offer has come before. A tracker that repeats what it has heard gets nothing by it; two names of one
    /// tracker may bring an offer twice.
    Replayed,
    /// Its key is none of those that [`Policy::Only`](crate::trust::Policy::Only) names.
    WrongKey,
    /// Its description was not sealed with the secret of the room, or it did not prove that it has the secret; or its
    /// description was sealed where there is no room.
    WrongRoom,
    /// The other end of the channel did not say, within 10 s, who it is, though its description is signed: the channel has
    /// closed, or it does not speak this library's protocol.
    NotConfirmed,
    /// It did not prove the [code](crate::SwarmKey::code) by which the swarm is named: it has another one, or it left in the
    /// midst, as a guesser would. The person who gave the code out is to be told.
    WrongCode {
        /// Attempts that may still fail before the code is void.
        left: u32,
    },
    /// The code by which the swarm is named is of no use any more: its ten minutes are over, three attempts have failed, or
    /// another peer has proven it.
    CodeVoid,
    /// The application's [handshake](crate::Builder::handshake) has not accepted it, or not in time.
    Refused,
    /// Fewer trackers show its key than [`Builder::require_agreement`](crate::Builder::require_agreement) asks for, and its
    /// time for that is over.
    NotVouched {
        /// How many do.
        seen: usize,
        /// How many should.
        wanted: usize,
    },
}

impl RejectReason {
    /// Whether the tracker that [brought](ConnectionRejected::tracker) the description, or something between it and the
    /// peer, may have forged it: a network without liars does not lead to this.
    pub fn is_forgery(self) -> bool {
        self == Self::BadSignature
    }
}

impl ConnectionFailed {
    /// What people can do about it, to be shown behind the error; `None` where there is nothing but to wait for the next
    /// attempt, which comes by itself. It is [`TransportError::advice`], and part of what `Display` shows.
    pub fn advice(&self) -> Option<&'static str> {
        self.error.advice()
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotVouched { seen, wanted } => {
                return write!(f, "{seen} trackers show its key, and {wanted} should");
            }
            Self::Full => "there are as many peers as may be",
            Self::Duplicate => "it is connected already",
            Self::Busy => "too many attempts to connect are under way",
            Self::Filtered => "the application's filter does not admit it",
            Self::Banned => "it is banned",
            Self::NotTheSamePeer => "another peer is connected under its id",
            Self::Unsigned => "it has no key, which is asked for or belongs to its id",
            Self::BadSignature => "its signature does not hold, so that what it said may be forged",
            Self::Replayed => "its offer has come before",
            Self::WrongKey => "its key is none of those that are admitted",
            Self::WrongRoom => "it does not have the secret of the room",
            Self::WrongCode { left } => return write!(f, "it did not prove the code; {left} attempts are left"),
            Self::CodeVoid => "the code is of no use any more",
            Self::Refused => "the application's handshake has not accepted it",
            Self::NotConfirmed => "it did not say who it is when the channel was open",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerConnected(peer) => write!(f, "peer {} connected", peer.id()),
            Self::PeerClosed(closed) => closed.fmt(f),
            Self::Message(message) => {
                let (kind, bytes) = message.kind_and_bytes();
                let bytes = Count(bytes, "byte");
                write!(OneLine(f), "message {} from {}: {bytes} of {kind}", message.id(), message.peer().id())
            }
            Self::Data(data) => data.fmt(f),
            Self::SendFailed(failed) => failed.fmt(f),
            Self::TrustChanged(changed) => changed.fmt(f),
            Self::Stream(stream) => {
                let bytes = Count(stream.metadata().len(), "byte");
                write!(f, "stream from {}, with {bytes} of metadata", stream.peer().id())
            }
            Self::InvalidFrame(invalid) => invalid.fmt(f),
            Self::TrackerConnected(connected) => connected.fmt(f),
            Self::TrackerWarning { tracker, warning, missed } => {
                write!(OneLine(f), "tracker {tracker}: {warning}")?;
                if *missed > 0 { write!(f, " ({missed} more since)") } else { Ok(()) }
            }
            Self::ConnectionFailed(failed) => failed.fmt(f),
            Self::ConnectionRejected(rejected) => rejected.fmt(f),
            Self::OfferFailed(error) => {
                write!(OneLine(f), "no offer was made: {error}")?;
                advice(f, error.advice())
            }
            Self::ServerWarning(warning) => write!(OneLine(f), "server {warning}; {}", warning.advice()),
        }
    }
}

impl fmt::Display for PeerClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, reason, left, unacknowledged_bytes, unsent_messages, unsent_bytes, returned: _ } = self;
        write!(OneLine(f), "peer {} closed: {reason}", peer.id())?;
        if let Some((code, text)) = left {
            write!(OneLine(f), "; it left with code {code} and the words {text:?}")?;
        }
        if *unacknowledged_bytes > 0 {
            write!(f, "; {} unacknowledged", Count(*unacknowledged_bytes, "byte"))?;
        }
        if *unsent_messages > 0 {
            write!(f, "; {} of {} unsent", Count(*unsent_messages, "message"), Count(*unsent_bytes, "byte"))?;
        }
        Ok(())
    }
}

impl fmt::Display for SendFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = OneLine(f);
        match &self.id {
            Some(id) => write!(line, "message {id}")?,
            None => line.write_str("a frame")?,
        }
        write!(line, " to {} was not sent: {}", self.peer.id(), self.error)?;
        missed(f, self.missed)
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self.frame, Frame::Text(_)) { "text" } else { "binary" };
        write!(f, "{kind} frame from {}: {}", self.peer.id(), Count(self.frame.len(), "byte"))
    }
}

impl fmt::Display for TrustChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "peer {} is {} now, and was {}", self.peer.id(), self.now, self.was)
    }
}

impl fmt::Display for InvalidFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(OneLine(f), "invalid frame from {}: {}", self.peer.id(), self.error)
    }
}

impl fmt::Display for TrackerConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tracker {} reached; {} of {} are", self.tracker, self.connected, self.total)
    }
}

impl fmt::Display for ConnectionFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer_id, tracker, role, error, .. } = self;
        write!(OneLine(f), "attempt with {peer_id} by {tracker} failed, {}: {error}", whose_offer(*role))?;
        advice(f, self.advice())?;
        missed(f, self.missed)
    }
}

impl fmt::Display for ConnectionRejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer_id, tracker, role, reason, .. } = self;
        write!(f, "attempt with {peer_id} by {tracker} rejected, {}: {reason}", whose_offer(*role))?;
        missed(f, self.missed)
    }
}

fn advice(f: &mut fmt::Formatter<'_>, advice: Option<&str>) -> fmt::Result {
    advice.map_or(Ok(()), |advice| write!(f, "; {advice}"))
}

fn whose_offer(role: Role) -> &'static str {
    match role {
        Role::Offerer => "offered by this side",
        Role::Answerer => "offered by the peer",
    }
}

fn missed(f: &mut fmt::Formatter<'_>, missed: u64) -> fmt::Result {
    if missed > 0 { write!(f, "; {missed} more were not kept") } else { Ok(()) }
}

/// How many of something there are, in the singular or the plural.
struct Count<N>(N, &'static str);

impl<N: fmt::Display + PartialEq + From<u8>> fmt::Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, unit) = self;
        write!(f, "{number} {unit}{}", if *number == N::from(1) { "" } else { "s" })
    }
}

/// Writes what came from elsewhere without line breaks and other control characters.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let mut chars = part.chars();
            match chars.next_back().filter(|last| last.is_control()) {
                Some(control) => write!(self.0, "{}{}", chars.as_str(), control.escape_default())?,
                None => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use p2pt_messaging::{InvalidMessage, Message as Body};
    use p2pt_transport::ServerProblem;

    use super::*;
    use crate::settings::Settings;

    fn peer() -> Peer {
        Peer::new(PeerId::from([0xab; 20]), None, Arc::new(Settings::alone(1000)))
    }

    #[test]
    fn an_event_is_one_line_without_the_text_of_messages() {
        let (peer, id) = (peer(), "ab".repeat(20));
        let tracker: AnnounceUrl = "ws://a.test".parse().expect("a URL");
        let message = |id: &str, payload| {
            Event::Message(Message::new(peer.clone(), Body { id: id.parse().expect("an id"), payload }))
        };
        let failed = |text: &str| Arc::new(TransportError::Backend(text.into()));
        let reason = ChannelClosed::Failed("one\ntwo".into());
        let error =
            p2pt_messaging::FrameError::InvalidMessage { id: MessageId::from(7), reason: InvalidMessage::NotUtf8 };
        let cases = [
            (Event::PeerConnected(peer.clone()), format!("peer {id} connected")),
            (
                Event::PeerClosed(PeerClosed {
                    peer: peer.clone(),
                    reason,
                    unacknowledged_bytes: 5,
                    unsent_messages: 2,
                    unsent_bytes: 9,
                    left: None,
                    returned: Arc::default(),
                }),
                format!(
                    "peer {id} closed: the connection failed: one\\ntwo; 5 bytes unacknowledged; 2 messages of 9 bytes \
                     unsent"
                ),
            ),
            (
                Event::PeerClosed(PeerClosed {
                    peer: peer.clone(),
                    reason: ChannelClosed::Local,
                    unacknowledged_bytes: 1,
                    unsent_messages: 1,
                    unsent_bytes: 1,
                    left: None,
                    returned: Arc::default(),
                }),
                format!("peer {id} closed: closed by this side; 1 byte unacknowledged; 1 message of 1 byte unsent"),
            ),
            (message("7", "secret".into()), format!("message 7 from {id}: 6 bytes of text")),
            (message("7", 1.into()), format!("message 7 from {id}: 1 byte of JSON")),
            (message("[7]", 12.into()), format!("message [7] from {id}: 2 bytes of JSON")),
            (
                Event::Data(Data { peer: peer.clone(), frame: Frame::text("secret") }),
                format!("text frame from {id}: 6 bytes"),
            ),
            (
                Event::SendFailed(SendFailed {
                    peer: peer.clone(),
                    id: None,
                    error: SendError::PeerGone(ChannelClosed::Local),
                    missed: 3,
                }),
                format!("a frame to {id} was not sent: the peer is gone: closed by this side; 3 more were not kept"),
            ),
            (
                Event::InvalidFrame(InvalidFrame { peer: peer.clone(), error: error.into() }),
                format!("invalid frame from {id}: message 7 rejected: not UTF-8"),
            ),
            (
                Event::TrackerConnected(TrackerConnected { tracker: tracker.clone(), connected: 1, total: 2 }),
                "tracker ws://a.test reached; 1 of 2 are".to_owned(),
            ),
            (
                Event::ConnectionFailed(ConnectionFailed {
                    peer_id: peer.id(),
                    tracker: tracker.clone(),
                    role: Role::Offerer,
                    error: Arc::new(TransportError::IceFailed {
                        local: "host srflx".to_owned(),
                        remote: "srflx".to_owned(),
                    }),
                    missed: 2,
                }),
                format!(
                    "attempt with {id} by ws://a.test failed, offered by this side: ICE found no path (local candidates: \
                     host srflx, remote candidates: srflx); the address translation on both sides lets nothing in: one of \
                     the two needs a TURN server; 2 more were not kept"
                ),
            ),
            (
                Event::ConnectionRejected(ConnectionRejected {
                    peer_id: peer.id(),
                    tracker,
                    role: Role::Answerer,
                    reason: RejectReason::Banned,
                    missed: 0,
                }),
                format!("attempt with {id} by ws://a.test rejected, offered by the peer: it is banned"),
            ),
            (
                Event::ServerWarning(ServerWarning::new("stun:a.test", ServerProblem::Silent)),
                "server stun:a.test is of no use: it does not answer; check its name and port, and that this network lets UDP \
                 out; or use another one"
                    .to_owned(),
            ),
            (Event::OfferFailed(failed("a\r\nb")), "no offer was made: transport backend: a\\r\\nb".to_owned()),
        ];
        for (event, line) in cases {
            let shown = event.to_string();
            assert_eq!(shown, line);
            assert!(!shown.contains(char::is_control) && !shown.contains("secret"), "{shown}");
        }
    }
}
