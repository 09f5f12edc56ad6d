//! `run.json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| poiesis_fuzz::open_run(data));
