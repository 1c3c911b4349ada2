//! Text of the browser as UTF-8.

use bytes::Bytes;
use js_sys::JsString;
use wasm_bindgen::prelude::*;

use crate::Frame;

/// Texts of more UTF-16 units are encoded by the browser's own encoder. Shorter ones are copied faster by wasm-bindgen, which
/// goes through them a unit at a time.
const LONG: u32 = 512;

/// The most bytes that one UTF-16 unit takes in UTF-8.
const MAX_UNIT_BYTES: usize = 3;

#[wasm_bindgen]
extern "C" {
    type TextEncoder;
    #[wasm_bindgen(constructor)]
    fn new() -> TextEncoder;
    #[wasm_bindgen(method, js_name = encodeInto)]
    fn encode_into(this: &TextEncoder, text: &JsString, into: &mut [u8]) -> Encoded;

    type Encoded;
    /// UTF-16 units.
    #[wasm_bindgen(method, getter)]
    fn read(this: &Encoded) -> u32;
    /// Bytes.
    #[wasm_bindgen(method, getter)]
    fn written(this: &Encoded) -> u32;
}

thread_local! {
    static ENCODER: TextEncoder = TextEncoder::new();
}

/// The text frame of a string.
pub(super) fn frame_of(text: &JsString) -> Frame {
    let units = text.length();
    if units <= LONG {
        return Frame::text(String::from(text));
    }
    let units = units as usize;
    // Most text is ASCII, and fits.
    let bytes = encode(text, units, units).or_else(|| encode(text, units, units * MAX_UNIT_BYTES));
    bytes.map_or_else(|| Frame::text(String::from(text)), |bytes| Frame::Text(Bytes::from(bytes)))
}

/// UTF-8 of the text, if it fits into so many bytes.
fn encode(text: &JsString, units: usize, room: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; room];
    let encoded = ENCODER.with(|encoder| encoder.encode_into(text, &mut bytes));
    if (encoded.read() as usize) < units {
        return None;
    }
    bytes.truncate(encoded.written() as usize);
    Some(bytes)
}
