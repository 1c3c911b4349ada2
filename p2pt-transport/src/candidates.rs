//! Candidates of the other side that come after its description.

use std::fmt;

use crate::AddCandidateError;

/// Takes candidates that the other side finds after it has handed over its description, for one connection.
///
/// A tracker carries one offer and one answer and nothing after them. An application that signals over a channel of its
/// own can hand over a description at once and send each candidate when it is found (RFC 8838, "trickle ICE"), as
/// browsers do. [`PendingOffer::remote_candidates`](crate::PendingOffer::remote_candidates) and
/// [`PendingAnswer::remote_candidates`](crate::PendingAnswer::remote_candidates) return it, and it stays
/// usable while the connection opens:
///
/// ```
/// # use p2pt_transport::{Channel, PendingOffer, TransportError};
/// # async fn open(
/// #     offer: Box<dyn PendingOffer>, answer_sdp: &str, mut signalling: tokio::sync::mpsc::Receiver<String>,
/// # ) -> Result<Channel, TransportError> {
/// let candidates = offer.remote_candidates();
/// let trickle = async {
///     while let Some(candidate) = signalling.recv().await {
///         // What a browser's `RTCIceCandidate.candidate` says.
///         if let Err(error) = candidates.add(&candidate) {
///             tracing::debug!(%error, "a late candidate");
///         }
///     }
///     std::future::pending().await
/// };
/// tokio::select! {
///     channel = offer.open(answer_sdp) => channel,
///     never = trickle => never,
/// }
/// # }
/// ```
///
/// Only the receiving side trickles: the descriptions this crate makes are complete.
pub trait RemoteCandidates: fmt::Debug + Send + Sync {
    /// Hands over one candidate: `candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host`, with or without an `a=` before
    /// it; or, as the empty string or `end-of-candidates`, the notice that there are no more.
    ///
    /// It may come before, while and after the connection opens, and on the offerer's side before the answer does. A
    /// candidate that is well-formed and of no use (TCP, a name that cannot be looked up, a family this side does not
    /// have) is passed over. One that comes when the channel is open is taken or passed over.
    ///
    /// # Errors
    /// [`AddCandidateError`]. None of them harms the connection.
    fn add(&self, candidate: &str) -> Result<(), AddCandidateError>;
}

/// For backends that take candidates in descriptions only.
#[derive(Debug)]
pub(crate) struct CompleteDescriptionsOnly;

impl RemoteCandidates for CompleteDescriptionsOnly {
    fn add(&self, _candidate: &str) -> Result<(), AddCandidateError> {
        Err(AddCandidateError::Unsupported)
    }
}

/// The longest candidate that is looked at, in bytes. Those of browsers have about 150.
#[cfg(any(feature = "memory", feature = "webrtc-crate", all(feature = "web", target_family = "wasm")))]
const MAX_CANDIDATE_BYTES: usize = 1024;

/// What follows `candidate:` when it has the form of RFC 8839 section 5.1; nothing when there are no more to come.
#[cfg(any(feature = "memory", feature = "webrtc-crate", all(feature = "web", target_family = "wasm")))]
pub(crate) fn read(candidate: &str) -> Result<Option<&str>, AddCandidateError> {
    let invalid = |why: &str| AddCandidateError::Invalid(why.to_owned());
    if candidate.len() > MAX_CANDIDATE_BYTES {
        return Err(invalid("it is too long"));
    }
    if candidate.contains(|character: char| character.is_control()) {
        return Err(invalid("it has control characters"));
    }
    let value = candidate.strip_prefix("a=").unwrap_or(candidate);
    if value.is_empty() || value == "end-of-candidates" {
        return Ok(None);
    }
    let value = value.strip_prefix("candidate:").ok_or_else(|| invalid("it does not begin with candidate:"))?;
    let words: Vec<&str> = value.split(' ').collect();
    let [foundation, component, transport, priority, address, port, typ, kind, ..] = words[..] else {
        return Err(invalid("it has fewer than eight parts"));
    };
    if [foundation, transport, address, kind].contains(&"") {
        return Err(invalid("one of its parts is empty"));
    }
    if component.parse::<u16>().is_err() || priority.parse::<u32>().is_err() || port.parse::<u16>().is_err() {
        return Err(invalid("its component, priority or port is no number, or too large"));
    }
    if typ != "typ" {
        return Err(invalid("it does not say its type"));
    }
    Ok(Some(value))
}

#[cfg(all(test, any(feature = "memory", feature = "webrtc-crate")))]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_browsers_are_read() {
        for value in [
            "1 1 udp 2130706431 192.0.2.1 5000 typ host",
            "842163049 1 udp 1677729535 203.0.113.5 61000 typ srflx raddr 0.0.0.0 rport 0 generation 0 network-cost 999",
            "0 1 UDP 2122252543 0b7a1f5e-9f6c-4f0e-9d2b-3f1c5f0d9a11.local 54321 typ host",
            "3 1 TCP 2105524479 192.0.2.1 9 typ host tcptype active",
            "4 2 udp 1 2001:db8::1 1 typ relay raddr 192.0.2.1 rport 7 ufrag abcd",
        ] {
            assert_eq!(read(&format!("candidate:{value}")), Ok(Some(value)));
            assert_eq!(read(&format!("a=candidate:{value}")), Ok(Some(value)));
        }
        for last in ["", "end-of-candidates", "a=end-of-candidates"] {
            assert_eq!(read(last), Ok(None));
        }
    }

    #[test]
    fn what_is_no_candidate_is_refused() {
        let long = format!("candidate:{} 1 udp 1 192.0.2.1 5000 typ host", "1".repeat(MAX_CANDIDATE_BYTES));
        for bad in [
            "\0",
            " ",
            "nonsense",
            "candidate:",
            "1 1 udp 2130706431 192.0.2.1 5000 typ host",
            "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ",
            "candidate:1 1 udp 2130706431 192.0.2.1 5000 host typ",
            "candidate:1 1 udp 2130706431  5000 typ host",
            "candidate:1 x udp 2130706431 192.0.2.1 5000 typ host",
            "candidate:1 1 udp 4294967296 192.0.2.1 5000 typ host",
            "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
            "candidate:1 1 udp 1 192.0.2.1 -1 typ host",
            "candidate:1 1 udp 1 192.0.2.1 5000 typ host\r\na=ice-lite",
            &long,
        ] {
            assert!(matches!(read(bad), Err(AddCandidateError::Invalid(_))), "{bad:?}");
        }
    }
}
