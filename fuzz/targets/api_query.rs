#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| probe_fuzz::api_query::check(input));
