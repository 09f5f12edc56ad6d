//! Images of any format: they are known by their first bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| poiesis_fuzz::collect_in_folder(data, "a.png"));
