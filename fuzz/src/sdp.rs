//! Session descriptions of strangers.

use p2pt_transport::{Fingerprint, webrtc::fuzzing::check_description};

/// A fingerprint that is read stands in the description, as it is shown. What an endpoint reads is within its bounds, and
/// an answer can be written to it.
pub fn sdp(data: &[u8]) {
    let Ok(sdp) = std::str::from_utf8(data) else { return };
    check_description(sdp);
    if let Some(fingerprint) = Fingerprint::from_sdp(sdp) {
        let shown = fingerprint.to_string();
        assert!(sdp.to_ascii_uppercase().contains(&shown), "{shown} is not in {sdp:?}");
    }
}
