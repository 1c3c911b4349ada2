//! How two nodes that share a code get to know each other's keys.

use std::fmt;
use std::time::Duration;

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::Mac;
use rand::CryptoRng;

use crate::Instant;
use crate::code::Code;
use crate::confirmation::Transcript;
use crate::encoding::{HASH_BYTES, fields};
use crate::key::{KEY_BYTES, NodeKey, PublicKey, SIGNATURE_BYTES};
use crate::pake::{ELEMENT_BYTES, Keys, Pake, Side, VERSION};

/// How long a code holds: time to read it out and type it. An attacker that finds its first two words has that long to try.
pub const CODE_LIFETIME: Duration = Duration::from_secs(600);

/// Attempts that may fail. Three guesses of a million are one chance in 350,000, and allow for two slips.
pub const CODE_ATTEMPTS: u32 = 3;

/// How long one exchange may take, which is two round trips; one that does not get on holds up the next.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a sealed key: key, signature and tag.
const SEALED_BYTES: usize = KEY_BYTES + SIGNATURE_BYTES + 16;

/// Messages, by the byte behind the version.
const ELEMENT: u8 = 1;
const REPLY: u8 = 2;
const PROOF: u8 = 3;
const LAST: u8 = 4;

/// No exchange could be begun on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// One is under way on another channel. This channel is to be closed, or to wait until that one has ended.
    #[error("an exchange of this code is under way with another peer")]
    Busy,
    /// The code is void.
    #[error("{0}")]
    Void(CodeEnd),
}

/// Why a code is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeEnd {
    /// Its ten minutes are over.
    #[error("the code has expired: make a new one")]
    Expired,
    /// Three attempts have failed. Tell the user: the code may have been guessed at.
    #[error("three attempts with this code have failed, so somebody may be guessing it: make a new one")]
    Guessed,
    /// It has done its service.
    #[error("the code has been used")]
    Used,
}

/// Why an attempt failed. The channel is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptFailure {
    /// The other side has another code, or another peer stands between.
    #[error("the other side has another code, or somebody stands between the two")]
    WrongCode,
    /// The channel ended, or nothing came for 15 s, after this side had shown what a guess can be tested with.
    #[error("the exchange was not finished")]
    Unfinished,
    /// The other side speaks another version.
    #[error("the other side has another version of codes ({found})")]
    Version {
        /// Its version.
        found: u8,
    },
    /// What came is no message of an exchange, or not the next one.
    #[error("the other side sent something that is not the next message of an exchange")]
    Malformed,
    /// The other side has the code, and not the secret of the key that it names.
    #[error("the other side has the code, and could not prove the key that it named")]
    KeyNotProven,
}

/// What has come of an input.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeOutput {
    /// This is to be sent over the channel.
    Send(Vec<u8>),
    /// The two know each other.
    Finished {
        /// The other side's key, proven: to be pinned.
        key: PublicKey,
        /// To be sent over the channel, if there is something.
        last: Option<Vec<u8>>,
    },
    /// The attempt has failed; the channel is to be closed.
    Failed {
        /// Why.
        why: AttemptFailure,
        /// Attempts that may still fail. With none left the code is void.
        left: u32,
    },
    /// The code has expired.
    Expired,
}

/// One side of a code: a state machine without input and output of its own, which takes the time as an argument.
///
/// The side that *shows* the code begins; the side that *types* it proves first that it has it, so that an attacker who
/// types learns nothing before its guess is counted. Node keys are exchanged at the end, sealed, each with a signature over
/// the exchange. There is one exchange at a time, and each can test one guess; elements may be sent at any time, see
/// [`take_over`](Self::take_over):
///
/// | message | from | holds |
/// |---|---|---|
/// | element | shows | the element of the key exchange |
/// | reply | types | its element, and the proof that it has the same key |
/// | proof | shows | its proof, and its node key, sealed |
/// | last | types | its node key, sealed |
///
/// An attempt counts as failed when it ends otherwise than with both keys, from the moment on that a guess can be tested:
/// for the side that shows, a reply has come; for the side that types, its reply has been sent. What fails before
/// that gives nothing away, and counts for nothing. The side that types is finished when it sends its last message; if
/// that is lost, the other side counts the attempt as unfinished.
pub struct CodeExchange {
    side: Side,
    code: Code,
    key: NodeKey,
    expires: Instant,
    failed: u32,
    state: State,
}

enum State {
    Idle,
    Open { transcript: Transcript, until: Instant, stage: Box<Stage> },
    Void(CodeEnd),
}

/// Which message is awaited.
enum Stage {
    /// Of the side that types.
    Element { pake: Pake, element: [u8; ELEMENT_BYTES] },
    /// Of the side that shows.
    Reply { pake: Pake },
    /// Of the side that types.
    Proof { keys: Keys },
    /// Of the side that shows.
    Last { keys: Keys },
}

impl Stage {
    /// Whether the other side could by now have tested a guess.
    fn counts(&self) -> bool {
        matches!(self, Self::Proof { .. } | Self::Last { .. })
    }
}

impl CodeExchange {
    /// A side of this code. `key` is what the other side will know this node by.
    pub fn new(side: Side, code: Code, key: NodeKey, now: Instant) -> Self {
        Self { side, code, key, expires: now + CODE_LIFETIME, failed: 0, state: State::Idle }
    }

    /// Whether the code is void, and why.
    pub fn end(&self) -> Option<CodeEnd> {
        match self.state {
            State::Void(end) => Some(end),
            _ => None,
        }
    }

    /// Begins on a channel that has opened and is confirmed. What it returns is to be sent, if anything is.
    pub fn begin(
        &mut self,
        now: Instant,
        transcript: &Transcript,
        rng: &mut impl CryptoRng,
    ) -> Result<Option<Vec<u8>>, BeginError> {
        self.check_idle(now)?;
        let (pake, element) = Pake::start(self.side, &self.code, transcript, rng);
        let (stage, sent) = match self.side {
            Side::Shows => (Stage::Reply { pake }, Some(message(ELEMENT, &[&element]))),
            Side::Types => (Stage::Element { pake, element }, None),
        };
        let stage = Box::new(stage);
        self.state = State::Open { transcript: *transcript, until: now + EXCHANGE_TIMEOUT, stage };
        Ok(sent)
    }

    /// Goes on with an exchange that another value, of the same side, code and key, has begun, and counts it here. So the side
    /// that shows can send elements over several channels at once, since they tell nothing, and take over each exchange when
    /// its reply is there: a peer that sends none holds up no other, and one guess is tested at a time.
    pub fn take_over(&mut self, now: Instant, begun: Self) -> Result<(), BeginError> {
        self.check_idle(now)?;
        let is_same = begun.side == self.side && begun.code == self.code && begun.key == self.key;
        if let State::Open { transcript, stage, .. } = begun.state
            && is_same
            && !stage.counts()
        {
            self.state = State::Open { transcript, until: now + EXCHANGE_TIMEOUT, stage };
        }
        Ok(())
    }

    /// Whether an exchange may begin.
    fn check_idle(&mut self, now: Instant) -> Result<(), BeginError> {
        match self.state {
            State::Void(end) => Err(BeginError::Void(end)),
            State::Open { .. } => Err(BeginError::Busy),
            State::Idle if now >= self.expires => {
                self.state = State::Void(CodeEnd::Expired);
                Err(BeginError::Void(CodeEnd::Expired))
            }
            State::Idle => Ok(()),
        }
    }

    /// Takes a message from the channel on which an exchange was begun. `None` if none is under way.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) -> Option<ExchangeOutput> {
        let timeout = self.handle_timeout(now);
        if timeout.is_some() {
            return timeout;
        }
        if !matches!(self.state, State::Open { .. }) {
            return None;
        }
        let State::Open { transcript, until, stage } = std::mem::replace(&mut self.state, State::Idle) else {
            return None;
        };
        let counts = stage.counts();
        match self.step(&transcript, *stage, bytes) {
            Ok(Step::Goes(stage, sent)) => {
                self.state = State::Open { transcript, until, stage };
                Some(ExchangeOutput::Send(sent))
            }
            Ok(Step::Ends(key, last)) => {
                self.state = State::Void(CodeEnd::Used);
                Some(ExchangeOutput::Finished { key, last })
            }
            Err(why) => Some(self.fail(why, counts || why == AttemptFailure::WrongCode)),
        }
    }

    /// The channel on which an exchange was begun has ended.
    pub fn channel_ended(&mut self) -> Option<ExchangeOutput> {
        let State::Open { stage, .. } = &self.state else { return None };
        let counts = stage.counts();
        Some(self.fail(AttemptFailure::Unfinished, counts))
    }

    /// What the time brings: the end of an attempt that does not get on, or that of the code. It is called until it brings
    /// nothing more, since both can be due.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ExchangeOutput> {
        match &self.state {
            State::Open { until, stage, .. } if now >= *until => {
                let counts = stage.counts();
                Some(self.fail(AttemptFailure::Unfinished, counts))
            }
            State::Idle if now >= self.expires => {
                self.state = State::Void(CodeEnd::Expired);
                Some(ExchangeOutput::Expired)
            }
            _ => None,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. An exchange that began in time may be finished.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => Some(self.expires),
            State::Open { until, .. } => Some(*until),
            State::Void(_) => None,
        }
    }

    fn fail(&mut self, why: AttemptFailure, counts: bool) -> ExchangeOutput {
        self.failed += u32::from(counts);
        let left = CODE_ATTEMPTS.saturating_sub(self.failed);
        self.state = if left == 0 { State::Void(CodeEnd::Guessed) } else { State::Idle };
        ExchangeOutput::Failed { why, left }
    }

    fn step(&self, transcript: &Transcript, stage: Stage, bytes: &[u8]) -> Result<Step, AttemptFailure> {
        let (&version, rest) = bytes.split_first().ok_or(AttemptFailure::Malformed)?;
        if version != VERSION {
            return Err(AttemptFailure::Version { found: version });
        }
        let (&kind, body) = rest.split_first().ok_or(AttemptFailure::Malformed)?;
        match (kind, stage) {
            (ELEMENT, Stage::Element { pake, element }) => {
                let theirs = body.try_into().map_err(|_| AttemptFailure::Malformed)?;
                let keys = pake.finish(theirs).ok_or(AttemptFailure::Malformed)?;
                let proof = prove(&keys, self.side, transcript);
                Ok(Step::Goes(Box::new(Stage::Proof { keys }), message(REPLY, &[&element, &proof])))
            }
            (REPLY, Stage::Reply { pake }) => {
                let (theirs, proof) = body.split_first_chunk().ok_or(AttemptFailure::Malformed)?;
                let proof = proof.try_into().map_err(|_| AttemptFailure::Malformed)?;
                let keys = pake.finish(theirs).ok_or(AttemptFailure::Malformed)?;
                verify(&keys, self.side.other(), transcript, proof)?;
                let (proof, key) = (prove(&keys, self.side, transcript), self.seal_key(&keys, transcript)?);
                Ok(Step::Goes(Box::new(Stage::Last { keys }), message(PROOF, &[&proof, &key])))
            }
            (PROOF, Stage::Proof { keys }) => {
                let (proof, sealed) = body.split_first_chunk().ok_or(AttemptFailure::Malformed)?;
                verify(&keys, self.side.other(), transcript, proof)?;
                let key = self.open_key(&keys, transcript, sealed)?;
                Ok(Step::Ends(key, Some(message(LAST, &[&self.seal_key(&keys, transcript)?]))))
            }
            (LAST, Stage::Last { keys }) => Ok(Step::Ends(self.open_key(&keys, transcript, body)?, None)),
            _ => Err(AttemptFailure::Malformed),
        }
    }

    /// This side's node key with the proof that it is this side's, for the other side alone.
    fn seal_key(&self, keys: &Keys, transcript: &Transcript) -> Result<Vec<u8>, AttemptFailure> {
        let signature = self.key.sign(&signed_bytes(keys, self.side, transcript));
        let text = [&self.key.public_key().as_bytes()[..], &signature].concat();
        // Each key seals one text, so that its nonce may be any. Only texts of gigabytes fail.
        let cipher = XChaCha20Poly1305::new((&*keys.seal(self.side)).into());
        cipher.encrypt(&XNonce::default(), &*text).map_err(|_| AttemptFailure::Malformed)
    }

    fn open_key(&self, keys: &Keys, transcript: &Transcript, sealed: &[u8]) -> Result<PublicKey, AttemptFailure> {
        if sealed.len() != SEALED_BYTES {
            return Err(AttemptFailure::Malformed);
        }
        let side = self.side.other();
        let cipher = XChaCha20Poly1305::new((&*keys.seal(side)).into());
        let text = cipher.decrypt(&XNonce::default(), sealed).map_err(|_| AttemptFailure::WrongCode)?;
        let (key, signature) = text.split_first_chunk().ok_or(AttemptFailure::Malformed)?;
        let signature = signature.try_into().map_err(|_| AttemptFailure::Malformed)?;
        let key = PublicKey::from_bytes(*key).map_err(|_| AttemptFailure::KeyNotProven)?;
        let is_proven = key.verifies(&signed_bytes(keys, side, transcript), &signature);
        if is_proven { Ok(key) } else { Err(AttemptFailure::KeyNotProven) }
    }
}

enum Step {
    Goes(Box<Stage>, Vec<u8>),
    Ends(PublicKey, Option<Vec<u8>>),
}

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![VERSION, kind];
    parts.iter().for_each(|part| bytes.extend(*part));
    bytes
}

fn prove(keys: &Keys, side: Side, transcript: &Transcript) -> [u8; HASH_BYTES] {
    let mut mac = keys.confirmation(side);
    mac.update(&transcript.0);
    mac.finalize().into_bytes().into()
}

fn verify(keys: &Keys, side: Side, transcript: &Transcript, proof: &[u8; HASH_BYTES]) -> Result<(), AttemptFailure> {
    let mut mac = keys.confirmation(side);
    mac.update(&transcript.0);
    mac.verify_slice(proof).map_err(|_| AttemptFailure::WrongCode)
}

fn signed_bytes(keys: &Keys, side: Side, transcript: &Transcript) -> Vec<u8> {
    fields("p2pt/code/1/node", &[side.word(), &transcript.0, &*keys.session()])
}

impl fmt::Debug for CodeExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.state {
            State::Idle => "idle",
            State::Open { .. } => "open",
            State::Void(_) => "void",
        };
        f.debug_struct("CodeExchange")
            .field("side", &self.side)
            .field("failed", &self.failed)
            .field("state", &stage)
            .finish()
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
