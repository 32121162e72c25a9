//! Runs [`skein_tests::decode::qmux_records`] on what libFuzzer finds.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skein_tests::decode::qmux_records(data));
