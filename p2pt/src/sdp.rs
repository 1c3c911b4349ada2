//! The line by which peers of this library know each other.
//!
//! Trackers forward `sdp` untouched and every WebRTC stack ignores attributes it does not know, so a line more reaches
//! the other side with no extra round trip. It is the last one of the session: libdatachannel's answers repeat what it
//! does not know in a media section, and would be taken for this library's.

/// What follows is the wire version this side speaks.
const MARK: &str = "a=p2pt:";
const VERSION: &str = "1";

/// The SDP with our line added.
pub(crate) fn mark(sdp: &str) -> String {
    let is_media = |line: &&str| line.starts_with("m=");
    let session_bytes = sdp.split_inclusive('\n').take_while(|line| !is_media(line)).map(str::len).sum();
    let (session, media) = sdp.split_at(session_bytes);
    let newline = if session.ends_with('\n') { "" } else { "\r\n" };
    format!("{session}{newline}{MARK}{VERSION}\r\n{media}")
}

/// Whether the SDP was made by this library, in any version.
pub(crate) fn is_marked(sdp: &str) -> bool {
    sdp.lines().any(|line| line.trim_end().strip_prefix(MARK).is_some_and(|version| !version.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_one_more_line_and_is_recognised() {
        let sdp = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n";
        let marked = mark(sdp);
        assert_eq!(marked, sdp.replace("m=", "a=p2pt:1\r\nm="));
        assert!(is_marked(&marked) && !is_marked(sdp));
        assert_eq!(mark("v=0"), "v=0\r\na=p2pt:1\r\n");
    }

    #[test]
    fn later_versions_are_recognised_and_lookalikes_are_not() {
        assert!(is_marked("v=0\na=p2pt:2 streams\n"));
        assert!(!is_marked("v=0\r\na=p2pt\r\n"));
        assert!(!is_marked("v=0\r\na=p2pt:\r\n"));
        assert!(!is_marked("s=a=p2pt:1\r\n"));
    }
}
