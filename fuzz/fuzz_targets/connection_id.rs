//! Runs [`skein_tests::decode::connection_id`] on what libFuzzer finds.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skein_tests::decode::connection_id(data));
