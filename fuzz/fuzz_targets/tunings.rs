#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| brolga_fuzz::targets::tunings(bytes));
