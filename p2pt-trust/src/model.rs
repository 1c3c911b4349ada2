//! What is promised of every parser and of codes for any input, read from bytes.
//!
//! Property tests draw the bytes, and fuzzing looks for them: both run the same code. Where bytes are operations, four are
//! one, so that a change of one byte changes one operation.

use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use p2pt_proto::InfoHash;

use crate::*;

/// Operations that are read at most: key exchanges cost some tenths of a millisecond each.
const MAX_OPERATIONS: usize = 60;

/// Some instant to count from.
fn base() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "state machines only add to it; which one it is does not matter")]
    Instant::now()
}

fn identity(byte: u8) -> NodeIdentity {
    NodeIdentity::with_salt(NodeKey::from_bytes(&[byte; 32]), Salt::from([byte; 16]))
}

fn place() -> Context {
    let offerer = identity(2).peer_id();
    Context::answer(InfoHash::of("room"), identity(1).peer_id(), SdpHash::of("offer"), offerer)
}

fn room() -> RoomSecret {
    RoomSecret::from_key("room", &RoomKey::from([1; 32]))
}

fn transcript(answer: &str) -> Transcript {
    Transcript::new(&SdpHash::of("offer"), &SdpHash::of(answer))
}

fn seen_place() -> SightingContext {
    SightingContext::of_answer(&place(), TrackerHost::of("tracker.example")).expect("the place is an answer's")
}

/// Authentic texts of node 1, for their place: what edits begin with.
struct Authentic {
    description: String,
    sealed: String,
    sighting: String,
    confirmation: Vec<u8>,
}

static AUTHENTIC: LazyLock<Authentic> = LazyLock::new(|| {
    let sdp = "v=0\r\ns=-\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n";
    let (nonce, features) = (Nonce::from([1; 32]), Features::of(["auth"]));
    let description = sign_description(sdp, &place(), &identity(1), &features, &nonce.commitment()).expect("signed");
    let sealed = seal(&description, &place(), &room().seal_key(), &mut rand::rng()).expect("short enough");
    let sighting = sight(&seen_place(), &identity(1));
    let member = room().member_key();
    let key = identity(1).key().clone();
    let confirmation = Confirmation::new(&key, Role::Answer, &transcript("answer"), &nonce, Some(&member)).encode();
    Authentic { description, sealed, sighting, confirmation }
});

/// Text and bytes of others. The first byte chooses: whether what follows is read as it is, or is a list of edits to what
/// is authentic, which then is authentic no more.
pub fn texts(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let authentic = &*AUTHENTIC;
    match first % 5 {
        0 => any_text(rest),
        1 => {
            let edited = edited(authentic.description.as_bytes(), rest);
            let Ok(text) = str::from_utf8(&edited) else { return };
            let described = verify_description(text, &place());
            let is_signed = matches!(described, Ok(Described::Signed(_)));
            assert_eq!(is_signed, text == authentic.description, "{text}");
        }
        2 => {
            let edited = edited(authentic.sealed.as_bytes(), rest);
            let Ok(text) = str::from_utf8(&edited) else { return };
            let opened = open(text, &place(), &room().seal_key());
            assert_eq!(opened.is_ok(), text == authentic.sealed, "{text}");
        }
        3 => {
            let edited = edited(authentic.sighting.as_bytes(), rest);
            let Ok(text) = str::from_utf8(&edited) else { return };
            let seen = verify_sighting(text, &seen_place());
            assert_eq!(seen.is_ok(), text == authentic.sighting, "{text}");
        }
        _ => {
            let edited = edited(&authentic.confirmation, rest);
            let expected = Expected {
                key: &identity(1).public_key(),
                commitment: &Nonce::from([1; 32]).commitment(),
                role: Role::Answer,
                transcript: &transcript("answer"),
                room: Some(&room().member_key()),
            };
            let confirmed = Confirmation::decode(&edited).and_then(|read| read.verify(&expected));
            assert_eq!(confirmed.is_ok(), edited == authentic.confirmation);
        }
    }
}

/// Each four bytes set, insert or take away one byte, or cut the rest off.
fn edited(authentic: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = authentic.to_vec();
    for [kind, high, low, value] in edits.as_chunks().0.iter().take(MAX_OPERATIONS) {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % (bytes.len() + 1);
        match kind % 8 {
            0 => bytes.insert(at, *value),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ if at < bytes.len() => bytes[at] = *value,
            _ => {}
        }
    }
    bytes
}

/// What is read is written as something that reads the same; what is not read is an error, and nothing panics.
fn any_text(bytes: &[u8]) {
    if let Ok(read) = Confirmation::decode(bytes) {
        assert_eq!(read.encode(), bytes);
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    for place in [place(), Context::offer(InfoHash::of("room"), identity(1).peer_id())] {
        let described = verify_description(text, &place);
        assert!(!matches!(described, Ok(Described::Signed(_))) || text == AUTHENTIC.description, "{text}");
        assert!(open(text, &place, &room().seal_key()).is_err() || text == AUTHENTIC.sealed, "{text}");
    }
    assert!(verify_sighting(text, &seen_place()).is_err() || text == AUTHENTIC.sighting, "{text}");
    if let Ok(link) = RoomLink::parse(text) {
        assert_eq!(RoomLink::parse(&link.reveal()), Ok(link));
    }
    if let Ok(code) = Code::parse(text) {
        assert_eq!(Code::parse(&code.reveal()), Ok(code));
    }
    if let Ok(key) = PublicKey::from_str(text) {
        assert_eq!(key.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(key) = NodeKey::from_text(text) {
        assert_eq!(NodeKey::from_text(&key.reveal()), Ok(key));
    }
    if let Ok(passphrase) = Passphrase::new(text) {
        assert_eq!(Passphrase::new(passphrase.reveal()), Ok(passphrase));
    }
    let features = Features::parse(text);
    assert_eq!(Features::parse(&features.to_string()), features);
    #[cfg(all(feature = "store", not(target_family = "wasm")))]
    if let Ok(pins) = file_store::parse(text) {
        assert!(pins.all().len() <= MAX_PINS);
    }
}

/// Two sides of a code, and what is on its way between them.
struct Sides {
    now: Instant,
    sides: [CodeExchange; 2],
    /// To which side, and what.
    on_way: Vec<(usize, Vec<u8>)>,
    /// What was sent before, for sending it again.
    sent: Vec<Vec<u8>>,
    left: [u32; 2],
    may_finish: bool,
}

/// Two sides that share a code or do not, on one channel or on two with somebody between, who delivers, drops, changes and
/// repeats what they send. They finish only with each other, and no side lets more than three guesses be tested.
pub fn exchange(data: &[u8]) {
    let (settings, rest) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    let (has_code, is_direct) = (settings & 1 == 0, settings & 2 == 0);
    let code = |text| Code::parse(text).expect("a code");
    let codes = [
        code("apple-banana-canyon-lemon"),
        code(["apple-banana-canyon-lizard", "appl bana cany lemo"][usize::from(has_code)]),
    ];
    let transcripts = [transcript("answer"), transcript(["another", "answer"][usize::from(is_direct)])];
    let now = base();
    let [shown, typed] = codes;
    let mut sides = Sides {
        now,
        sides: [
            CodeExchange::new(Side::Shows, shown, NodeKey::from_bytes(&[1; 32]), now),
            CodeExchange::new(Side::Types, typed, NodeKey::from_bytes(&[2; 32]), now),
        ],
        on_way: Vec::new(),
        sent: Vec::new(),
        left: [CODE_ATTEMPTS; 2],
        may_finish: has_code && is_direct,
    };
    for operation in rest.as_chunks().0.iter().take(MAX_OPERATIONS) {
        sides.apply(*operation, &transcripts);
    }
}

impl Sides {
    fn apply(&mut self, [kind, which, at, value]: [u8; 4], transcripts: &[Transcript; 2]) {
        let side = usize::from(which) % 2;
        match kind % 8 {
            0 | 1 => {
                for (side, transcript) in transcripts.iter().enumerate() {
                    if let Ok(Some(bytes)) = self.sides[side].begin(self.now, transcript, &mut rand::rng()) {
                        self.send(side, bytes);
                    }
                }
            }
            2 => {
                let ended = self.sides[side].channel_ended();
                self.outcome(side, ended);
            }
            3 => {
                self.now += Duration::from_secs(u64::from(value));
                for side in 0..2 {
                    // The end of an attempt, and that of the code behind it.
                    while let Some(outcome) = self.sides[side].handle_timeout(self.now) {
                        self.outcome(side, Some(outcome));
                    }
                    let next = self.sides[side].poll_timeout();
                    assert!(next.is_none_or(|next| next > self.now), "a timeout that is over is dealt with");
                }
            }
            4 if !self.sent.is_empty() => {
                let again = self.sent[usize::from(at) % self.sent.len()].clone();
                self.on_way.push((side, again));
            }
            5 => {
                if let Some((_, bytes)) = self.on_way.first_mut()
                    && let Some(byte) = bytes.get_mut(usize::from(at))
                {
                    *byte = value;
                }
            }
            _ if !self.on_way.is_empty() => {
                let (side, bytes) = self.on_way.remove(0);
                let outcome = self.sides[side].receive(self.now, &bytes);
                self.outcome(side, outcome);
            }
            _ => {}
        }
    }

    fn send(&mut self, side: usize, bytes: Vec<u8>) {
        self.sent.push(bytes.clone());
        self.on_way.push((1 - side, bytes));
    }

    fn outcome(&mut self, side: usize, outcome: Option<ExchangeOutput>) {
        match outcome {
            None => {}
            Some(ExchangeOutput::Send(bytes)) => self.send(side, bytes),
            Some(ExchangeOutput::Finished { key, last }) => {
                assert!(self.may_finish, "two who do not share a code, or with somebody between, have finished");
                assert_eq!(key, NodeKey::from_bytes(&[2 - side as u8; 32]).public_key());
                assert_eq!(self.sides[side].end(), Some(CodeEnd::Used));
                if let Some(bytes) = last {
                    self.send(side, bytes);
                }
            }
            Some(ExchangeOutput::Failed { left, .. }) => {
                assert!(left == self.left[side] || left + 1 == self.left[side], "an attempt counts once");
                self.left[side] = left;
                let end = (left == 0).then_some(CodeEnd::Guessed);
                assert_eq!(self.sides[side].end(), end);
            }
            Some(ExchangeOutput::Expired) => assert_eq!(self.sides[side].end(), Some(CodeEnd::Expired)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(data in vec(any::<u8>(), 0..80)) {
            texts(&data);
        }

        /// What is nearly as it should be: words, signs and letters that the parsers look for.
        #[test]
        fn any_likely_text_is_read_or_refused(
            parts in vec(prop::sample::select(vec![
                "a=p2pt:", "2", " f=", "auth", ",", " k=", " s=", " c=", "AAAA", "a=p2pt-sig:", "\r\n", "\n", "m=", "v=0",
                "p2pt:", "e1:", "seen:1:", "#", "%", "room", "apple", "lemon", "-", " ", "p2pt-secret-", "é",
                "0123456789abcdefghijklmnopqrstuvwxyz", "BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            ]), 0..16),
        ) {
            texts(&[b"\0", parts.concat().as_bytes()].concat());
        }

        #[test]
        fn what_is_edited_is_authentic_no_more(kind in 1_u8..5, edits in vec(any::<[u8; 4]>(), 0..4)) {
            texts(&[&[kind][..], edits.as_flattened()].concat());
        }

        #[test]
        fn any_sequence_keeps_the_rules_of_codes(settings in 0_u8..4, operations in vec(any::<[u8; 4]>(), 0..60)) {
            exchange(&[&[settings][..], operations.as_flattened()].concat());
        }
    }
}
