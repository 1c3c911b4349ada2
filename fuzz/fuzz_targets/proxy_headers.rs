//! See `p2pt_fuzz::proxy_headers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| p2pt_fuzz::proxy_headers(data));
