//! See `p2pt_fuzz::session_packets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| p2pt_fuzz::session_packets(data));
