//! Compressed tars.

use crate::entries;
use rbuild_archive::{Codec, TarFile, begins_archive, decompressed, sniff};
use rbuild_testkit::Tar;
use std::{
    fs::File,
    io::{BufReader, Read, Seek, Write},
};

/// A tar of a few MiB, so that it passes through pipes in pieces.
fn tar() -> Vec<u8> {
    let large: Vec<u8> = (0..5_u32 << 20).map(|at| (at ^ (at >> 7)) as u8).collect();
    Tar::new().directory("d").file("d/large", large).file("small", "x").finish()
}

fn compress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Plain => bytes.to_vec(),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Zstd => zstd::encode_all(bytes, 1).unwrap(),
    }
}

const ALL: [Codec; 5] = [Codec::Plain, Codec::Gzip, Codec::Bzip2, Codec::Xz, Codec::Zstd];

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
fn every_codec_is_recognised_and_undone() {
    let tar = tar();
    for codec in ALL {
        let compressed = compress(codec, &tar);
        let (found, sniffed) = sniff(&*compressed).unwrap();
        assert_eq!(found, codec);
        let mut plain = Vec::new();
        decompressed(found, sniffed).unwrap().read_to_end(&mut plain).unwrap();
        assert!(plain == tar, "{codec:?}");
        assert!(begins_archive(&compressed[..compressed.len().min(512)]), "{codec:?}");
    }
}

#[test]
fn all_members_of_a_stream_are_read() {
    let tar = tar();
    let (first, second) = tar.split_at(tar.len() / 2);
    for codec in ALL {
        let members = [compress(codec, first), compress(codec, second)].concat();
        let mut plain = Vec::new();
        decompressed(codec, &*members).unwrap().read_to_end(&mut plain).unwrap();
        assert!(plain == tar, "{codec:?}");
    }
}

#[test]
fn files_are_tars_whatever_their_compression() {
    let tar = tar();
    for codec in ALL {
        let archive = TarFile::recognise(file(&compress(codec, &tar))).unwrap().unwrap();
        let names = archive.read(|mut tar| {
            let mut names = Vec::new();
            while let Some(entry) = tar.next_entry().unwrap() {
                names.push((String::from_utf8(entry.name).unwrap(), entry.stored));
            }
            names
        });
        let expected = [("d".to_owned(), 0), ("d/large".to_owned(), 5 << 20), ("small".to_owned(), 1)];
        assert_eq!(names.unwrap(), expected, "{codec:?}");
    }
}

#[test]
fn a_reader_that_stops_early_does_not_wait_for_the_rest() {
    let compressed = compress(Codec::Gzip, &tar());
    let archive = TarFile::recognise(file(&compressed)).unwrap().unwrap();
    let first = archive.read(|mut tar| tar.next_entry().unwrap().unwrap().name);
    assert_eq!(first.unwrap(), b"d");
}

#[test]
fn other_files_are_not_tars() {
    for codec in ALL {
        for content in [&b""[..], b"FROM busybox\n", &[0; 2048], &b"text ".repeat(500)] {
            assert!(TarFile::recognise(file(&compress(codec, content))).unwrap().is_none(), "{codec:?}");
        }
    }
    for content in [&b""[..], b"FROM busybox\n", b"BZhello", &[0; 600]] {
        assert!(!begins_archive(content), "{content:?}");
    }
    assert!(begins_archive(&Tar::new().file("a", "").finish()));
}

#[test]
fn windows_up_to_the_zstd_program_s_own_limit_are_read() {
    let tar = tar();
    let mut plain = Vec::new();
    for (window, fits) in [(27, true), (28, false)] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window).unwrap();
        encoder.write_all(&tar).unwrap();
        let compressed = encoder.finish().unwrap();
        let read = decompressed(Codec::Zstd, &*compressed).unwrap().read_to_end(&mut plain);
        assert_eq!(read.is_ok(), fits, "a window of 2^{window} bytes");
    }
}

#[test]
fn damage_in_the_middle_is_an_error_of_the_stream() {
    for codec in [Codec::Gzip, Codec::Bzip2, Codec::Xz, Codec::Zstd] {
        let compressed = compress(codec, &tar());
        let cut = &compressed[..compressed.len() / 2];
        let error = entries(BufReader::new(decompressed(codec, cut).unwrap()));
        assert!(error.is_err(), "{codec:?}");
    }
}
