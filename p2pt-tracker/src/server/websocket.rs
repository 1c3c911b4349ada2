//! WebSocket frames on the side of a server.
//!
//! tungstenite's stream keeps a read buffer as large as the largest message that ever came, and its wakers, for as long as
//! the connection lives; most connections of a tracker are idle. Here bytes are read to the stack, and what is kept of them
//! is what is not a whole frame yet: of an idle connection nothing. The header of a frame is tungstenite's business.

use std::{future::poll_fn, io, mem::MaybeUninit, pin::Pin, task::ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::tungstenite::{
    Error as FrameError,
    protocol::frame::{
        FrameHeader,
        coding::{CloseCode, Control, Data, OpCode},
    },
};

/// How much is read at once. An announce with ten offers has about as much.
const READ_BYTES: usize = 16 * 1024;

/// The longest payload of a control frame.
const MAX_CONTROL_BYTES: usize = 125;

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the client has hung up without a close frame")]
    HungUp,
    #[error("the message is longer than {0} bytes")]
    TooLong(usize),
    #[error("the text message is not UTF-8")]
    NotUtf8,
    /// With words for the close frame, which has room for 123 bytes.
    #[error("{0}")]
    Protocol(String),
}

fn protocol(text: &str) -> Error {
    Error::Protocol(text.to_owned())
}

/// What a client has sent. A text is UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// A part of a message, and not the last one.
    Fragment,
    Ping(&'a [u8]),
    Pong,
    /// The code to answer with, if there is one.
    Close(Option<CloseCode>),
}

/// A message of which parts have come.
#[derive(Debug)]
struct Incomplete {
    is_text: bool,
    payload: Vec<u8>,
}

/// Takes bytes and finds frames in them, and messages in these.
#[derive(Debug)]
struct Decoder {
    unread: Vec<u8>,
    /// Where in `unread` the next frame begins.
    position: usize,
    incomplete: Option<Box<Incomplete>>,
    /// The last message that came in parts.
    assembled: Vec<u8>,
    max_message_bytes: usize,
}

impl Decoder {
    fn new(received: Vec<u8>, max_message_bytes: usize) -> Self {
        Self { unread: received, position: 0, incomplete: None, assembled: Vec::new(), max_message_bytes }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Gives back the memory of what has been read.
    fn tidy(&mut self) {
        if self.position == self.unread.len() {
            self.unread = Vec::new();
        } else {
            self.unread.drain(..self.position);
        }
        self.position = 0;
        self.assembled = Vec::new();
    }

    /// The next frame, if it is there as a whole.
    fn next(&mut self) -> Result<Option<Received<'_>>, Error> {
        let mut cursor = io::Cursor::new(&self.unread[self.position..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|error| match error {
            FrameError::Protocol(error) => Error::Protocol(error.to_string()),
            other => Error::Protocol(other.to_string()),
        })?;
        let Some((header, length)) = parsed else { return Ok(None) };
        let begin = self.position + usize::try_from(cursor.position()).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > self.max_message_bytes {
            return Err(Error::TooLong(self.max_message_bytes));
        }
        let Some(mask) = header.mask else { return Err(protocol("the frame is not masked")) };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(protocol("a reserved bit is set"));
        }
        self.check_length(&header, length)?;
        if self.unread.len() - begin < length {
            return Ok(None);
        }
        self.position = begin + length;
        let payload = &mut self.unread[begin..self.position];
        unmask(payload, mask);
        match header.opcode {
            OpCode::Control(Control::Ping) => Ok(Some(Received::Ping(payload))),
            OpCode::Control(Control::Pong) => Ok(Some(Received::Pong)),
            OpCode::Control(_) => close_code(payload).map(|code| Some(Received::Close(code))),
            OpCode::Data(Data::Continue) => {
                let Some(incomplete) = &mut self.incomplete else {
                    return Err(protocol("a frame continues no message"));
                };
                incomplete.payload.extend_from_slice(payload);
                if !header.is_final {
                    return Ok(Some(Received::Fragment));
                }
                let is_text = incomplete.is_text;
                self.assembled = self.incomplete.take().map_or_else(Vec::new, |incomplete| incomplete.payload);
                message(is_text, &self.assembled).map(Some)
            }
            OpCode::Data(kind) => {
                if self.incomplete.is_some() {
                    return Err(protocol("a message begins within another"));
                }
                let is_text = kind == Data::Text;
                if header.is_final {
                    return message(is_text, payload).map(Some);
                }
                self.incomplete = Some(Box::new(Incomplete { is_text, payload: payload.to_vec() }));
                Ok(Some(Received::Fragment))
            }
        }
    }

    /// Whether a control frame may look so, and a message may go on with so much.
    fn check_length(&self, header: &FrameHeader, length: usize) -> Result<(), Error> {
        match (header.opcode, &self.incomplete) {
            (OpCode::Control(_), _) if !header.is_final => Err(protocol("a control frame comes in parts")),
            (OpCode::Control(_), _) if length > MAX_CONTROL_BYTES => {
                Err(protocol("a control frame is longer than 125 bytes"))
            }
            (OpCode::Data(Data::Continue), Some(incomplete))
                if incomplete.payload.len() + length > self.max_message_bytes =>
            {
                Err(Error::TooLong(self.max_message_bytes))
            }
            _ => Ok(()),
        }
    }
}

fn message(is_text: bool, payload: &[u8]) -> Result<Received<'_>, Error> {
    match (is_text, std::str::from_utf8(payload)) {
        (true, Ok(_)) => Ok(Received::Text(payload)),
        (true, Err(_)) => Err(Error::NotUtf8),
        (false, _) => Ok(Received::Binary(payload)),
    }
}

/// What to answer to a close frame.
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Error> {
    match payload {
        [] => Ok(None),
        [_] => Err(protocol("a close frame has half a code")),
        [high, low, reason @ ..] => {
            let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
            std::str::from_utf8(reason).map_err(|_| Error::NotUtf8)?;
            Ok(Some(if code.is_allowed() { code } else { CloseCode::Protocol }))
        }
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ twice).to_ne_bytes());
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends one whole frame.
fn append(to: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    to.reserve(header.len(payload.len() as u64) + payload.len());
    header.format(payload.len() as u64, to).expect("a vector takes all");
    to.extend_from_slice(payload);
}

/// Appends a text message.
pub(super) fn append_text(to: &mut Vec<u8>, text: &str) {
    append(to, OpCode::Data(Data::Text), text.as_bytes());
}

/// Appends a ping without content.
pub(super) fn append_ping(to: &mut Vec<u8>) {
    append(to, OpCode::Control(Control::Ping), &[]);
}

/// Appends the answer to a ping.
pub(super) fn append_pong(to: &mut Vec<u8>, payload: &[u8]) {
    append(to, OpCode::Control(Control::Pong), payload);
}

/// A close frame. What the frame has no room for is left out of the reason.
pub(super) fn close_frame(code: Option<CloseCode>, reason: &str) -> Vec<u8> {
    let mut payload = Vec::new();
    if let Some(code) = code {
        payload.extend(u16::from(code).to_be_bytes());
        let room = MAX_CONTROL_BYTES - payload.len();
        let fits = reason.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= room).last();
        payload.extend(&reason.as_bytes()[..fits.unwrap_or(0)]);
    }
    let mut frame = Vec::new();
    append(&mut frame, OpCode::Control(Control::Close), &payload);
    frame
}

/// A byte stream from and to a WebSocket client.
#[derive(Debug)]
pub(super) struct WebSocket<S> {
    stream: S,
    decoder: Decoder,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// A stream on which the handshake is done; `received` is what came after it.
    pub(super) fn new(stream: S, received: Vec<u8>, max_message_bytes: usize) -> Self {
        Self { stream, decoder: Decoder::new(received, max_message_bytes) }
    }

    /// What has been received and not been taken yet.
    pub(super) fn next(&mut self) -> Result<Option<Received<'_>>, Error> {
        self.decoder.next()
    }

    /// Waits for further bytes, after which there may be a [`next`](Self::next). Nothing is lost if this is given up.
    pub(super) async fn receive(&mut self) -> Result<(), Error> {
        let Self { stream, decoder } = self;
        decoder.tidy();
        poll_fn(|context| {
            let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut bytes))?;
            decoder.push(bytes.filled());
            if bytes.filled().is_empty() { Err(Error::HungUp) } else { Ok(()) }.into()
        })
        .await
    }

    /// Writes whole frames.
    pub(super) async fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames).await?;
        self.stream.flush().await
    }

    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod model;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use tokio_tungstenite::tungstenite::{Message, protocol::Role, protocol::WebSocket as Tungstenite};

    use super::{model::assert_reads_as_tungstenite, *};

    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![
            4 => Just(0x81), 2 => Just(0x82), 2 => Just(0x01), 2 => Just(0x80), 2 => Just(0x00), 2 => Just(0x89),
            1 => Just(0x8a), 1 => Just(0x88), 1 => any::<u8>(),
        ];
        let payload =
            prop_oneof![4 => vec(b'a'..=b'z', 0..130), 1 => vec(any::<u8>(), 0..4), 1 => vec(Just(b'x'), 290..310)];
        (first, prop::bool::weighted(0.98), any::<[u8; 4]>(), payload).prop_map(|(first, masked, mask, mut payload)| {
            let mut frame = vec![first];
            let bit = if masked { 0x80 } else { 0 };
            match u8::try_from(payload.len()) {
                Ok(length @ ..126) => frame.push(bit | length),
                _ => {
                    frame.push(bit | 126);
                    frame.extend((payload.len() as u16).to_be_bytes());
                }
            }
            if masked {
                frame.extend(mask);
                payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
            }
            frame.extend(payload);
            frame
        })
    }

    proptest! {
        #[test]
        fn frames_are_read_as_by_tungstenite(frames in vec(frame(), 0..12), cuts in vec(any::<prop::sample::Index>(), 0..6)) {
            let bytes = frames.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            assert_reads_as_tungstenite(&pieces);
        }

        #[test]
        fn any_bytes_are_read_as_by_tungstenite(bytes in vec(any::<u8>(), 0..40)) {
            assert_reads_as_tungstenite(&[&bytes]);
        }

        #[test]
        fn what_is_written_is_read_by_tungstenite(text in "\\PC{0,200}", reason in "\\PC{0,100}") {
            let mut bytes = Vec::new();
            append_text(&mut bytes, &text);
            append_ping(&mut bytes);
            append_pong(&mut bytes, b"pong");
            bytes.extend(close_frame(Some(CloseCode::Policy), &reason));
            let mut socket = Tungstenite::from_raw_socket(io::Cursor::new(bytes), Role::Client, None);
            prop_assert_eq!(socket.read().expect("a message"), Message::text(text));
            prop_assert!(socket.read().expect("a ping").is_ping());
            prop_assert_eq!(socket.read().expect("a pong"), Message::Pong("pong".into()));
            let Message::Close(Some(frame)) = socket.read().expect("a close frame") else { panic!("no close frame") };
            prop_assert_eq!(frame.code, CloseCode::Policy);
            prop_assert!(reason.starts_with(frame.reason.as_str()));
        }
    }

    #[test]
    fn an_idle_decoder_keeps_nothing() {
        let mut decoder = Decoder::new(Vec::new(), 1 << 20);
        let mut frames = vec![0x01, 0x80 | 126, 0x10, 0, 0, 0, 0, 0];
        frames.extend([b'x'; 0x1000]);
        frames.extend([0x80, 0x80, 0, 0, 0, 0]);
        decoder.push(&frames);
        assert_eq!(decoder.next().expect("a frame"), Some(Received::Fragment));
        assert_eq!(decoder.next().expect("a frame"), Some(Received::Text(&[b'x'; 0x1000])));
        assert_eq!(decoder.next().expect("no frame"), None);
        decoder.tidy();
        assert_eq!((decoder.unread.capacity(), decoder.assembled.capacity()), (0, 0));
        assert!(decoder.incomplete.is_none());
    }

    #[test]
    fn a_close_frame_is_answered_with_its_code_if_that_may_be_sent() {
        for (payload, answer) in [
            (&[][..], Some(None)),
            (&[3], None),
            (&[3, 0xe8], Some(Some(CloseCode::Normal))),
            (&[3, 0xed], Some(Some(CloseCode::Protocol))),
            (&[3, 0xe8, 0xff], None),
        ] {
            assert_eq!(close_code(payload).ok(), answer, "{payload:?}");
        }
    }
}
