//! The key exchange behind codes: SPAKE2 over the group of Ed25519, as the crate `spake2` and python-spake2 compute it.
//!
//! This file alone knows which it is, and [`VERSION`] names it on the wire. SPAKE2 is proven, and no implementation of a
//! balanced exchange in Rust has been audited. This one says that it may not be constant-time, and it does not erase its
//! state; both count for little where a password is random, is used once and is void after ten minutes.

use hkdf::Hkdf;
use hmac::Hmac;
use rand::CryptoRng;
use sha2::Sha256;
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::Zeroizing;

use crate::code::Code;
use crate::confirmation::Transcript;
use crate::encoding::{fields, hmac};

/// Names this exchange, and all else in the messages of codes.
pub(crate) const VERSION: u8 = 1;

/// Bytes of an element on the wire: the side, and a point.
pub(crate) const ELEMENT_BYTES: usize = 33;

/// Which of the two a side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Has made the code and shows it.
    Shows,
    /// Has been told the code and types it.
    Types,
}

impl Side {
    /// The word for it in what is hashed and signed.
    pub(crate) fn word(self) -> &'static [u8] {
        match self {
            Self::Shows => b"shows",
            Self::Types => b"types",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Shows => Self::Types,
            Self::Types => Self::Shows,
        }
    }
}

/// One side of an exchange that has sent its element.
pub(crate) struct Pake {
    state: Spake2<Ed25519Group>,
    transcript: Transcript,
}

impl Pake {
    /// Begins, bound to the connection; the element is for the other side.
    pub(crate) fn start(
        side: Side,
        code: &Code,
        transcript: &Transcript,
        rng: &mut impl CryptoRng,
    ) -> (Self, [u8; ELEMENT_BYTES]) {
        let password = Password::new(&*code.secret());
        let identity = |side: Side| Identity::new(&fields("p2pt/code/1/side", &[side.word(), &transcript.0]));
        let (a, b) = (identity(Side::Shows), identity(Side::Types));
        let (state, sent) = match side {
            Side::Shows => Spake2::start_a_with_rng(&password, &a, &b, rng),
            Side::Types => Spake2::start_b_with_rng(&password, &a, &b, rng),
        };
        let mut element = [0; ELEMENT_BYTES];
        element.copy_from_slice(&sent);
        (Self { state, transcript: *transcript }, element)
    }

    /// The keys that both sides have if both have the same code; `None` if that is no element of the other side.
    pub(crate) fn finish(self, element: &[u8; ELEMENT_BYTES]) -> Option<Keys> {
        let shared = Zeroizing::new(self.state.finish(element).ok()?);
        Some(Keys { hkdf: Hkdf::new(Some(&self.transcript.0), &shared) })
    }
}

/// What both sides derive.
pub(crate) struct Keys {
    hkdf: Hkdf<Sha256>,
}

impl Keys {
    /// With which this side proves that it has the same keys.
    pub(crate) fn confirmation(&self, side: Side) -> Hmac<Sha256> {
        hmac(&self.derive("confirm", side.word()))
    }

    /// With which this side seals its node key.
    pub(crate) fn seal(&self, side: Side) -> Zeroizing<[u8; 32]> {
        self.derive("seal", side.word())
    }

    /// Names the exchange; public.
    pub(crate) fn session(&self) -> Zeroizing<[u8; 32]> {
        self.derive("session", b"")
    }

    fn derive(&self, what: &str, side: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        // Only lengths beyond 8,160 bytes fail.
        let expanded = self.hkdf.expand(&fields("p2pt/code/1/key", &[what.as_bytes(), side]), &mut *key);
        debug_assert!(expanded.is_ok());
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::SdpHash;

    /// The session keys of both sides, each with its code and the transcript that it began with.
    fn sessions(codes: [&str; 2], answers: [&str; 2]) -> [Vec<u8>; 2] {
        let transcript = |answer| Transcript::new(&SdpHash::of("offer"), &SdpHash::of(answer));
        let start = |side, code, answer| {
            let code = Code::parse(code).unwrap();
            let (mut pake, element) = Pake::start(side, &code, &transcript(answer), &mut rand::rng());
            // What follows from the exchange itself, without what else is bound to the connection.
            pake.transcript = transcript("same");
            (pake, element)
        };
        let (a, to_b) = start(Side::Shows, codes[0], answers[0]);
        let (b, to_a) = start(Side::Types, codes[1], answers[1]);
        [a.finish(&to_a), b.finish(&to_b)].map(|keys| keys.unwrap().session().to_vec())
    }

    #[test]
    fn the_exchange_is_bound_to_code_and_connection() {
        let (code, other) = ("apple-banana-canyon-lemon", "apple-banana-canyon-lizard");
        let [one, two] = sessions([code, code], ["answer", "answer"]);
        assert_eq!(one, two);
        let [one, two] = sessions([code, other], ["answer", "answer"]);
        assert_ne!(one, two);
        let [one, two] = sessions([code, code], ["answer", "another"]);
        assert_ne!(one, two);
    }

    #[test]
    fn an_element_of_the_same_side_is_none() {
        let (code, transcript) = (Code::draw(&mut rand::rng()), Transcript([0; 32]));
        let [(one, element), _] = [0; 2].map(|_| Pake::start(Side::Shows, &code, &transcript, &mut rand::rng()));
        assert!(one.finish(&element).is_none());
    }
}
