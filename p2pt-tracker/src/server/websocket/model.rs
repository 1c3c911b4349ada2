//! What is promised of the frames of any bytes: they are those that tungstenite finds.

use std::io;

use tokio_tungstenite::tungstenite::{
    Error as TheirError, Message,
    protocol::{Role, WebSocket as Tungstenite, WebSocketConfig},
};

use super::{Decoder, Error, Received};

/// The longest message.
const LIMIT: usize = 300;

/// The longest header of a frame: two bytes, eight of the length, four of the mask.
const MAX_HEADER_BYTES: usize = 14;

/// Reads bytes as a client's frames. The first byte is how many come at once.
///
/// # Panics
/// When a promise is broken.
pub fn frames(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(*size).max(1)).collect();
    assert_reads_as_tungstenite(&pieces);
}

/// Checks that the frames of these pieces are those that tungstenite finds, however they are cut.
pub(super) fn assert_reads_as_tungstenite(pieces: &[&[u8]]) {
    assert_same(decode(pieces), decode_by_tungstenite(&pieces.concat()));
}

/// What is received, in words that outlive the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Message(Message),
    TooLong,
    NotUtf8,
    Protocol,
}

/// All that a decoder finds in these pieces, until its end.
fn decode(pieces: &[&[u8]]) -> Vec<Seen> {
    let mut decoder = Decoder::new(Vec::new(), LIMIT);
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.tidy();
        assert!(decoder.unread.len() < MAX_HEADER_BYTES + LIMIT, "{} bytes wait", decoder.unread.len());
        decoder.push(piece);
        loop {
            seen.push(match decoder.next() {
                Ok(None) => break,
                Ok(Some(Received::Fragment)) => continue,
                Ok(Some(Received::Text(text))) => {
                    Seen::Message(Message::text(std::str::from_utf8(text).expect("UTF-8")))
                }
                Ok(Some(Received::Binary(bytes))) => Seen::Message(Message::binary(bytes.to_vec())),
                Ok(Some(Received::Ping(bytes))) => Seen::Message(Message::Ping(bytes.to_vec().into())),
                Ok(Some(Received::Pong)) => Seen::Message(Message::Pong(Default::default())),
                Ok(Some(Received::Close(_))) => return seen,
                Err(Error::TooLong(_)) => return [seen, vec![Seen::TooLong]].concat(),
                Err(Error::NotUtf8) => return [seen, vec![Seen::NotUtf8]].concat(),
                Err(_) => return [seen, vec![Seen::Protocol]].concat(),
            });
        }
    }
    seen
}

/// What tungstenite finds in these bytes, until its end.
fn decode_by_tungstenite(bytes: &[u8]) -> Vec<Seen> {
    struct Stream<'a>(&'a [u8]);
    impl io::Read for Stream<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            match io::Read::read(&mut self.0, to) {
                Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                other => other,
            }
        }
    }
    impl io::Write for Stream<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let config = WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let mut socket = Tungstenite::from_raw_socket(Stream(bytes), Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Close(_)) => return seen,
            Ok(Message::Pong(_)) => Seen::Message(Message::Pong(Default::default())),
            Ok(message) => Seen::Message(message),
            Err(TheirError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return seen,
            Err(TheirError::Capacity(_)) => return [seen, vec![Seen::TooLong]].concat(),
            Err(TheirError::Utf8(_)) => return [seen, vec![Seen::NotUtf8]].concat(),
            Err(_) => return [seen, vec![Seen::Protocol]].concat(),
        });
    }
}

/// Each of the two may find earlier that something is wrong, and then finds nothing more.
fn assert_same(mut ours: Vec<Seen>, mut theirs: Vec<Seen>) {
    // Ours looks at a frame's header before its payload is there, and at how long it makes a message.
    if ours.len() > theirs.len() && matches!(ours.last(), Some(Seen::Protocol | Seen::TooLong)) {
        ours.pop();
    }
    // tungstenite looks at each part of a text, not at the whole only.
    if theirs.last() == Some(&Seen::NotUtf8) && ours != theirs {
        theirs.pop();
        let rest = ours.split_off(theirs.len().min(ours.len()));
        assert!(!rest.iter().any(|seen| matches!(seen, Seen::Message(Message::Text(_)))), "{rest:?}");
    }
    assert_eq!(ours, theirs);
}
