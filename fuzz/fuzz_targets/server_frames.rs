//! See `p2pt_fuzz::server_frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| p2pt_fuzz::server_frames(data));
