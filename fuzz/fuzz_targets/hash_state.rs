//! Runs [`skein_tests::decode::hash_state`] on what libFuzzer finds.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skein_tests::decode::hash_state(data));
