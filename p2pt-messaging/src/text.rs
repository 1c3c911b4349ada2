//! The bytes of JSON strings: finding what is escaped, escaping, unescaping, and mending lone surrogates.
//!
//! Decoded text is kept as WTF-8 (UTF-8 that may hold lone surrogates) until a message is whole, because a chunk
//! may end between the two halves of a surrogate pair.

/// Bytes examined at a time by [`find`]; small enough to stay cheap on a hit, large enough for vector instructions.
const BLOCK: usize = 32;

/// The longest escape, `\u0000`.
pub(crate) const LONGEST_ESCAPE: usize = 6;

/// The index of the first byte that satisfies `wanted`, or the length.
///
/// Whole blocks are folded without branching, which compiles to vector compares.
pub(crate) fn find(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    let mut blocks = bytes.chunks_exact(BLOCK);
    let mut at = 0;
    for block in &mut blocks {
        if block.iter().fold(false, |hit, &byte| hit | wanted(byte)) {
            break;
        }
        at += BLOCK;
    }
    at + bytes[at..].iter().position(|&byte| wanted(byte)).unwrap_or(bytes.len() - at)
}

/// How many leading bytes stand for themselves inside a JSON string.
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    find(bytes, |byte| (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
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
    let bytes = text.as_bytes();
    let mut taken = 0;
    loop {
        let window = bytes.len().min(taken + room);
        let stop = taken + plain_run(&bytes[taken..window]);
        let end = floor_char_boundary(text, stop);
        out.push_str(&text[taken..end]);
        room -= end - taken;
        taken = end;
        if stop == window {
            return taken;
        }
        let mut buffer = [0; LONGEST_ESCAPE];
        let escape = escape(bytes[taken], &mut buffer);
        if escape.len() > room {
            return taken;
        }
        out.push_str(escape);
        room -= escape.len();
        taken += 1;
    }
}

/// How `JSON.stringify` writes a byte that may not stand for itself.
fn escape(byte: u8, buffer: &mut [u8; LONGEST_ESCAPE]) -> &str {
    match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        0x08 => "\\b",
        b'\t' => "\\t",
        b'\n' => "\\n",
        0x0c => "\\f",
        b'\r' => "\\r",
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            *buffer = *b"\\u0000";
            buffer[4] = HEX[usize::from(byte >> 4)];
            buffer[5] = HEX[usize::from(byte & 0xf)];
            std::str::from_utf8(buffer).expect("the buffer holds ASCII")
        }
    }
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
        let end = walk(bytes, |plain, code| decoded_len += plain.len() + code.map_or(0, wtf8_len))?;
        let (quoted, rest) = bytes.split_at(end + 1);
        Some((Self { quoted, decoded_len }, rest))
    }

    /// Bytes of the decoded text in WTF-8.
    pub(crate) fn decoded_len(&self) -> usize {
        self.decoded_len
    }

    /// Appends the decoded text as WTF-8.
    pub(crate) fn decode_into(&self, out: &mut Vec<u8>) {
        let decoded = walk(self.quoted, |plain, code| {
            out.extend_from_slice(plain);
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
            && (self.quoted.strip_suffix(b"\"") == Some(text.as_bytes()) || self.decode() == text.as_bytes())
    }
}

/// Visits a JSON string's body as plain runs, each with the code point of the escape that ends it, and returns the
/// index of the closing quote. `None`: unterminated, a bare control character, or a bad escape.
fn walk<'a>(bytes: &'a [u8], mut visit: impl FnMut(&'a [u8], Option<u32>)) -> Option<usize> {
    let mut at = 0;
    loop {
        let run = plain_run(&bytes[at..]);
        let plain = &bytes[at..at + run];
        at += run;
        match bytes.get(at)? {
            b'"' => {
                visit(plain, None);
                return Some(at);
            }
            b'\\' => {
                let (code, consumed) = unescape(&bytes[at..])?;
                visit(plain, Some(code));
                at += consumed;
            }
            _ => return None,
        }
    }
}

/// The code point of the escape at the front (a surrogate if it is a lone one), and the bytes it took.
fn unescape(bytes: &[u8]) -> Option<(u32, usize)> {
    let simple = match bytes.get(1)? {
        b'b' => 0x08,
        b't' => b'\t',
        b'n' => b'\n',
        b'f' => 0x0c,
        b'r' => b'\r',
        &byte @ (b'"' | b'\\' | b'/') => byte,
        b'u' => {
            let unit = unicode_escape(bytes)?;
            return Some(match unicode_escape(&bytes[6..]).and_then(|low| combine(unit, low)) {
                Some(code) => (code, 12),
                None => (unit, 6),
            });
        }
        _ => return None,
    };
    Some((simple.into(), 2))
}

/// The code unit of the `\uXXXX` at the front.
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
