//! The compressions in which layers leave the store.

use crate::registry::{Fixture, name, registry};
use rbuild_image::{
    Flow, GzipLevel, ImageEvent, LayerCompression, Packing, PulledLayers, ZstdLevel, compress_layer,
};
use rbuild_oci::{Compression, Digest};
use std::{
    io::Write,
    process::{Command, Stdio},
};

fn packed(compression: LayerCompression, pulled: PulledLayers) -> Packing {
    Packing { compression, pulled }
}

const GZIP: fn() -> LayerCompression = LayerCompression::default;

fn zstd() -> LayerCompression {
    LayerCompression::Zstd(ZstdLevel::default())
}

/// The bytes as `program`, which decompresses, sees them.
fn read_by(program: &[&str], compressed: &[u8]) -> Option<Vec<u8>> {
    let started =
        Command::new(program[0]).args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        rbuild_testkit::skip(format!("{} cannot be run", program[0]));
        return None;
    };
    let mut input = child.stdin.take().unwrap();
    let compressed = compressed.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&compressed));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "{program:?}");
    Some(output.stdout)
}

#[test]
fn other_programs_read_every_compression() {
    if !rbuild_testkit::has_root() {
        return;
    }
    let fixture = Fixture::new();
    let image = fixture.image(11);
    let layer = &image.layers[0];
    let gzip = |level| LayerCompression::Gzip(GzipLevel::new(level).unwrap());
    let zstd = |level| LayerCompression::Zstd(ZstdLevel::new(level).unwrap());
    let python = "import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    for (compression, programs) in [
        (LayerCompression::Uncompressed, [["cat"].as_slice(), &["cat"]]),
        (gzip(0), [&["gzip", "-dc"], &["python3", "-c", python]]),
        (gzip(4), [&["gzip", "-dc"], &["python3", "-c", python]]),
        (gzip(9), [&["gzip", "-dc"], &["python3", "-c", python]]),
        (zstd(0), [&["zstd", "-dc"], &["zstd", "-dc", "-M4MB"]]),
        (zstd(3), [&["zstd", "-dc"], &["zstd", "-dc", "-M4MB"]]),
        (zstd(22), [&["zstd", "-dc"], &["zstd", "-dc", "-M4MB"]]),
    ] {
        let mut bytes = Vec::new();
        let take = |piece: Vec<u8>| {
            bytes.extend(piece);
            Flow::Continue
        };
        let blob = compress_layer(&fixture.store, &layer.layer, compression, take).unwrap().unwrap();
        assert_eq!((blob.digest, blob.size), (Digest::of(&bytes), bytes.len() as u64), "{compression:?}");
        assert_eq!(blob.media_type.layer_compression(), Some(compression.format()));
        for program in programs {
            let Some(plain) = read_by(program, &bytes) else { return };
            assert_eq!(Digest::of(&plain), *layer.diff_id.as_digest(), "{compression:?} {program:?}");
        }
    }
}

#[test]
fn a_layer_is_remembered_in_each_compression() {
    let Some(registry) = registry() else { return };
    let fixture = Fixture::new();
    let image = fixture.image(12);
    let mut digests = Vec::new();
    let plain = LayerCompression::Uncompressed;
    for (tag, compression, media_type) in [
        ("gzip", GZIP(), "application/vnd.oci.image.layer.v1.tar+gzip"),
        ("zstd", zstd(), "application/vnd.oci.image.layer.v1.tar+zstd"),
        ("plain", plain, "application/vnd.oci.image.layer.v1.tar"),
    ] {
        let reference = name(&registry, &format!("app:{tag}"));
        let packing = packed(compression, PulledLayers::AsTheyCame);
        let (digest, _) = fixture.push_packed(&image, &reference, &packing);
        let to = Fixture::new();
        let (pulled, _) = to.pull(&reference).unwrap();
        assert_eq!(pulled.image.layers[0].diff_id, image.layers[0].diff_id);
        let manifest = to.store.blob(&pulled.digest).unwrap().unwrap();
        assert!(String::from_utf8(manifest).unwrap().contains(&format!("{media_type}\"")), "{tag}");
        // one request finds that it is there: nothing is compressed for it
        let before = registry.requests().len();
        assert_eq!(fixture.push_packed(&image, &reference, &packing).0, digest);
        assert_eq!(registry.requests().len() - before, 1, "{tag}");
        assert!(!digests.contains(&digest), "{tag}");
        digests.push(digest);
    }
}

#[test]
fn pulled_layers_are_converted_only_on_demand() {
    let Some(registry) = registry() else { return };
    let from = Fixture::new();
    let source = name(&registry, "source:1");
    let (gzipped, _) = from.push(&from.image(13), &source);
    let to = Fixture::new();
    let (pulled, _) = to.pull(&source).unwrap();
    let push = |tag: &str, pulled_layers| {
        let packing = packed(zstd(), pulled_layers);
        to.push_packed(&pulled.image, &name(&registry, &format!("copy:{tag}")), &packing)
    };
    assert_eq!(push("kept", PulledLayers::AsTheyCame).0, gzipped);
    let (converted, events) = push("converted", PulledLayers::Converted);
    assert_ne!(converted, gzipped);
    assert!(events.iter().any(|event| matches!(event, ImageEvent::LayerDone { .. })), "{events:?}");
    let (read, _) = Fixture::new().pull(&name(&registry, "copy:converted")).unwrap();
    let blob = read.image.layers[0].blob.as_ref().unwrap();
    assert_eq!(blob.media_type.layer_compression(), Some(Compression::Zstd));
    assert_eq!(read.image.layers[0].diff_id, pulled.image.layers[0].diff_id);
    // what is in the format that is wanted stays as it came, whatever its level was
    let level = LayerCompression::Gzip(GzipLevel::new(9).unwrap());
    let packing = packed(level, PulledLayers::Converted);
    assert_eq!(to.push_packed(&pulled.image, &name(&registry, "copy:same"), &packing).0, gzipped);
}
