//! Batches of CIFAR.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| poiesis_fuzz::collect_file(data, "data_batch_1.bin"));
