//! Frames between peers and trackers, both ways.

use p2pt_proto::{ClientMessage, DecodeError, TrackerMessage};

/// The longest text an error makes of a frame, in bytes: what it quotes is shortened to 40 characters, twice at most.
const MAX_ERROR_BYTES: usize = 1024;

/// What a server reads: an error of bounded length, or a message that encodes to a frame that decodes to itself.
pub fn client_frames(data: &[u8]) {
    match ClientMessage::decode(data) {
        Ok(message) => {
            let again = ClientMessage::decode(message.encode()).expect("what was encoded decodes");
            assert_eq!(again, message);
        }
        Err(error) => check_error(&error),
    }
}

/// What a client reads, likewise; what is said of odd fields is bounded too.
pub fn tracker_frames(data: &[u8]) {
    match TrackerMessage::decode_noting(data) {
        Ok((message, odd)) => {
            let (again, none) = TrackerMessage::decode_noting(message.encode()).expect("what was encoded decodes");
            assert_eq!((again, none), (message, vec![]), "what was encoded is not odd");
            assert!(odd.iter().all(|odd| odd.to_string().len() <= MAX_ERROR_BYTES), "{odd:?}");
        }
        Err(error) => check_error(&error),
    }
}

fn check_error(error: &DecodeError) {
    let bytes = error.to_string().len();
    assert!(bytes <= MAX_ERROR_BYTES, "an error of {bytes} bytes: {error}");
}
