//! See `p2pt_fuzz::trust_exchange`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| p2pt_fuzz::trust_exchange(data));
