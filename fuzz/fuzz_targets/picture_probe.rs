//! Runs [`skein_tests::decode::picture_probe`] on what libFuzzer finds.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skein_tests::decode::picture_probe(data));
