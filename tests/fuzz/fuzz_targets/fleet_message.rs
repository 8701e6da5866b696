//! For cargo-fuzz: see README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portolan_fuzz::fleet_message(data));
