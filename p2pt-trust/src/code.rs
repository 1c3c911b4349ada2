//! Four words by which two people find and recognise each other.

use std::fmt;

use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::encoding::{fields, hash, to_base64};
use crate::passphrase::draw_numbers;
use crate::room::HIDDEN;
use crate::words::{number_of, word};

/// Words of a code.
const WORDS: usize = 4;

/// Words of it that name the swarm where the two meet.
const MEETING_WORDS: usize = 2;

/// Text is no code. It does not say which word was meant: that would be a part of a secret, in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// It has another number of words.
    #[error("a code has four words, and these are {found}")]
    Words {
        /// Words there are.
        found: usize,
    },
    /// One is not among the words of which codes are made.
    #[error("the {} word is in no code: there is a slip in it", ["first", "second", "third", "last"][*.place.min(&3)])]
    NoSuchWord {
        /// Which, from 0 to 3.
        place: usize,
    },
}

/// Four of 1,024 words, such as `apple-bridge-canyon-lemon`, which one person reads to another.
///
/// The first two name the swarm in which the two nodes meet, so that a tracker can find them by trying. The last two are a
/// secret of 20 bits, of which each [`CodeExchange`](crate::CodeExchange) lets an attacker test one guess. A code
/// is for two nodes and for ten minutes. It is erased when it is dropped, and shown by [`reveal`](Self::reveal) alone.
#[derive(Clone)]
pub struct Code(Zeroizing<[u16; WORDS]>);

impl Code {
    /// A new code.
    pub fn draw(rng: &mut impl CryptoRng) -> Self {
        Self(Zeroizing::new(draw_numbers(rng)))
    }

    /// Reads a code as people type it: words with hyphens or spaces between them, in any case. Of a word its first four
    /// letters are enough. A word with one slip in it is never taken for another.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let is_between = |c: char| c == '-' || c == ',' || c.is_whitespace();
        let words = || text.split(is_between).filter(|word| !word.is_empty());
        let found = words().take(100).count();
        if found != WORDS {
            return Err(CodeError::Words { found });
        }
        let mut code = Self(Zeroizing::new([0; WORDS]));
        for (place, word) in words().enumerate() {
            code.0[place] = number_of(word).ok_or(CodeError::NoSuchWord { place })?;
        }
        Ok(code)
    }

    /// The code as it is read out: four words with hyphens between them.
    pub fn reveal(&self) -> Zeroizing<String> {
        // Made with its whole room, as one that grows leaves what it was behind.
        let mut text = Zeroizing::new(String::with_capacity(9 * WORDS));
        for (place, number) in self.0.iter().enumerate() {
            if place > 0 {
                text.push('-');
            }
            text.push_str(word(*number));
        }
        text
    }

    /// The identifier of the swarm in which the two nodes meet. It looks like that of a room with a secret.
    pub fn hidden_identifier(&self) -> String {
        let [first, second, ..] = *self.0;
        let hash = hash("p2pt/code/1/name", &[word(first).as_bytes(), word(second).as_bytes()]);
        format!("{HIDDEN}{}", to_base64(&hash))
    }

    /// What the key exchange takes for a password.
    pub(crate) fn secret(&self) -> Zeroizing<Vec<u8>> {
        let words = self.0[MEETING_WORDS..].iter().map(|number| word(*number).as_bytes());
        Zeroizing::new(fields("p2pt/code/1/secret", &words.collect::<Vec<_>>()))
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = Code(Zeroizing::new([9, 100, 500, 1023]));
        let text = code.reveal();
        assert_eq!(text.split('-').count(), 4);
        for typed in
            [text.to_string(), text.replace('-', "  ").to_uppercase(), format!(" {}\n", text.replace('-', ", "))]
        {
            assert_eq!(Code::parse(&typed), Ok(code.clone()), "{typed}");
        }
        let short: Vec<&str> = text.split('-').map(|word| &word[..4]).collect();
        assert_eq!(Code::parse(&short.join("-")), Ok(code.clone()));
        assert_eq!(Code::parse("apple bridge"), Err(CodeError::Words { found: 2 }));
        assert_eq!(Code::parse(""), Err(CodeError::Words { found: 0 }));
        let error = Code::parse("apple-bridge-xylophone-apple").unwrap_err();
        assert_eq!(error.to_string(), "the third word is in no code: there is a slip in it");
        assert_eq!(format!("{code:?}"), "Code(…)");
    }

    #[test]
    fn two_words_name_the_swarm_and_two_are_secret() {
        let [one, same, other] = [[1, 2, 3, 4], [1, 2, 5, 6], [2, 1, 3, 4]].map(|words| Code(Zeroizing::new(words)));
        assert_eq!(one.hidden_identifier(), same.hidden_identifier());
        assert_eq!(one.hidden_identifier().len(), 6 + 43);
        assert_ne!(one.hidden_identifier(), other.hidden_identifier());
        assert_ne!(one.secret(), same.secret());
        assert_eq!(one.secret(), other.secret());
        assert_ne!(one, same);
    }
}
