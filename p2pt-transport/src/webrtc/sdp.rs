//! What this backend itself reads from a session description, and what it changes in one.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::TransportError;

/// The largest SDP looked at, in bytes. Browsers on machines with many addresses stay under 16 KiB, and the strictest
/// public tracker passes on no more.
const MAX_SDP_BYTES: usize = 65_536;

/// What is sent when an SDP does not say otherwise (RFC 8841 section 6.1).
const DEFAULT_MAX_MESSAGE_BYTES: usize = 65_536;

/// Checks that `sdp` describes a data channel that could be connected to. What arrives in that place may be anything:
/// other applications on public trackers put encrypted blobs there.
pub(super) fn check(sdp: &str) -> Result<(), TransportError> {
    let invalid = |why: &str| Err(TransportError::InvalidSdp(why.to_owned()));
    if sdp.len() > MAX_SDP_BYTES {
        return invalid("longer than 64 KiB");
    }
    if !sdp.starts_with("v=0") {
        return invalid("it does not begin with v=0");
    }
    if !sdp.lines().any(|line| line.starts_with("m=application ")) {
        return invalid("no data channel is offered");
    }
    for attribute in ["ice-ufrag", "ice-pwd", "fingerprint"] {
        if attributes(sdp, attribute).next().is_none() {
            return Err(TransportError::InvalidSdp(format!("no {attribute}")));
        }
    }
    Ok(())
}

/// The largest frame in bytes the author of `sdp` accepts, but no more than `ours`.
pub(super) fn max_frame_bytes(sdp: &str, ours: usize) -> usize {
    match attributes(sdp, "max-message-size").next().map(|value| value.trim().parse::<u64>()) {
        // Zero means that there is no limit.
        Some(Ok(0)) => ours,
        Some(Ok(bytes)) => usize::try_from(bytes).unwrap_or(ours).min(ours),
        Some(Err(_)) | None => DEFAULT_MAX_MESSAGE_BYTES,
    }
}

/// `sdp` with `ours` as the largest frame in place of its author's.
///
/// The stack takes the smaller of both sides' limits also for what it *receives*, and drops anything longer with nothing
/// but a log line; yet a side that accepts little may send much. Frames to send are checked against
/// [`max_frame_bytes`] before the stack sees them.
pub(super) fn with_limit(sdp: &str, ours: usize) -> String {
    let ours = format!("a=max-message-size:{ours}\r\n");
    let mut out = String::with_capacity(sdp.len() + ours.len());
    let mut in_application = false;
    for line in sdp.lines().filter(|line| !line.starts_with("a=max-message-size:")) {
        if line.starts_with("m=") {
            if in_application {
                out.push_str(&ours);
            }
            in_application = line.starts_with("m=application ");
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    if in_application {
        out.push_str(&ours);
    }
    out
}

/// The attribute by which this backend says how much its sockets can hold.
const WINDOW: &str = "p2pt-window";

/// `sdp`, which is our own, with what our sockets can hold. Others pass over a line they do not know.
pub(super) fn with_window(mut sdp: String, bytes: u32) -> String {
    let _ = write!(sdp, "a={WINDOW}:{bytes}\r\n");
    sdp
}

/// How many bytes the sockets of the author of `sdp` can hold, if that is said.
pub(super) fn window(sdp: &str) -> Option<usize> {
    // Nothing would ever fit into none.
    attributes(sdp, WINDOW).next()?.trim().parse().ok().filter(|bytes| *bytes > 0)
}

/// The kinds of candidates in `sdp`, for people: `"host srflx"`.
pub(super) fn candidate_types(sdp: &str) -> String {
    let types: BTreeSet<&str> = attributes(sdp, "candidate")
        .filter_map(|candidate| {
            let mut words = candidate.split_ascii_whitespace();
            let address = words.nth(4)?;
            let kind = words.skip_while(|word| *word != "typ").nth(1)?;
            Some(if address.ends_with(".local") { "mdns" } else { kind })
        })
        .collect();
    if types.is_empty() { "none".to_owned() } else { types.into_iter().collect::<Vec<_>>().join(" ") }
}

/// The values of all lines `a=name:value`.
fn attributes<'a>(sdp: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    sdp.lines().filter_map(move |line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: usize = 262_144;

    const SDP: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n\
        a=candidate:1 1 udp 2113937151 0e1a.local 5000 typ host\r\n\
        a=candidate:2 1 udp 1677729535 203.0.113.4 5000 typ srflx raddr 10.0.0.1 rport 5000\r\n\
        a=candidate:3 1 udp 2113937150 10.0.0.1 5001 typ host generation 0\r\na=sctp-port:5000\r\n";

    #[test]
    fn a_limit_is_read_and_has_its_default() {
        assert_eq!(max_frame_bytes(SDP, OURS), 65_536);
        for (value, bytes) in
            [("1000", 1000), ("0", 262_144), ("1073741823", 262_144), ("much", 65_536), ("-1", 65_536)]
        {
            assert_eq!(max_frame_bytes(&format!("{SDP}a=max-message-size:{value}\r\n"), OURS), bytes);
        }
    }

    #[test]
    fn our_limit_takes_the_place_of_theirs() {
        let changed = with_limit(&format!("{SDP}a=max-message-size:1000\r\na=p2pt:1\r\n"), OURS);
        assert_eq!(changed, format!("{SDP}a=p2pt:1\r\na=max-message-size:262144\r\n"));
        let audio = "m=audio 0 UDP/TLS/RTP/SAVPF 0\n";
        assert_eq!(
            with_limit(&format!("{SDP}{audio}"), OURS),
            format!("{SDP}a=max-message-size:262144\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\n")
        );
    }

    #[test]
    fn a_window_is_told() {
        assert_eq!(window(SDP), None);
        assert_eq!(window(&with_window(SDP.to_owned(), 1_310_720)), Some(1_310_720));
        assert_eq!(window(&format!("{SDP}a=p2pt-window:much\r\n")), None);
        assert_eq!(window(&with_window(SDP.to_owned(), 0)), None);
    }

    #[test]
    fn candidates_are_named_for_people() {
        assert_eq!(candidate_types(SDP), "host mdns srflx");
        assert_eq!(candidate_types("v=0\r\na=candidate:1 1 udp\r\n"), "none");
    }

    #[test]
    fn what_is_no_session_description_is_refused_by_name() {
        assert!(check(SDP).is_ok());
        for (sdp, why) in [
            ("", "v=0"),
            ("gAAAAABnX…", "v=0"),
            ("v=0\r\n", "data channel"),
            (SDP.split("a=ice-ufrag").next().unwrap(), "ice-ufrag"),
            (&"v=0\r\n".repeat(20_000), "64 KiB"),
        ] {
            assert!(check(sdp).unwrap_err().to_string().contains(why), "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,300}") {
            let sdp = format!("v=0\r\n{text}\r\na=candidate:{text}\r\na=max-message-size:{text}");
            let _ = check(&sdp);
            let _ = candidate_types(&sdp);
            prop_assert!(max_frame_bytes(&sdp, OURS) <= OURS);
            let _ = with_limit(&sdp, OURS);
        }
    }
}
