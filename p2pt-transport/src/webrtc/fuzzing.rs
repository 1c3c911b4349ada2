//! What the private parts of the endpoint promise about hostile input, for the fuzz targets and the tests.

mod unknown_senders;
mod victim;

pub use unknown_senders::{Kind, Source, UnknownSenders};
pub use victim::Victim;

use super::sdp::{Description, LocalDescription, MAX_CANDIDATES, parse_candidate_line};
use crate::Fingerprint;

/// Reads `sdp` as a description of a peer, and as a single candidate.
///
/// # Panics
/// When what is read exceeds its bounds, an answer to it would not be well formed, or an error would not be printable.
pub fn check_description(sdp: &str) {
    let _ = parse_candidate_line(sdp);
    let read = match Description::parse(sdp) {
        Ok(read) => read,
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 1024 && !text.contains(char::is_control), "{text}");
            assert!(error.line().is_none_or(|number| (1..=sdp.lines().count()).contains(&number)), "{text}");
            return;
        }
    };
    assert!((4..=256).contains(&read.ufrag.len()) && (22..=256).contains(&read.pwd.len()), "{read:?}");
    // A colon separates the two fragments of a STUN user name.
    assert!(!read.ufrag.contains(':') && read.sctp_port != 0 && read.window != Some(0), "{read:?}");
    assert!(read.candidates.len() <= MAX_CANDIDATES && read.max_frame_bytes(1000) <= 1000, "{read:?}");
    let answer = LocalDescription {
        session_id: 1,
        outline: &read.outline,
        ufrag: &read.ufrag,
        pwd: &read.pwd,
        fingerprint: Fingerprint([0xab; 32]),
        setup: read.answer_setup(),
        max_message_bytes: 262_144,
        candidates: &read.candidates,
        window: 1,
    };
    let answer = answer.to_string();
    assert!(answer.lines().all(|line| line.len() < 300 && line.as_bytes().get(1) == Some(&b'=')), "{answer}");
    let again = Description::parse(&answer);
    let again = again.unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert_eq!((&again.candidates, &again.outline), (&read.candidates, &read.outline), "{answer}");
    assert_eq!((&again.ufrag, &again.pwd), (&read.ufrag, &read.pwd), "{answer}");
}
