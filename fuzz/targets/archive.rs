//! Any bytes as an archive, compressed or not. Headers get the checksum they should have, in a second try: without it hardly
//! any change would be read past the first header.

#![no_main]

#[path = "../../archive/tests/archives/tar_laws/mod.rs"]
mod tar_laws;

/// Where a header has its checksum, and the name of its format (ustar).
const CHECKSUM: std::ops::Range<usize> = 148..156;
const MAGIC: std::ops::Range<usize> = 257..262;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    tar_laws::check(bytes);
    let mut summed = bytes.to_vec();
    for block in summed.chunks_exact_mut(rbuild_archive::BLOCK) {
        if &block[MAGIC] == b"ustar" {
            block[CHECKSUM].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    if summed != bytes {
        tar_laws::check(&summed);
    }
});
