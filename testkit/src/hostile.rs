//! Archives that try to get out of where they are unpacked, to ask for too much, or that are simply damaged. Layers and ADD
//! have different rules for some of them, so each row says what either makes of it.

use crate::archives::{Tar, crc32};
use std::error::Error;

/// An archive that must do no harm.
#[derive(Clone, Debug)]
pub struct HostileArchive {
    /// The attack, as a name.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The outcome when the archive is a layer.
    pub layer: Outcome,
    /// The outcome when ADD extracts the archive.
    pub add: Outcome,
}

/// The outcome of unpacking an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An error with this text in it or in its causes.
    Refused(&'static str),
    /// Exactly these files, as [`crate::described`] writes them.
    Makes(&'static [&'static str]),
    /// It is not taken for an archive, but for a file.
    IsAFile,
}

use Outcome::{IsAFile, Makes, Refused};

const TRUNCATED: Outcome = Refused("it ends within an entry");
const BREAKOUT: Outcome = Refused("leads out of the destination");
const EXTENSION: Outcome = Refused("the extension headers of an entry have");
const PAX: Outcome = Refused("a pax header is malformed");
const SPARSE: Outcome = Refused("the map of a sparse file is malformed");
const SIZE: Outcome = Refused("a header's size is no valid number");

/// The rows. Those that make `escaped` anywhere but where they are unpacked have got out.
#[must_use]
pub fn hostile_archives() -> Vec<HostileArchive> {
    [
        names(),
        reserved_names(),
        links(),
        hard_links(),
        kinds(),
        numbers(),
        extensions(),
        sparse(),
        compressed(),
        ends(),
    ]
    .concat()
}

/// The message of an error and those of its causes.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

impl HostileArchive {
    fn new(name: &'static str, bytes: Vec<u8>, layer: Outcome, add: Outcome) -> Self {
        Self { name, bytes, layer, add }
    }

    /// One that layers and ADD treat alike.
    fn alike(name: &'static str, bytes: Vec<u8>, outcome: Outcome) -> Self {
        Self::new(name, bytes, outcome, outcome)
    }
}

fn names() -> Vec<HostileArchive> {
    let long = vec![b'a'; 5000];
    vec![
        HostileArchive::alike(
            "an absolute name",
            Tar::new().file("/etc/escaped", "x").finish(),
            Makes(&["dir etc", "file etc/escaped \"x\""]),
        ),
        HostileArchive::new(
            "a name that leads out",
            Tar::new().file("a/../../escaped", "x").finish(),
            Refused("\"a/../../escaped\" leads out of the layer"),
            BREAKOUT,
        ),
        HostileArchive::alike(
            "a name with dots that stays inside",
            Tar::new().file("a/../b", "x").finish(),
            Makes(&["file b \"x\""]),
        ),
        HostileArchive::new(
            "a name that leads out in a pax header",
            Tar::new().pax(&[("path", b"../escaped")]).file("a", "x").finish(),
            Refused("\"../escaped\" leads out of the layer"),
            BREAKOUT,
        ),
        HostileArchive::alike(
            "a name longer than a path",
            Tar::new().pax(&[("path", &long)]).file("a", "x").finish(),
            Refused("a name has 5000 bytes, more than the 4095 a path can have"),
        ),
        HostileArchive::alike(
            "a GNU name longer than a path",
            Tar::new().entry(b'L', b"././@LongLink", "", &long).file("a", "x").finish(),
            Refused("a name has 5000 bytes"),
        ),
        HostileArchive::alike(
            "a name with a NUL",
            Tar::new().pax(&[("path", b"a\0b")]).file("a", "x").finish(),
            PAX,
        ),
        HostileArchive::alike(
            "a name that is not UTF-8",
            Tar::new().file(b"caf\xe9", "x").finish(),
            Makes(&["file caf\\xe9 \"x\""]),
        ),
    ]
}

fn reserved_names() -> Vec<HostileArchive> {
    vec![
        HostileArchive::new(
            "a name that overlayfs and layers keep for themselves",
            Tar::new().file("d/.wh.a/b", "x").finish(),
            Refused("has a name reserved for whiteouts"),
            Makes(&["dir d", "dir d/.wh.a", "file d/.wh.a/b \"x\""]),
        ),
        HostileArchive::new(
            "a mark that an old tool left for itself",
            Tar::new().file("d/.wh..wh.plnk", "x").file("f", "x").finish(),
            Makes(&["file f \"x\""]),
            Makes(&["dir d", "file d/.wh..wh.plnk \"x\"", "file f \"x\""]),
        ),
        HostileArchive::new(
            "a file without a name",
            Tar::new().file("", "x").finish(),
            Refused("is the root but no directory"),
            Makes(&[]),
        ),
    ]
}

fn links() -> Vec<HostileArchive> {
    let link = || Tar::new().symlink("l", "/etc");
    let inside = Makes(&["dir etc", "file etc/escaped \"x\"", "link l -> /etc"]);
    vec![
        HostileArchive::alike("a file through a link", link().file("l/escaped", "x").finish(), inside),
        HostileArchive::alike(
            "a file through a link with dots",
            Tar::new().symlink("l", "../../../../../../etc").file("l/escaped", "x").finish(),
            Makes(&["dir etc", "file etc/escaped \"x\"", "link l -> ../../../../../../etc"]),
        ),
        HostileArchive::alike(
            "a directory through a link",
            link().directory("l/escaped").finish(),
            Makes(&["dir etc", "dir etc/escaped", "link l -> /etc"]),
        ),
        HostileArchive::new(
            "a whiteout through a link",
            link().file("l/.wh.passwd", "").finish(),
            Makes(&["char etc/passwd 0:0", "dir etc", "link l -> /etc"]),
            Makes(&["dir etc", "file etc/.wh.passwd \"\"", "link l -> /etc"]),
        ),
        HostileArchive::new(
            "a file through links in a circle",
            Tar::new().symlink("a", "b").symlink("b", "a").file("a/escaped", "x").finish(),
            Refused("goes through too many symbolic links"),
            Refused("too many levels of symbolic links"),
        ),
        HostileArchive::alike(
            "a directory in a link's place",
            link().directory("l").file("l/escaped", "x").finish(),
            Makes(&["dir l", "file l/escaped \"x\""]),
        ),
        HostileArchive::new(
            "the root as a link",
            Tar::new().symlink("./", "/etc").file("escaped", "x").finish(),
            Refused("is the root but no directory"),
            Makes(&["file escaped \"x\""]),
        ),
    ]
}

fn hard_links() -> Vec<HostileArchive> {
    let link = || Tar::new().symlink("l", "/etc");
    vec![
        HostileArchive::new(
            "a hard link that leads out",
            Tar::new().hard_link("h", "../../etc/passwd").finish(),
            Refused("is a hard link to a path outside the layer"),
            BREAKOUT,
        ),
        HostileArchive::new(
            "a hard link to an absolute path",
            Tar::new().hard_link("h", "/etc/passwd").finish(),
            Refused("is a hard link to a file the layer does not have before it"),
            Refused("link "),
        ),
        HostileArchive::new(
            "a hard link through a link",
            link().hard_link("h", "l/passwd").finish(),
            Refused("is a hard link to a file the layer does not have before it"),
            Refused("link "),
        ),
        HostileArchive::new(
            "a hard link to a directory",
            Tar::new().directory("d").hard_link("h", "d").finish(),
            Refused("is a hard link to a file the layer does not have before it"),
            Refused("create "),
        ),
        HostileArchive::new(
            "a file below a file",
            Tar::new().file("f", "x").file("f/escaped", "x").finish(),
            Refused("is used as a directory but is none"),
            Refused("not a directory"),
        ),
    ]
}

fn kinds() -> Vec<HostileArchive> {
    vec![
        HostileArchive::new(
            "the device that overlayfs takes for a deletion",
            Tar::new().device("c", (0, 0)).finish(),
            Refused("is a character device 0/0"),
            Refused("is the character device 0:0"),
        ),
        HostileArchive::alike(
            "any other device",
            Tar::new().device("c", (1, 3)).finish(),
            Makes(&["char c 1:3"]),
        ),
        HostileArchive::new(
            "an unknown kind",
            Tar::new().entry(b'Z', b"z", "", b"x").finish(),
            Refused("has unknown type 'Z'"),
            Refused("unhandled tar header type 90"),
        ),
        HostileArchive::alike(
            "an attribute that makes a directory hide those below",
            Tar::new().pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")]).directory("d").finish(),
            Makes(&["dir d"]),
        ),
        HostileArchive::alike(
            "a link with a size",
            Tar::new()
                .changed(b'2', b"l", &[(124, b"00000001000\0"), (157, b"x")], b"")
                .file("f", "x")
                .finish(),
            Makes(&["file f \"x\"", "link l -> x"]),
        ),
        HostileArchive::alike(
            "a global header with a path",
            Tar::new().entry(b'g', b"g", "", b"19 path=../escaped\n").file("f", "x").finish(),
            Makes(&["file f \"x\""]),
        ),
    ]
}

fn numbers() -> Vec<HostileArchive> {
    let sized = |size: &[u8]| Tar::new().changed(b'0', b"f", &[(124, size)], b"x").finish();
    vec![
        HostileArchive::alike("more content than there is", sized(b"77777777777\0"), TRUNCATED),
        HostileArchive::alike("content of 2^62 bytes", sized(b"\x80\0\0\0\x40\0\0\0\0\0\0\0"), TRUNCATED),
        HostileArchive::alike("content of 2^63 bytes", sized(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), SIZE),
        HostileArchive::alike("content of -1 bytes", sized(&[0xff; 12]), SIZE),
        HostileArchive::alike("a size with a sign", sized(b"-0000000001\0"), SIZE),
        HostileArchive::alike(
            "a pax size with a sign",
            Tar::new().pax(&[("size", b"-1")]).file("f", "x").finish(),
            SIZE,
        ),
        HostileArchive::alike(
            "an owner of more than 32 bits",
            Tar::new().pax(&[("uid", b"4294967296")]).file("f", "x").finish(),
            Refused("a header's uid is no valid number"),
        ),
        HostileArchive::alike(
            "a time that is none",
            Tar::new().pax(&[("mtime", b"tomorrow")]).file("f", "x").finish(),
            Refused("a header's mtime is no valid number"),
        ),
    ]
}

fn extensions() -> Vec<HostileArchive> {
    let large = vec![b'v'; 600 << 10];
    let attribute = ("SCHILY.xattr.user.a", &large[..]);
    let claims = |flag| Tar::new().changed(flag, b"x", &[(124, b"77777777777\0")], b"").finish();
    vec![
        HostileArchive::alike("a pax header of 8 GiB", claims(b'x'), EXTENSION),
        HostileArchive::alike("a global header of 8 GiB", claims(b'g'), EXTENSION),
        HostileArchive::alike("a GNU name of 8 GiB", claims(b'L'), EXTENSION),
        HostileArchive::alike(
            "pax headers that are too large together",
            Tar::new().pax(&[attribute]).pax(&[attribute]).file("f", "x").finish(),
            EXTENSION,
        ),
        HostileArchive::alike(
            "a pax record longer than its header",
            Tar::new().entry(b'x', b"x", "", b"99 path=a\n").file("f", "x").finish(),
            PAX,
        ),
        HostileArchive::alike(
            "a pax record without a length",
            Tar::new().entry(b'x', b"x", "", b"path=a\n").file("f", "x").finish(),
            PAX,
        ),
    ]
}

fn sparse() -> Vec<HostileArchive> {
    let with = |size: &[u8], map: &[u8], content: &str| {
        Tar::new().pax(&[("GNU.sparse.size", size), ("GNU.sparse.map", map)]).file("s", content).finish()
    };
    let in_content = |content: &str| {
        let keys: [(&str, &[u8]); 3] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"4096")];
        Tar::new().pax(&keys).file("s", content).finish()
    };
    let real_name: [(&str, &[u8]); 3] =
        [("GNU.sparse.name", b"../escaped"), ("GNU.sparse.size", b"1"), ("GNU.sparse.map", b"0,1")];
    vec![
        HostileArchive::alike(
            "one large hole",
            with(b"1073741824", b"5,1", "x"),
            Makes(&["file s of 1073741824 bytes"]),
        ),
        HostileArchive::alike("a piece past the end", with(b"10", b"8,4", "abcd"), SPARSE),
        HostileArchive::alike("pieces over each other", with(b"10", b"0,3,2,3", "abcdef"), SPARSE),
        HostileArchive::alike(
            "pieces whose sum overflows",
            with(b"10", b"18446744073709551615,2", "ab"),
            SPARSE,
        ),
        HostileArchive::alike("half a piece", with(b"10", b"0,3,4", "abc"), SPARSE),
        HostileArchive::alike("less content than the pieces say", with(b"10", b"0,8", "abcd"), SPARSE),
        HostileArchive::alike("more content than the pieces say", with(b"10", b"0,2", "abcd"), SPARSE),
        HostileArchive::alike(
            "a map of 10^9 pieces",
            in_content(&format!("{:<512}", "1000000000\n")),
            SPARSE,
        ),
        HostileArchive::alike("a map that is one endless number", in_content(&"1".repeat(64 << 10)), SPARSE),
        HostileArchive::alike(
            "a map longer than the content",
            in_content(&format!("9\n{}", "0\n".repeat(18))),
            SPARSE,
        ),
        HostileArchive::new(
            "a real name that leads out",
            Tar::new().pax(&real_name).file("s", "x").finish(),
            Refused("\"../escaped\" leads out of the layer"),
            BREAKOUT,
        ),
    ]
}

fn compressed() -> Vec<HostileArchive> {
    let no_stream = Refused("cannot decompress the tar stream");
    let whole = gzip(&Tar::new().file("f", "x").finish());
    let mut damaged = whole.clone();
    // in the checksum at the end
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    vec![
        HostileArchive::new(
            "gzip of nothing sensible",
            b"\x1f\x8b\x08 is not gzip".to_vec(),
            no_stream,
            IsAFile,
        ),
        HostileArchive::new("zstd with a window of 256 MiB", zstd_window(18), no_stream, IsAFile),
        HostileArchive::new("xz with a dictionary of 1 GiB", xz_dictionary(36), no_stream, IsAFile),
        HostileArchive::new("gzip that ends early", whole[..400].to_vec(), no_stream, IsAFile),
        // ADD stops at the end of the tar, before the checksum, as docker does
        HostileArchive::new("gzip with a wrong checksum", damaged, no_stream, Makes(&["file f \"x\""])),
    ]
}

fn ends() -> Vec<HostileArchive> {
    let two = Tar::new().file("a", "content").file("b", "x").finish();
    let mut second_damaged = two.clone();
    second_damaged[1024] ^= 1;
    vec![
        HostileArchive::new(
            "no tar at all",
            b"no tar at all, ".repeat(99),
            Refused("wrong checksum"),
            IsAFile,
        ),
        HostileArchive::alike("a second header that is damaged", second_damaged, Refused("wrong checksum")),
        HostileArchive::alike("an end within a header", two[..1300].to_vec(), TRUNCATED),
        HostileArchive::alike("an end within content", two[..515].to_vec(), TRUNCATED),
        HostileArchive::alike("an end within padding", two[..600].to_vec(), TRUNCATED),
        HostileArchive::alike("an end without zeros", two[..1024].to_vec(), Makes(&["file a \"content\""])),
        HostileArchive::alike(
            "an entry after one block of zeros",
            Tar::new().file("a", "x").raw(&[0; 512]).file("escaped", "x").finish(),
            Refused("wrong checksum"),
        ),
        HostileArchive::alike(
            "bytes after the end",
            [Tar::new().file("a", "x").finish(), Tar::new().file("escaped", "x").finish()].concat(),
            Makes(&["file a \"x\""]),
        ),
    ]
}

/// Gzip without compression: stored blocks of DEFLATE (RFC 1951, 3.2.4).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a small one");
    let mut out = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01".to_vec();
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    out.extend_from_slice(&u32::from(length).to_le_bytes());
    out
}

/// A zstd frame of a tar whose window is 2^(10 + `exponent`) bytes (RFC 8878, 3.1.1.1.2).
fn zstd_window(exponent: u8) -> Vec<u8> {
    let tar = Tar::new().file("f", "x").finish();
    let block = u32::try_from(tar.len()).expect("a small one") << 3 | 1;
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3];
    out.extend_from_slice(&block.to_le_bytes()[..3]);
    out.extend_from_slice(&tar);
    out
}

/// The beginning of an xz stream whose dictionary has the size with this code (xz-file-format.txt, 2.1.1, 3.1 and 5.3.1).
fn xz_dictionary(code: u8) -> Vec<u8> {
    let mut out = b"\xfd7zXZ\0\0\x04".to_vec();
    out.extend_from_slice(&crc32(&[0, 4]).to_le_bytes());
    let header = [2, 0, 0x21, 1, code, 0, 0, 0];
    out.extend_from_slice(&header);
    out.extend_from_slice(&crc32(&header).to_le_bytes());
    out.resize(512, 0);
    out
}
