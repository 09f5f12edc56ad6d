//! Records with texts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| poiesis_fuzz::collect_file(data, "a.jsonl"));
