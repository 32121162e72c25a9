//! Runs [`skein_tests::decode::frame_decoder`] on what libFuzzer finds.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skein_tests::decode::frame_decoder(data));
