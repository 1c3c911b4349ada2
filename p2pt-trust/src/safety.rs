//! What two people compare to know that no other peer stands between them.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::confirmation::{Nonce, Transcript};
use crate::words::word;

/// What the two ends of a connection see alike, and differently if another peer stands between: three words, or five
/// pictures.
///
/// Two people compare it by voice or side by side, once; what they have compared is then kept as a pin. It has 30 bits: who
/// stands between has one try in a billion at each connection, since both sides were bound to their [`Nonce`]s before
/// either was known.
///
/// `Display` writes the three words.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SafetyCode(u32);

impl SafetyCode {
    /// The code of a connection, of the nonces of both confirmations.
    pub fn new(transcript: &Transcript, offerer: &Nonce, answerer: &Nonce) -> Self {
        let secret = Zeroizing::new([*offerer.0, *answerer.0].concat());
        let mut bytes = [0; 4];
        // Only lengths beyond 8,160 bytes fail.
        let expanded = Hkdf::<Sha256>::new(Some(&transcript.0), &secret).expand(b"p2pt/safety/1", &mut bytes);
        debug_assert!(expanded.is_ok());
        Self(u32::from_be_bytes(bytes) >> 2)
    }

    /// Three of 1,024 words.
    pub fn words(&self) -> [&'static str; 3] {
        [20, 10, 0].map(|shift| word((self.0 >> shift & 0x3ff) as u16))
    }

    /// Five of 64 pictures. They say the same as the words: those are for the telephone, these for two screens.
    pub fn emoji(&self) -> [Emoji; 5] {
        [24, 18, 12, 6, 0].map(|shift| {
            let (symbol, name) = EMOJI[(self.0 >> shift & 0x3f) as usize];
            Emoji { symbol, name }
        })
    }
}

impl fmt::Display for SafetyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

impl fmt::Debug for SafetyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafetyCode({self})")
    }
}

/// A picture, and the word for it where pictures cannot be shown or seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emoji {
    /// The picture, one character.
    pub symbol: char,
    /// Its name.
    pub name: &'static str,
}

/// Pictures that are told apart at a glance, in any font. All are of Unicode 6.1 or earlier, one code point each.
#[rustfmt::skip]
pub(crate) const EMOJI: [(char, &str); 64] = [
    ('🐶', "dog"), ('🐱', "cat"), ('🐴', "horse"), ('🐮', "cow"), ('🐷', "pig"), ('🐘', "elephant"), ('🐰', "rabbit"), ('🐼', "panda"),
    ('🐸', "frog"), ('🐵', "monkey"), ('🐧', "penguin"), ('🐢', "turtle"), ('🐟', "fish"), ('🐙', "octopus"), ('🐝', "bee"), ('🐌', "snail"),
    ('🐍', "snake"), ('🐳', "whale"), ('🌵', "cactus"), ('🌲', "tree"), ('🌻', "sunflower"), ('🌹', "rose"), ('🍄', "mushroom"), ('🍀', "clover"),
    ('🌍', "globe"), ('🌙', "moon"), ('⛄', "snowman"), ('🔥', "fire"), ('🌈', "rainbow"), ('⚡', "lightning"), ('⚓', "anchor"), ('☂', "umbrella"),
    ('🍌', "banana"), ('🍎', "apple"), ('🍓', "strawberry"), ('🍇', "grapes"), ('🍒', "cherries"), ('🌽', "corn"), ('🍕', "pizza"), ('🎂', "cake"),
    ('☕', "cup"), ('🍦', "ice cream"), ('👓', "glasses"), ('🎩', "hat"), ('👑', "crown"), ('👟', "shoe"), ('🔧', "spanner"), ('🔨', "hammer"),
    ('📞', "telephone"), ('💡', "bulb"), ('📚', "books"), ('✂', "scissors"), ('🔒', "lock"), ('🔑', "key"), ('🔔', "bell"), ('🎈', "balloon"),
    ('🎸', "guitar"), ('🎺', "trumpet"), ('🎁', "gift"), ('⚽', "ball"), ('🚀', "rocket"), ('🚲', "bicycle"), ('🚂', "train"), ('⛵', "sailing boat"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::context::SdpHash;

    #[test]
    fn pictures_are_told_apart() {
        let names: BTreeSet<_> = EMOJI.iter().map(|(_, name)| name).collect();
        let symbols: BTreeSet<_> = EMOJI.iter().map(|(symbol, _)| symbol).collect();
        assert_eq!((names.len(), symbols.len()), (64, 64));
    }

    #[test]
    fn words_and_pictures_are_the_same_thirty_bits() {
        let code = SafetyCode(0x3ff0_0402);
        assert_eq!(code.words(), [word(1023), word(1), word(2)]);
        assert_eq!(code.to_string(), format!("{} {} {}", word(1023), word(1), word(2)));
        assert_eq!(code.emoji().map(|emoji| emoji.name), [63, 60, 0, 16, 2].map(|number: usize| EMOJI[number].1));
    }

    #[test]
    fn all_of_it_matters() {
        let transcript = |text| Transcript::new(&SdpHash::of("offer"), &SdpHash::of(text));
        let nonce = |byte| Nonce::from([byte; 32]);
        let code = SafetyCode::new(&transcript("answer"), &nonce(1), &nonce(2));
        assert_eq!(code, SafetyCode::new(&transcript("answer"), &nonce(1), &nonce(2)));
        assert_ne!(code, SafetyCode::new(&transcript("answer"), &nonce(2), &nonce(1)));
        assert_ne!(code, SafetyCode::new(&transcript("answer"), &nonce(1), &nonce(3)));
        assert_ne!(code, SafetyCode::new(&transcript("other"), &nonce(1), &nonce(2)));
    }
}
