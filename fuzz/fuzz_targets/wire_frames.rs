//! See `p2pt_fuzz::wire_frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| p2pt_fuzz::wire_frames(data));
