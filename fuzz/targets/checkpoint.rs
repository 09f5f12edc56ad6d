//! The arrays of a checkpoint, with checksums that are right.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| poiesis_fuzz::open_checkpoint(data));
