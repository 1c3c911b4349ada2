//! Words that people choose or are given.

use std::fmt;

use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::words::{WORD_COUNT, word};

/// Words of a passphrase that is made here: 50 bits. Stretched, to try all of them takes a machine that tries a thousand a
/// second 36,000 years.
const WORDS: usize = 5;

/// Fewest characters: eleven random small letters are worth five random words.
const MIN_CHARS: usize = 11;

/// Most bytes: no one types more, and what stretches it reads all of it.
const MAX_BYTES: usize = 1024;

/// Text is no passphrase for a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// It is so short that it can be found by trying.
    #[error(
        "a passphrase needs 11 characters at least, and should be five random words: this one of {found} could be found \
         by trying, without asking anyone"
    )]
    Short {
        /// Characters there are.
        found: usize,
    },
    /// It is longer than 1,024 bytes.
    #[error("a passphrase has 1024 bytes at most, and this one has {found}")]
    Long {
        /// Bytes there are.
        found: usize,
    },
}

/// What the members of a room type to join it.
///
/// It is erased when it is dropped, and shown by [`reveal`](Self::reveal) alone.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Five random words with hyphens between them.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        Self(words(rng, WORDS))
    }

    /// A passphrase of one's own. Spaces at its ends are cut off, and several between two words count as one, since people
    /// do not see them; everything else counts, capitals too.
    pub fn new(text: &str) -> Result<Self, PassphraseError> {
        if text.len() > MAX_BYTES {
            return Err(PassphraseError::Long { found: text.len() });
        }
        let mut passphrase = Zeroizing::new(String::with_capacity(text.len()));
        for word in text.split_whitespace() {
            if !passphrase.is_empty() {
                passphrase.push(' ');
            }
            passphrase.push_str(word);
        }
        match passphrase.chars().count() {
            found @ ..MIN_CHARS => Err(PassphraseError::Short { found }),
            _ => Ok(Self(passphrase)),
        }
    }

    /// The passphrase as text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Passphrase {}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// The numbers of random words.
pub(crate) fn draw_numbers<const N: usize>(rng: &mut impl CryptoRng) -> [u16; N] {
    // Two to the tenth words: cutting a random number off is no less random.
    [(); N].map(|()| (rng.next_u32() % WORD_COUNT as u32) as u16)
}

fn words(rng: &mut impl CryptoRng, count: usize) -> Zeroizing<String> {
    // Made with its whole room, as one that grows leaves what it was behind.
    let mut text = Zeroizing::new(String::with_capacity(9 * count));
    for place in 0..count {
        let [number] = draw_numbers(rng);
        if place > 0 {
            text.push('-');
        }
        text.push_str(word(number));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_words_are_drawn_and_shown_only_when_asked() {
        let drawn = Passphrase::draw(&mut rand::rng());
        assert_eq!(drawn.reveal().split('-').count(), 5);
        assert_eq!(Passphrase::new(drawn.reveal()), Ok(drawn.clone()));
        assert_ne!(Passphrase::draw(&mut rand::rng()), drawn);
        assert_eq!(format!("{drawn:?}"), "Passphrase(…)");
    }

    #[test]
    fn spaces_that_nobody_sees_do_not_matter() {
        let shown = |text| Passphrase::new(text).map(|passphrase| passphrase.reveal().to_owned());
        assert_eq!(shown("  one two\t three \n"), Ok("one two three".into()));
        assert_ne!(shown("One two three"), shown("one two three"));
        assert_eq!(shown("tenletters"), Err(PassphraseError::Short { found: 10 }));
        assert_eq!(shown("  ten    let  "), Err(PassphraseError::Short { found: 7 }));
        assert_eq!(shown("elevenlette"), Ok("elevenlette".into()));
        assert_eq!(shown(&"a".repeat(1025)), Err(PassphraseError::Long { found: 1025 }));
    }
}
