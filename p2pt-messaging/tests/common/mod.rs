//! What the tests share: a clock's origin, and a model of the JavaScript sender.

#![allow(dead_code)] // each test file uses its part

use std::time::Instant;

use p2pt_messaging::{FrameError, Progress, Reassembler};

/// Some instant to count from; the tests never look at the clock again.
#[allow(clippy::disallowed_methods)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Pushes a frame at an arbitrary but fixed time.
pub(crate) fn push(reassembler: &mut Reassembler, frame: impl AsRef<[u8]>) -> Result<Progress, FrameError> {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    reassembler.push(*START.get_or_init(start), frame.as_ref())
}

/// `JSON.stringify` of a JavaScript string.
pub(crate) fn stringify(units: &[u16]) -> String {
    let mut json = String::from('"');
    for char in char::decode_utf16(units.iter().copied()) {
        match char {
            Err(lone) => json.push_str(&format!("\\u{:04x}", lone.unpaired_surrogate())),
            Ok('"') => json.push_str("\\\""),
            Ok('\\') => json.push_str("\\\\"),
            Ok('\u{8}') => json.push_str("\\b"),
            Ok('\u{c}') => json.push_str("\\f"),
            Ok('\n') => json.push_str("\\n"),
            Ok('\r') => json.push_str("\\r"),
            Ok('\t') => json.push_str("\\t"),
            Ok(control @ '\0'..'\u{20}') => json.push_str(&format!("\\u{:04x}", u32::from(control))),
            Ok(char) => json.push(char),
        }
    }
    json.push('"');
    json
}

/// The frames the JavaScript library sends for a message, cut every `cut` UTF-16 units (16000 there).
pub(crate) fn javascript_frames(id: &str, units: &[u16], is_json: bool, cut: usize) -> Vec<String> {
    let o = if is_json { ",\"o\":1" } else { "" };
    let last = units.len().div_ceil(cut).saturating_sub(1);
    let frame = |(index, units)| {
        let last = if index == last { ",\"last\":true" } else { "" };
        format!("^{{\"id\":{id},\"msg\":{}{o},\"c\":{index}{last}}}", stringify(units))
    };
    units.chunks(cut).enumerate().map(frame).collect()
}

/// A JavaScript string.
pub(crate) fn utf16(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}
