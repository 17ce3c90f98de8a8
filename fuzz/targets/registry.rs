//! Any text as the header of a challenge, a `registries.conf`, `hosts.toml`, `daemon.json` or `config.json`. The first byte says
//! which.

#![no_main]

#[path = "../../registry/tests/distribution/text_laws/mod.rs"]
mod text_laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, text)) = bytes.split_first() else { return };
    text_laws::check(*kind, &String::from_utf8_lossy(text));
});
