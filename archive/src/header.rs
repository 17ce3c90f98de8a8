//! Writes tar headers as Go's archive/tar does: ustar, with a PAX header before it only for the fields that do not fit
//! (pax(1), "pax Interchange Format"). Names longer than 100 bytes always use PAX, never the ustar prefix.

use crate::{
    entry::EntryKind,
    field::{BLOCK, padding},
};
use std::collections::BTreeMap;

/// The end of a tar, which is two blocks of zeros after the last entry.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The header of one entry.
#[derive(Clone, Debug)]
pub struct TarHeader<'a> {
    /// The kind of file.
    pub kind: EntryKind,
    /// The relative name. That of a directory ends in a slash.
    pub name: &'a [u8],
    /// The target of a link; empty for other kinds.
    pub link: &'a [u8],
    /// Permission bits, with the set-id and sticky bits.
    pub mode: u32,
    /// The numeric user ID of the owner.
    pub uid: u32,
    /// The numeric ID of the group.
    pub gid: u32,
    /// Number of bytes of content that follow the header.
    pub size: u64,
    /// Time of the last modification, in whole seconds since 1970.
    pub mtime: i64,
    /// Major number of a device.
    pub major: u32,
    /// Minor number of a device.
    pub minor: u32,
    /// The value of the attribute `security.capability`, if the file has it.
    pub capability: Option<&'a [u8]>,
}

impl<'a> TarHeader<'a> {
    /// A header of an entry that root owns and that was modified at the beginning of 1970.
    #[must_use]
    pub fn new(kind: EntryKind, name: &'a [u8], mode: u32, size: u64) -> Self {
        Self {
            kind,
            name,
            link: b"",
            mode,
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            major: 0,
            minor: 0,
            capability: None,
        }
    }

    /// Appends the header's blocks to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let records = self.pax_records();
        if !records.is_empty() {
            write_pax(self.name, &records, out);
        }
        let fitting = |number: u64, digits: u32| if number < 1 << (3 * digits) { number } else { 0 };
        let mut block = [0; BLOCK];
        put_ascii(&mut block[..100], self.name);
        put_octal(&mut block[100..107], u64::from(self.mode));
        put_octal(&mut block[108..115], fitting(self.uid.into(), 7));
        put_octal(&mut block[116..123], fitting(self.gid.into(), 7));
        put_octal(&mut block[124..135], fitting(self.size, 11));
        put_octal(&mut block[136..147], fitting(u64::try_from(self.mtime).unwrap_or(0), 11));
        block[156] = self.kind.flag();
        put_ascii(&mut block[157..257], self.link);
        put_octal(&mut block[329..336], fitting(self.major.into(), 7));
        put_octal(&mut block[337..344], fitting(self.minor.into(), 7));
        finish(&mut block);
        out.extend_from_slice(&block);
    }

    /// The fields that do not fit into ustar, as PAX records by key.
    fn pax_records(&self) -> BTreeMap<&'static str, Vec<u8>> {
        let mut records = BTreeMap::new();
        let plain = |text: &[u8]| text.len() <= 100 && text.is_ascii();
        if !plain(self.name) {
            records.insert("path", self.name.to_vec());
        }
        if !plain(self.link) {
            records.insert("linkpath", self.link.to_vec());
        }
        for (key, number, digits) in
            [("uid", self.uid.into(), 7), ("gid", self.gid.into(), 7), ("size", self.size, 11)]
        {
            if number >= 1u64 << (3 * digits) {
                records.insert(key, number.to_string().into_bytes());
            }
        }
        if !(0..1 << 33).contains(&self.mtime) {
            records.insert("mtime", self.mtime.to_string().into_bytes());
        }
        if let Some(value) = self.capability {
            records.insert("SCHILY.xattr.security.capability", value.to_vec());
        }
        records
    }
}

fn write_pax(name: &[u8], records: &BTreeMap<&'static str, Vec<u8>>, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    for (key, value) in records {
        // a record is "%d key=value\n", where the number is the length of the record with its own digits
        let rest = key.len() + value.len() + 3;
        let mut length = rest + decimal_digits(rest);
        if decimal_digits(length) != decimal_digits(rest) {
            length = rest + decimal_digits(length);
        }
        body.extend_from_slice(format!("{length} {key}=").as_bytes());
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    let trimmed = name.strip_suffix(b"/").unwrap_or(name);
    let (directory, base) = match trimmed.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&trimmed[..=slash], &trimmed[slash + 1..]),
        None => (&b""[..], trimmed),
    };
    let full = [directory, b"PaxHeaders.0/", base].concat();
    let mut block = [0; BLOCK];
    let length = put_ascii(&mut block[..100], &full);
    if block[..length].ends_with(b"/") {
        block[length - 1] = 0;
    }
    for field in [100..107, 108..115, 116..123, 136..147, 329..336, 337..344] {
        put_octal(&mut block[field], 0);
    }
    put_octal(&mut block[124..135], body.len() as u64);
    block[156] = b'x';
    finish(&mut block);
    out.extend_from_slice(&block);
    out.extend_from_slice(&body);
    out.resize(out.len() + padding(body.len() as u64), 0);
}

/// Writes magic and checksum.
fn finish(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put_octal(&mut block[148..154], sum.into());
    block[154] = 0;
}

/// Writes the text without its non-ASCII bytes, as Go writes it into the header of an entry whose name is in PAX; returns how
/// many bytes of the field that takes.
fn put_ascii(field: &mut [u8], text: &[u8]) -> usize {
    let fitting = field.iter_mut().zip(text.iter().filter(|byte| byte.is_ascii()));
    fitting.map(|(to, byte)| *to = *byte).count()
}

fn put_octal(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (number & 7) as u8;
        number >>= 3;
    }
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}
