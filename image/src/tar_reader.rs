//! Reading a layer tar as a stream: one entry at a time, with PAX and GNU extensions folded into it (pax(1); GNU tar
//! manual, "Basic Tar Format").
//!
//! Nothing is trusted: numbers are checked, extension headers have a size limit, names are left raw for
//! [`crate::entry_path`]. Every byte that is not a file's content is shown to the recipe, when there is one.

use crate::{
    ImageError,
    chunk_pipe::ChunkReader,
    error::TarProblem,
    recipe::RecipeWriter,
    sparse::{self, SparseMap},
    tar_header::{BLOCK, padding},
};
use tar::Header;

/// The longest extension header that is read; Go's limit.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    /// `.wh.` and link names apart, a kind no layer has; its type flag.
    Unknown(u8),
}

/// One entry, its content not yet read.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    /// As it stands in the tar.
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Bytes of content in the tar.
    pub(crate) stored: u64,
    /// Where they belong, when the file has holes.
    pub(crate) sparse: Option<SparseMap>,
    pub(crate) device: (u32, u32),
    /// Extended attributes.
    pub(crate) attributes: Vec<(String, Vec<u8>)>,
}

/// A modification time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

/// What extension headers say of the next entry.
#[derive(Debug, Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<Time>,
    attributes: Vec<(String, Vec<u8>)>,
    sparse: sparse::PaxKeys,
}

/// A tar being read.
#[derive(Debug)]
pub(crate) struct TarReader {
    input: ChunkReader,
    recipe: Option<RecipeWriter>,
}

impl TarReader {
    pub(crate) fn new(input: ChunkReader, recipe: Option<RecipeWriter>) -> Self {
        Self { input, recipe }
    }

    /// The recipe, while it is being written.
    pub(crate) fn recipe(&mut self) -> Option<&mut RecipeWriter> {
        self.recipe.as_mut()
    }

    /// Ends the reading.
    pub(crate) fn into_recipe(self) -> Option<RecipeWriter> {
        self.recipe
    }

    /// The next entry; `None` at the end, which is two blocks of zeros or simply no more bytes. What follows the end is
    /// read as well, for it is part of the DiffId.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ImageError> {
        let mut extensions = Extensions::default();
        loop {
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return Ok(None);
            }
            if block == [0; BLOCK] {
                self.end()?;
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            check(header, &block)?;
            let size = number("size", &block[124..136])?;
            match block[156] {
                b'x' => extensions.add_pax(&self.extension(size)?)?,
                // docker ignores global headers too
                b'g' => drop(self.extension(size)?),
                b'L' => extensions.name = Some(until_nul(self.extension(size)?)),
                b'K' => extensions.link = Some(until_nul(self.extension(size)?)),
                _ => return self.entry(header, extensions).map(Some),
            }
        }
    }

    /// Reads `size` bytes of content in pieces, and the padding after them. `path` names the file they become, for
    /// the recipe; content that becomes none is kept in the recipe itself.
    pub(crate) fn content(
        &mut self,
        size: u64,
        path: Option<&[u8]>,
        mut take: impl FnMut(&[u8]) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        if let (Some(recipe), Some(path)) = (&mut self.recipe, path) {
            recipe.content(path, size)?;
        }
        let mut left = size;
        while left > 0 {
            let available = self.input.available()?;
            if available.is_empty() {
                return Err(TarProblem::Truncated.into());
            }
            let count = available.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            take(&available[..count])?;
            if let (Some(recipe), None) = (&mut self.recipe, path) {
                recipe.literal(&available[..count])?;
            }
            self.input.consume(count);
            left -= count as u64;
        }
        let mut pad = [0; BLOCK];
        let pad = &mut pad[..padding(size)];
        if self.exactly(pad)? < pad.len() { Err(TarProblem::Truncated.into()) } else { Ok(()) }
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, ImageError> {
        let block = header.as_bytes();
        let id = |field: &'static str, given: Option<u64>, bytes: &[u8]| {
            let id = given.map_or_else(|| number(field, bytes), Ok)?;
            u32::try_from(id).map_err(|_| TarProblem::Number { field })
        };
        let name = extensions.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let flag = block[156];
        let kind = match flag {
            // before ustar a directory was a file whose name ends in a slash
            0 | b'0' if name.ends_with(b"/") => EntryKind::Directory,
            0 | b'0' | b'7' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Symlink,
            b'3' => EntryKind::CharDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            other => EntryKind::Unknown(other),
        };
        let size = extensions.size.map_or_else(|| number("size", &block[124..136]), Ok)?;
        let mtime = number("mtime", &block[136..148])?;
        let mut entry = Entry {
            kind,
            name,
            link: extensions.link.unwrap_or_else(|| {
                header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default()
            }),
            mode: (number("mode", &block[100..108])? & 0o7777) as u32,
            uid: id("uid", extensions.uid, &block[108..116])?,
            gid: id("gid", extensions.gid, &block[116..124])?,
            mtime: extensions.mtime.unwrap_or(Time { seconds: mtime.cast_signed(), nanoseconds: 0 }),
            // the other kinds have no content, whatever the field says (as in Go's reader)
            stored: if matches!(kind, EntryKind::File | EntryKind::Unknown(_)) { size } else { 0 },
            sparse: None,
            device: device_numbers(kind, block)?,
            attributes: extensions.attributes,
        };
        if flag == b'S' {
            entry.sparse = Some(self.gnu_sparse(header)?);
        } else if let Some(map) = extensions.sparse.resolve(self, &mut entry)? {
            entry.sparse = Some(map);
        }
        Ok(entry)
    }

    /// The map of an old GNU sparse file, of which further blocks may follow the header.
    fn gnu_sparse(&mut self, header: &Header) -> Result<SparseMap, ImageError> {
        let gnu = header.as_gnu().ok_or(TarProblem::Sparse)?;
        let mut map = SparseMap::new(gnu.real_size().map_err(|_| TarProblem::Sparse)?);
        map.add_gnu(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            if !self.block(block.as_mut_bytes())? {
                return Err(TarProblem::Truncated.into());
            }
            map.add_gnu(block.sparse())?;
            more = block.is_extended();
        }
        Ok(map)
    }

    /// The content of an extension header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        if size > EXTENSION_LIMIT {
            return Err(TarProblem::ExtensionTooLong { size }.into());
        }
        let mut body = Vec::with_capacity(size as usize);
        self.content(size, None, |piece| {
            body.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(body)
    }

    /// Reads one block; `false` at the end of the stream.
    pub(crate) fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ImageError> {
        match self.exactly(block)? {
            0 => Ok(false),
            BLOCK => Ok(true),
            _ => Err(TarProblem::Truncated.into()),
        }
    }

    /// After the first block of zeros there must be another or nothing; everything behind it is only recorded.
    fn end(&mut self) -> Result<(), ImageError> {
        let mut block = [0; BLOCK];
        if self.exactly(&mut block)? == BLOCK && block != [0; BLOCK] {
            return Err(TarProblem::Header.into());
        }
        loop {
            let available = self.input.available()?;
            if available.is_empty() {
                return Ok(());
            }
            if let Some(recipe) = &mut self.recipe {
                recipe.literal(available)?;
            }
            let count = available.len();
            self.input.consume(count);
        }
    }

    /// Fills `into`, less at the end of the stream, and records what was read.
    fn exactly(&mut self, into: &mut [u8]) -> Result<usize, ImageError> {
        let mut filled = 0;
        while filled < into.len() {
            let available = self.input.available()?;
            if available.is_empty() {
                break;
            }
            let count = available.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&available[..count]);
            self.input.consume(count);
            filled += count;
        }
        if let Some(recipe) = &mut self.recipe {
            recipe.literal(&into[..filled])?;
        }
        Ok(filled)
    }
}

impl Extensions {
    fn add_pax(&mut self, body: &[u8]) -> Result<(), TarProblem> {
        let mut rest = body;
        while !rest.is_empty() {
            let (key, value, after) = pax_record(rest).ok_or(TarProblem::PaxRecord)?;
            rest = after;
            let text = || std::str::from_utf8(value).map_err(|_| TarProblem::PaxRecord);
            let number =
                |field: &'static str| text()?.parse::<u64>().map_err(|_| TarProblem::Number { field });
            match key {
                // an empty value withdraws what a global header said
                _ if value.is_empty() && !key.starts_with("SCHILY.xattr.") => {}
                "path" => self.name = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "size" => self.size = Some(number("size")?),
                "uid" => self.uid = Some(number("uid")?),
                "gid" => self.gid = Some(number("gid")?),
                "mtime" => self.mtime = Some(pax_time(text()?).ok_or(TarProblem::Number { field: "mtime" })?),
                _ => {
                    if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                        self.attributes.push((name.to_owned(), value.to_vec()));
                    } else if let Some(name) = key.strip_prefix("GNU.sparse.") {
                        self.sparse.add(name, text()?)?;
                    }
                }
            }
        }
        if let Some(name) = self.sparse.take_name() {
            self.name = Some(name);
        }
        Ok(())
    }
}

fn check(header: &Header, block: &[u8; BLOCK]) -> Result<(), TarProblem> {
    let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum::<u32>()
        + 8 * u32::from(b' ');
    if header.cksum().is_ok_and(|written| written == sum) { Ok(()) } else { Err(TarProblem::Header) }
}

fn device_numbers(kind: EntryKind, block: &[u8; BLOCK]) -> Result<(u32, u32), TarProblem> {
    if !matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        return Ok((0, 0));
    }
    let part = |bytes: &[u8]| {
        u32::try_from(number("device", bytes)?).map_err(|_| TarProblem::Number { field: "device" })
    };
    Ok((part(&block[329..337])?, part(&block[337..345])?))
}

/// A number in octal digits, or in base 256 when the first bit is set; an empty field is zero, as Go reads it. Negative
/// numbers come out as their two's complement.
fn number(field: &'static str, bytes: &[u8]) -> Result<u64, TarProblem> {
    let bad = || TarProblem::Number { field };
    if bytes[0] & 0x80 != 0 {
        let (high, low) = bytes.split_at(bytes.len().saturating_sub(8));
        let fill = if bytes[0] & 0x40 == 0 { 0 } else { 0xff };
        let marked = |at: usize, byte: u8| if at == 0 && fill == 0 { byte & 0x7f } else { byte };
        if high.iter().enumerate().any(|(at, byte)| marked(at, *byte) != fill) {
            return Err(bad());
        }
        let first = marked(high.len(), low[0]);
        let rest = low[1..].iter().fold(u64::from(first), |number, byte| number << 8 | u64::from(*byte));
        return Ok(rest);
    }
    let padding = |byte: &u8| matches!(byte, 0 | b' ');
    let start = bytes.iter().position(|byte| !padding(byte)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let digits = &digits[..digits.iter().position(padding).unwrap_or(digits.len())];
    if digits.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(digits).map_err(|_| bad())?;
    u64::from_str_radix(text, 8).map_err(|_| bad())
}

/// Splits `LENGTH KEY=VALUE\n` off; the length counts the whole record, so values may hold anything.
fn pax_record(rest: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let blank = rest.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&rest[..blank]).ok()?.parse().ok()?;
    let record = rest.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((std::str::from_utf8(&record[..equals]).ok()?, &record[equals + 1..], &rest[length..]))
}

/// `[-]SECONDS[.FRACTION]`
fn pax_time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    name
}
