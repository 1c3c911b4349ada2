//! Making received JSON text acceptable.

use serde::de::IgnoredAny;

use crate::text;

/// Whether the text is one JSON value. Takes no recursion, so that depth costs memory in proportion to the text.
pub(crate) fn check(json: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(json).map(drop)
}

/// Overwrites the escapes of lone surrogates (`\ud83d`), which JavaScript writes and serde refuses, with `\ufffd`.
pub(crate) fn mend_escapes(json: &mut [u8]) {
    let mut at = 0;
    loop {
        at += text::backslash_free_run(&json[at..]);
        let rest = &mut json[at..];
        if rest.len() < 2 {
            return;
        }
        at += match text::unicode_escape(rest) {
            None => 2,
            Some(unit) if !text::is_surrogate(unit) => 6,
            Some(high) if text::unicode_escape(&rest[6..]).is_some_and(|low| text::combine(high, low).is_some()) => 12,
            Some(_) => {
                rest[2..6].copy_from_slice(b"fffd");
                6
            }
        };
    }
}
