//! `secrets_store_gateway::fuzzing::settings` says what is claimed.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| secrets_store_gateway::fuzzing::settings(input));
