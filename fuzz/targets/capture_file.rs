#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| probe_fuzz::capture_file::check(input));
