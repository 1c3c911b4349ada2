//! The bytes of JSON strings: finding what is escaped, escaping, unescaping, and mending lone surrogates.
//!
//! Decoded text is kept as WTF-8 (UTF-8 that may hold lone surrogates) until a message is whole, because a chunk
//! may end between the two halves of a surrogate pair.

/// Bytes examined at a time in long runs.
const BLOCK: usize = 32;

/// Whether blocks compile to vector instructions. WebAssembly has none unless it is asked for them, and comparing a block
/// byte by byte takes several times as long there as its words do.
const HAS_VECTORS: bool = !cfg!(all(target_family = "wasm", not(target_feature = "simd128")));

/// The longest escape, `\u0000`.
pub(crate) const LONGEST_ESCAPE: usize = 6;

/// What a backslash and a letter stand for; 0 where that is no escape. A table, as the letters of real text are past
/// predicting.
static SIMPLE: [u8; 256] = {
    let mut table = [0; 256];
    table[b'b' as usize] = 0x08;
    table[b't' as usize] = b'\t';
    table[b'n' as usize] = b'\n';
    table[b'f' as usize] = 0x0c;
    table[b'r' as usize] = b'\r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'/' as usize] = b'/';
    table
};

/// The letter that stands for a byte behind a backslash; 0 where `JSON.stringify` knows none.
static SHORT: [u8; 256] = {
    let mut table = [0; 256];
    let letters = b"btnfr\"\\";
    let mut index = 0;
    while index < letters.len() {
        table[SIMPLE[letters[index] as usize] as usize] = letters[index];
        index += 1;
    }
    table
};

/// A set of ASCII bytes: those below `below`, and the two in `also`.
struct ByteSet {
    below: u8,
    also: [u8; 2],
}

/// What may not stand for itself inside a JSON string.
const SPECIAL: ByteSet = ByteSet { below: 0x20, also: *b"\"\\" };
const BACKSLASH: ByteSet = ByteSet { below: 0, also: *b"\\\\" };

impl ByteSet {
    #[inline]
    fn has(&self, byte: u8) -> bool {
        (byte < self.below) | (byte == self.also[0]) | (byte == self.also[1])
    }

    /// The index of the first byte of the set within eight, found without a loop.
    #[inline]
    fn find_in_word(&self, word: &[u8; 8]) -> Option<usize> {
        const LOW: u64 = u64::from_le_bytes([0x01; 8]);
        const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
        let word = u64::from_le_bytes(*word);
        // The high bit of each byte that is below `limit`; right up to and including the lowest such byte, behind
        // which a borrow may have gone.
        let below = |word: u64, limit: u8| word.wrapping_sub(LOW * u64::from(limit)) & !word & HIGH;
        let equal = |byte: u8| below(word ^ (LOW * u64::from(byte)), 1);
        let hits = below(word, self.below) | equal(self.also[0]) | equal(self.also[1]);
        (hits != 0).then(|| hits.trailing_zeros() as usize / 8)
    }

    /// The index of the first byte of the set, or the length.
    ///
    /// Short runs end in the first words; long ones are skipped in blocks, which compile to vector instructions
    /// because they are compared as a whole.
    #[inline]
    fn find(&self, bytes: &[u8]) -> usize {
        let skipped = match bytes.first_chunk().map(|word| self.find_in_word(word)) {
            Some(Some(at)) => return at,
            Some(None) => 8,
            None => 0,
        };
        let has_any = |block: &[u8; BLOCK]| block.iter().fold(false, |any, &byte| any | self.has(byte));
        let (blocks, _) = bytes[skipped..].as_chunks::<BLOCK>();
        let clean = if HAS_VECTORS { blocks.iter().position(has_any).unwrap_or(blocks.len()) } else { 0 };
        let skipped = skipped + clean * BLOCK;
        let (words, rest) = bytes[skipped..].as_chunks::<8>();
        for (index, word) in words.iter().enumerate() {
            if let Some(at) = self.find_in_word(word) {
                return skipped + index * 8 + at;
            }
        }
        let tail = rest.iter().position(|&byte| self.has(byte)).unwrap_or(rest.len());
        skipped + words.len() * 8 + tail
    }
}

/// How many leading bytes stand for themselves inside a JSON string.
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    SPECIAL.find(bytes)
}

/// How many leading bytes are no backslash.
pub(crate) fn backslash_free_run(bytes: &[u8]) -> usize {
    BACKSLASH.find(bytes)
}

/// An upper bound of the bytes that escaping adds: exact but for `\b \t \n \f \r`, which are shorter than counted.
pub(crate) fn escape_growth(bytes: &[u8]) -> usize {
    let growth = |byte: u8| u8::from((byte == b'"') | (byte == b'\\')) + 5 * u8::from(byte < 0x20);
    // A block's sum fits a byte (32 * 5), which keeps the additions as narrow as the compares.
    bytes.chunks(BLOCK).map(|block| usize::from(block.iter().map(|&byte| growth(byte)).sum::<u8>())).sum()
}

/// Appends as much of `text` as fits into `room` bytes once escaped as `JSON.stringify` does, never part of a
/// character, and returns how many bytes of `text` that was.
pub(crate) fn push_escaped(out: &mut String, text: &str, mut room: usize) -> usize {
    let mut taken = 0;
    loop {
        let plain = push_plain(out, &text[taken..], room);
        taken += plain;
        room -= plain;
        let Some(&byte) = text.as_bytes().get(taken).filter(|byte| SPECIAL.has(**byte)) else { return taken };
        let short = SHORT[usize::from(byte)];
        let length = if short == 0 { LONGEST_ESCAPE } else { 2 };
        if length > room {
            return taken;
        }
        if short == 0 {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.push_str("\\u00");
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 0xf)]));
        } else {
            out.push('\\');
            out.push(char::from(short));
        }
        room -= length;
        taken += 1;
    }
}

/// Appends the text up to the first byte that must be escaped, but not more than `room` bytes and never part of a
/// character, and returns how many bytes that was.
#[inline]
fn push_plain(out: &mut String, text: &str, room: usize) -> usize {
    let mut taken = 0;
    // Escapes are often close to each other. To copy eight bytes and take some back is quicker than to copy a few.
    if let Some(word) = text.get(..8)
        && room.min(out.capacity() - out.len()) >= 8
    {
        let stop = word.as_bytes().first_chunk().and_then(|word| SPECIAL.find_in_word(word));
        out.push_str(word);
        if let Some(at) = stop {
            out.truncate(out.len() - 8 + at);
            return at;
        }
        taken = 8;
    }
    let window = &text.as_bytes()[..text.len().min(room)];
    let end = floor_char_boundary(text, taken + plain_run(&window[taken..]));
    out.push_str(&text[taken..end]);
    end
}

/// The last character boundary at or before `at`.
fn floor_char_boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The body of a JSON string as it stands in a frame, checked, not yet decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawText<'a> {
    /// Up to and including the closing quote.
    quoted: &'a [u8],
    decoded_len: usize,
}

impl<'a> RawText<'a> {
    /// Reads a string whose opening quote has been consumed; returns it and the bytes after its closing quote.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut decoded_len = 0;
        let end = walk(bytes, |_, plain, code| decoded_len += plain + code.map_or(0, wtf8_len))?;
        let (quoted, rest) = bytes.split_at(end + 1);
        Some((Self { quoted, decoded_len }, rest))
    }

    /// Bytes of the decoded text in WTF-8.
    pub(crate) fn decoded_len(&self) -> usize {
        self.decoded_len
    }

    /// The text as it stands, if nothing in it is escaped: every escape is longer than what it stands for.
    fn unescaped(&self) -> Option<&'a [u8]> {
        self.quoted.strip_suffix(b"\"").filter(|body| body.len() == self.decoded_len)
    }

    /// Appends the decoded text as WTF-8.
    pub(crate) fn decode_into(&self, out: &mut Vec<u8>) {
        if let Some(text) = self.unescaped() {
            out.extend_from_slice(text);
            return;
        }
        let decoded = walk(self.quoted, |bytes, plain, code| {
            push_run(out, bytes, plain);
            if let Some(code) = code {
                push_wtf8(out, code);
            }
        });
        debug_assert!(decoded.is_some(), "checked by read");
    }

    /// The decoded text as WTF-8, in exactly the memory it needs.
    pub(crate) fn decode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.decoded_len);
        self.decode_into(&mut out);
        out
    }

    /// Whether the decoded text equals `text`.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.decoded_len == text.len()
            && self.unescaped().map_or_else(|| self.decode() == text.as_bytes(), |body| body == text.as_bytes())
    }
}

/// Visits a JSON string's body as plain runs, each at the front of the bytes given and of the length given, with the
/// code point of the escape that ends it. Returns the index of the closing quote. `None`: unterminated, a bare control
/// character, or a bad escape.
fn walk(bytes: &[u8], mut visit: impl FnMut(&[u8], usize, Option<u32>)) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let run = plain_run(rest);
        at += run;
        match rest.get(run)? {
            b'"' => {
                visit(rest, run, None);
                return Some(at);
            }
            b'\\' => {
                let (code, consumed) = unescape(&bytes[at..])?;
                visit(rest, run, Some(code));
                at += consumed;
            }
            _ => return None,
        }
    }
}

/// Appends the first `run` bytes.
#[inline]
fn push_run(out: &mut Vec<u8>, bytes: &[u8], run: usize) {
    match bytes.first_chunk::<8>() {
        // As in `push_plain`.
        Some(word) if run < 8 && out.capacity() - out.len() >= 8 => {
            out.extend_from_slice(word);
            out.truncate(out.len() - 8 + run);
        }
        _ => out.extend_from_slice(&bytes[..run]),
    }
}

/// The code point of the escape at the front (a surrogate if it is a lone one), and the bytes it took.
#[inline]
fn unescape(bytes: &[u8]) -> Option<(u32, usize)> {
    match SIMPLE[usize::from(*bytes.get(1)?)] {
        0 => unescape_unicode(bytes),
        byte => Some((byte.into(), 2)),
    }
}

fn unescape_unicode(bytes: &[u8]) -> Option<(u32, usize)> {
    let unit = unicode_escape(bytes)?;
    match unicode_escape(&bytes[6..]).and_then(|low| combine(unit, low)) {
        Some(code) => Some((code, 12)),
        None => Some((unit, 6)),
    }
}

/// The code unit of the escape at the front: `\u` and four hexadecimal digits.
pub(crate) fn unicode_escape(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

/// Whether the code unit is half of a surrogate pair.
pub(crate) fn is_surrogate(unit: u32) -> bool {
    (0xd800..0xe000).contains(&unit)
}

/// The code point of a surrogate pair, if the two units are one.
pub(crate) fn combine(high: u32, low: u32) -> Option<u32> {
    let pair = (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low);
    pair.then(|| 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
}

fn wtf8_len(code: u32) -> usize {
    char::from_u32(code).map_or(3, char::len_utf8)
}

fn push_wtf8(out: &mut Vec<u8>, code: u32) {
    match char::from_u32(code) {
        Some(ascii @ '\0'..'\u{80}') => out.push(ascii as u8),
        Some(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend_from_slice(&[0xed, 0x80 | (code >> 6 & 0x3f) as u8, 0x80 | (code & 0x3f) as u8]),
    }
}

/// The surrogate at the front of WTF-8.
fn wtf8_surrogate(bytes: &[u8]) -> Option<u32> {
    match bytes {
        &[0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, ..] => {
            Some(0xd000 | u32::from(second & 0x3f) << 6 | u32::from(third & 0x3f))
        }
        _ => None,
    }
}

/// Turns WTF-8 into text: surrogates that meet become the character they stand for, lone ones U+FFFD. The text is
/// never longer than the bytes. `None` if the bytes are not WTF-8.
pub(crate) fn into_text(bytes: Vec<u8>) -> Option<String> {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Some(text),
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    loop {
        let (valid, bad) = match std::str::from_utf8(rest) {
            Ok(valid) => (valid, &[][..]),
            Err(error) => {
                let (valid, bad) = rest.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).ok()?, bad)
            }
        };
        text.push_str(valid);
        if bad.is_empty() {
            return Some(text);
        }
        let first = wtf8_surrogate(bad)?;
        let pair = wtf8_surrogate(&bad[3..]).and_then(|second| combine(first, second)).and_then(char::from_u32);
        text.push(pair.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &bad[if pair.is_some() { 6 } else { 3 }..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn is_special(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    /// Of any characters, or of letters and what must be escaped, near and far.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![".{0,40}", "[a-z]{0,20}[\\n\"\u{1}aé漢]{0,20}[a-z]{0,20}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn runs_end_where_they_should(
            plain in vec(any::<u8>().prop_filter("plain", |byte| !is_special(*byte)), 0..200),
            special in prop::sample::select(b"\"\\\0\n\x1f".to_vec()), rest in vec(any::<u8>(), 0..100),
        ) {
            let bytes = [plain.as_slice(), &[special], rest.as_slice()].concat();
            prop_assert_eq!(plain_run(&bytes), plain.len());
            prop_assert_eq!(plain_run(&plain), plain.len());
            let backslash = bytes.iter().position(|&byte| byte == b'\\').unwrap_or(bytes.len());
            prop_assert_eq!(backslash_free_run(&bytes), backslash);
        }

        #[test]
        fn escaping_stops_where_the_room_ends(
            text in text(), room in 0usize..80, capacity in 0usize..120,
        ) {
            let mut out = String::with_capacity(capacity);
            let taken = push_escaped(&mut out, &text, room);
            prop_assert!(out.len() > capacity || out.capacity() == capacity, "it grew for less than it holds");
            let escaped = |text: &str| serde_json::to_string(text).unwrap();
            prop_assert_eq!(format!("\"{out}\""), escaped(&text[..taken]));
            prop_assert!(out.len() <= room);
            if let Some(next) = text[taken..].chars().next() {
                prop_assert!(escaped(&text[..taken + next.len_utf8()]).len() - 2 > room, "more would have fitted");
            }
        }

        #[test]
        fn what_was_escaped_is_read_back(text in text()) {
            let json = serde_json::to_string(&text).unwrap();
            let (read, rest) = RawText::read(&json.as_bytes()[1..]).unwrap();
            let decoded = read.decode();
            prop_assert_eq!((decoded.as_slice(), rest, decoded.capacity()), (text.as_bytes(), &b""[..], text.len()));
        }

        #[test]
        fn any_bytes_become_text_no_longer_than_they_are(bytes in vec(prop::sample::select(b"a\xed\xa0\xbd\xb8\x80\xf0\x9f".to_vec()), 0..20)) {
            let len = bytes.len();
            let valid = String::from_utf8(bytes.clone()).ok();
            let text = into_text(bytes);
            prop_assert!(valid.is_none() || text == valid);
            prop_assert!(text.is_none_or(|text| text.len() <= len));
        }
    }

    #[test]
    fn every_ascii_character_is_escaped_as_javascript_does_and_read_back() {
        let text: String = (0..0x80).map(char::from).collect();
        let mut out = String::new();
        assert_eq!(push_escaped(&mut out, &text, usize::MAX / 2), text.len());
        assert_eq!(format!("\"{out}\""), serde_json::to_string(&text).unwrap());
        assert!(out.len() - text.len() <= escape_growth(text.as_bytes()));
        let (read, rest) = RawText::read(&[out.as_bytes(), b"\" rest"].concat())
            .map(|(read, rest)| (read.decode(), rest.to_vec()))
            .unwrap();
        assert_eq!((read.as_slice(), rest.as_slice()), (text.as_bytes(), b" rest".as_slice()));
        assert_eq!(read.capacity(), text.len());
    }

    #[test]
    fn surrogates_meet_or_are_replaced() {
        let decode = |json: &str| {
            let text = RawText::read(json.as_bytes()).unwrap().0;
            let bytes = text.decode();
            assert_eq!(bytes.len(), text.decoded_len());
            into_text(bytes).unwrap()
        };
        assert_eq!(decode(r#"\ud83d\ude00""#), "😀");
        assert_eq!(decode(r#"\uD83D\uDE00""#), "😀");
        assert_eq!(RawText::read(br#"\ud83d\ude00""#).unwrap().0.decoded_len(), 4, "paired at once where possible");
        assert_eq!(decode(r#"a\ud83d""#), "a\u{fffd}");
        assert_eq!(decode(r#"\ude00\ud83d""#), "\u{fffd}\u{fffd}");
        assert_eq!(decode(r#"\ud83d\ud83d\ude00é""#), "\u{fffd}😀é");
        assert_eq!(decode(r#"\ud83d\n\ude00""#), "\u{fffd}\n\u{fffd}");
        // Halves of two chunks, joined as WTF-8.
        assert_eq!(into_text(b"x\xed\xa0\xbd\xed\xb8\x80y".to_vec()).as_deref(), Some("x😀y"));
        assert_eq!(into_text(b"x\xed\xa0".to_vec()), None);
    }
}
