//! Whatever Azure answers, the client answers in time and does not panic.

#![no_main]

#[path = "../../azure/tests/answers/exchanges.rs"]
mod exchanges;

libfuzzer_sys::fuzz_target!(|input: &[u8]| exchanges::run(input));
