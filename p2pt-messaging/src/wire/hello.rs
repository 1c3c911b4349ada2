//! What a peer can and grants.

use super::{MAX_VARINT, WireError, read_varint, write_varint};

/// Parameters of a HELLO.
const FEATURES: u64 = 1;
const MESSAGE_WINDOW: u64 = 2;
const STREAM_WINDOW: u64 = 3;
const CONNECTION_WINDOW: u64 = 4;
const MAX_STREAMS: u64 = 5;
const TRACKERS: u64 = 6;
const MAX_MESSAGE: u64 = 7;
const REASSEMBLY: u64 = 8;
const SESSION_NAME: u64 = 9;

/// Most bytes of the list of features.
const MAX_FEATURES: usize = 1024;

/// Most trackers that are named.
const MAX_TRACKERS: usize = 64;

/// Bytes that name a tracker: the hash of its host.
const TRACKER_BYTES: usize = 32;

/// Bytes that name a session.
const SESSION_NAME_BYTES: usize = 16;

/// The body of a HELLO: what the sender can, how much it takes at first, and which trackers it uses.
///
/// On the wire it is a list of parameters, each a number (varint), how many bytes its value has (varint) and the value.
/// They may come in any order. Those that are not known are passed over, so that later versions can say more.
///
/// | number | parameter | value |
/// |---|---|---|
/// | 1 | features | names with commas between them, ASCII, 1,024 bytes at most |
/// | 2 | window for messages, bytes | varint |
/// | 3 | window for each stream, bytes | varint |
/// | 4 | window for all streams together, bytes | varint |
/// | 5 | most streams at a time | varint |
/// | 6 | hosts of trackers | their hashes, 32 bytes each, 64 at most |
/// | 7 | largest message, bytes | varint |
/// | 8 | room for incomplete messages, bytes | varint |
/// | 9 | name of the session | 16 bytes |
///
/// The trackers are said to verified peers alone, since they would tell public trackers of private ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Features, as names with commas between them.
    pub features: String,
    /// How many bytes of messages may come before more is granted; 0 if it is not said.
    pub message_window: u64,
    /// How many bytes of each stream may come before more is granted; 0 if it is not said.
    pub stream_window: u64,
    /// How many bytes of all streams together may come before more is granted; 0 if it is not said.
    pub connection_window: u64,
    /// How many streams there may be at a time; 0 if it is not said.
    pub max_streams: u64,
    /// Hashes of the hosts of the sender's trackers.
    pub trackers: Vec<[u8; TRACKER_BYTES]>,
    /// How many bytes a message may have; 0 if it is not said.
    pub max_message: u64,
    /// How many bytes all messages that are on their way may have together, unless there is only one; 0 if it is not said.
    pub reassembly: u64,
    /// What the sender calls the session: drawn anew for each one, so that a further channel tells whether it belongs to a
    /// session that both sides still have.
    pub session_name: Option<[u8; SESSION_NAME_BYTES]>,
}

/// Bytes are no HELLO, or a HELLO has too much in it. A peer that sends such bytes breaks the protocol; the channel is to be
/// closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// A parameter is cut off.
    #[error("a parameter of a HELLO is cut off")]
    CutOff,
    /// A parameter is there twice.
    #[error("parameter {number} of a HELLO is there twice")]
    Doubled {
        /// Which.
        number: u64,
    },
    /// A value is not of its kind, or beyond its limit.
    #[error("the value of parameter {number} of a HELLO is malformed, or beyond its limit")]
    Value {
        /// Which.
        number: u64,
    },
}

impl From<WireError> for HelloError {
    fn from(_: WireError) -> Self {
        Self::CutOff
    }
}

impl Hello {
    /// The body of the frame.
    pub fn encode(&self) -> Result<Vec<u8>, HelloError> {
        let mut body = Vec::new();
        let mut put = |number: u64, value: &[u8]| {
            write_varint(number, &mut body)?;
            write_varint(value.len() as u64, &mut body)?;
            body.extend(value);
            Ok::<(), WireError>(())
        };
        if !self.features.is_empty() {
            features(self.features.as_bytes())?;
            put(FEATURES, self.features.as_bytes())?;
        }
        let numbers = [
            (MESSAGE_WINDOW, self.message_window),
            (STREAM_WINDOW, self.stream_window),
            (CONNECTION_WINDOW, self.connection_window),
            (MAX_STREAMS, self.max_streams),
            (MAX_MESSAGE, self.max_message),
            (REASSEMBLY, self.reassembly),
        ];
        for (number, value) in numbers.into_iter().filter(|(_, value)| *value != 0) {
            let mut bytes = Vec::new();
            write_varint(value, &mut bytes).map_err(|_| HelloError::Value { number })?;
            put(number, &bytes)?;
        }
        if self.trackers.len() > MAX_TRACKERS {
            return Err(HelloError::Value { number: TRACKERS });
        }
        if !self.trackers.is_empty() {
            put(TRACKERS, self.trackers.as_flattened())?;
        }
        if let Some(name) = &self.session_name {
            put(SESSION_NAME, name)?;
        }
        Ok(body)
    }

    /// Reads the body of a frame.
    pub fn decode(mut body: &[u8]) -> Result<Self, HelloError> {
        let (mut hello, mut seen) = (Self::default(), 0_u64);
        while !body.is_empty() {
            let number = read_varint(&mut body)?;
            let length = read_varint(&mut body)?;
            let split = usize::try_from(length).ok().and_then(|length| body.split_at_checked(length));
            let (value, rest) = split.ok_or(HelloError::CutOff)?;
            body = rest;
            if number > SESSION_NAME {
                continue;
            }
            if seen & 1 << number != 0 {
                return Err(HelloError::Doubled { number });
            }
            seen |= 1 << number;
            match number {
                FEATURES => hello.features = features(value)?.to_owned(),
                MESSAGE_WINDOW => hello.message_window = whole(number, value)?,
                STREAM_WINDOW => hello.stream_window = whole(number, value)?,
                CONNECTION_WINDOW => hello.connection_window = whole(number, value)?,
                MAX_STREAMS => hello.max_streams = whole(number, value)?,
                TRACKERS => hello.trackers = trackers(value)?,
                MAX_MESSAGE => hello.max_message = whole(number, value)?,
                REASSEMBLY => hello.reassembly = whole(number, value)?,
                SESSION_NAME => hello.session_name = Some(name(value)?),
                _ => {}
            }
        }
        Ok(hello)
    }
}

fn features(value: &[u8]) -> Result<&str, HelloError> {
    let is_fine = value.len() <= MAX_FEATURES && value.iter().all(u8::is_ascii_graphic);
    let text = std::str::from_utf8(value).ok().filter(|_| is_fine);
    text.ok_or(HelloError::Value { number: FEATURES })
}

/// The integer that is all of a value.
fn whole(number: u64, mut value: &[u8]) -> Result<u64, HelloError> {
    let integer = read_varint(&mut value).ok().filter(|integer| value.is_empty() && *integer <= MAX_VARINT);
    integer.ok_or(HelloError::Value { number })
}

fn trackers(value: &[u8]) -> Result<Vec<[u8; TRACKER_BYTES]>, HelloError> {
    match value.as_chunks() {
        (hosts, []) if hosts.len() <= MAX_TRACKERS => Ok(hosts.to_vec()),
        _ => Err(HelloError::Value { number: TRACKERS }),
    }
}

fn name(value: &[u8]) -> Result<[u8; SESSION_NAME_BYTES], HelloError> {
    value.try_into().map_err(|_| HelloError::Value { number: SESSION_NAME })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            features: "auth,mux".into(),
            message_window: 1 << 20,
            stream_window: 262_144,
            connection_window: 0,
            max_streams: 256,
            trackers: vec![[1; 32], [2; 32]],
            max_message: 64 << 20,
            reassembly: 80 << 20,
            session_name: Some([9; 16]),
        }
    }

    #[test]
    fn a_hello_is_read_as_it_is_written() {
        let body = hello().encode().unwrap();
        assert_eq!(body[..10], *b"\x01\x08auth,mux");
        assert_eq!(body[10..16], [2, 4, 0x80, 0x10, 0, 0]);
        assert_eq!(Hello::decode(&body), Ok(hello()));
        assert_eq!(Hello::decode(b""), Ok(Hello::default()));
        assert_eq!(Hello::default().encode(), Ok(Vec::new()));
        // What a later version says, before and behind.
        let later = [&[0, 1, 9][..], &body, &[0x47, 0, 2, b'x', b'y']].concat();
        assert_eq!(Hello::decode(&later), Ok(hello()));
    }

    #[test]
    fn each_fault_has_its_name() {
        let decode = |body: &[u8]| Hello::decode(body).unwrap_err();
        assert_eq!(decode(&[1]), HelloError::CutOff);
        assert_eq!(decode(&[1, 2, b'a']), HelloError::CutOff);
        assert_eq!(decode(&[5, 1, 1, 5, 1, 1]), HelloError::Doubled { number: 5 });
        assert_eq!(decode(&[2, 0]), HelloError::Value { number: 2 });
        assert_eq!(decode(&[2, 2, 1, 1]), HelloError::Value { number: 2 });
        assert_eq!(decode(&[1, 1, b' ']), HelloError::Value { number: 1 });
        assert_eq!(decode(&[1, 1, 0xff]), HelloError::Value { number: 1 });
        assert_eq!(decode(&[6, 1, 0]), HelloError::Value { number: 6 });
        assert_eq!(decode(&[9, 1, 0]), HelloError::Value { number: 9 });
        let many = |count: usize| Hello { trackers: vec![[0; 32]; count], ..Hello::default() };
        assert_eq!(many(65).encode(), Err(HelloError::Value { number: TRACKERS }));
        let most = many(64).encode().unwrap();
        assert_eq!(Hello::decode(&most), Ok(many(64)));
        let more = [&[6, 0x48, 0x20][..], &[0; 65 * 32]].concat();
        assert_eq!(decode(&more), HelloError::Value { number: 6 });
        let wide = Hello { message_window: MAX_VARINT + 1, ..Hello::default() };
        assert_eq!(wide.encode(), Err(HelloError::Value { number: 2 }));
        let long = Hello { features: "x".repeat(1025), ..Hello::default() };
        assert_eq!(long.encode(), Err(HelloError::Value { number: 1 }));
    }
}
