//! Whatever Ghost sends over realtime is read or skipped, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    ogel_ghost::realtime::read_frame(text);
});
