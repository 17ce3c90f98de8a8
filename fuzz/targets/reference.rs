//! Any text as a reference, an image's name, a digest, a platform and a time.

#![no_main]

#[path = "../../oci/tests/laws/name_laws/mod.rs"]
mod name_laws;

libfuzzer_sys::fuzz_target!(|text: &str| {
    name_laws::check(text);
});
