//! An archive as files that are read from any place by several threads: where its members are, following the links of
//! old Docker archives. A directory laid out like an archive is one too.

use crate::ImageError;
use rbuild_archive::{ArchiveError, Codec, EntryKind, Limits, TarProblem, TarReader, decompressed, sniff};
use rbuild_cache::{ScratchDir, Store, create_private_file};
use rbuild_oci::Digest;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The longest JSON file of an archive that is read.
const DOCUMENT_LIMIT: u64 = 16 << 20;

/// The most bytes of JSON that are read of one archive, since its index can name a file any number of times.
const DOCUMENTS_LIMIT: u64 = 64 << 20;

/// Bounds on an archive's members, whose names are all kept: four for each of the layers of a thousand large images, and
/// no name longer than any that a tool gives.
const MEMBERS: Limits = Limits { entries: 1 << 18, path: 1024, ..Limits::STANDARD };

/// Links followed before an archive is taken for a loop.
const LINK_LIMIT: usize = 8;

/// Where an archive comes from.
pub enum ArchiveSource {
    /// A file; a pipe behind it is fine.
    File(File),
    /// A stream, which is copied to the store's temporary space first.
    Stream(Box<dyn Read + Send>),
}

/// An archive whose members are known.
pub(crate) enum ArchiveFile {
    Tar {
        file: Arc<File>,
        members: HashMap<String, Member>,
        /// True if the blocks that end a tar are missing: it was cut between two members.
        is_cut: bool,
        /// Number of bytes of JSON that were read.
        documents: AtomicU64,
        /// Holds the copy, when one had to be made.
        _copy: Option<ScratchDir>,
    },
    /// Its files are opened when they are asked for, and never outside of it.
    Directory(OwnedFd),
}

pub(crate) enum Member {
    Content {
        offset: u64,
        size: u64,
    },
    /// To a name in the archive.
    Link(String),
}

/// Where a member's bytes are.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    file: Arc<File>,
    offset: u64,
    pub(crate) size: u64,
}

impl ArchiveFile {
    /// Lists the members. Compressed archives and streams are copied first, uncompressed.
    pub(crate) fn open(store: &Store, source: ArchiveSource) -> Result<Self, ImageError> {
        let (file, copy) = match source {
            ArchiveSource::File(file) if is_plain(&file)? => (file, None),
            ArchiveSource::File(file) => spool(store, file)?,
            ArchiveSource::Stream(stream) => spool(store, stream)?,
        };
        let (members, is_cut) = list(&file)?;
        let documents = AtomicU64::new(0);
        Ok(Self::Tar { file: Arc::new(file), members, is_cut, documents, _copy: copy })
    }

    /// A directory of the host with an archive's files.
    pub(crate) fn open_directory(path: &Path) -> Result<Self, ImageError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        opened.map(Self::Directory).map_err(|errno| ImageError::LayerFile {
            action: "open",
            path: path.to_owned(),
            source: errno.into(),
        })
    }

    /// The word for it in messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Tar { is_cut: true, .. } => "archive, whose end is missing,",
            Self::Tar { .. } => "archive",
            Self::Directory(_) => "layout",
        }
    }

    /// The error for an archive that describes no images.
    pub(crate) fn describes_nothing(&self) -> ImageError {
        match self {
            Self::Tar { is_cut: true, members, .. } if !members.is_empty() => {
                ArchiveError::from(TarProblem::Truncated).into()
            }
            Self::Tar { .. } | Self::Directory(_) => ImageError::NotAnArchive,
        }
    }

    /// The member called `name`, links followed; `None` when there is none.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Section>, ImageError> {
        let name = clean("", name);
        match self {
            Self::Tar { file, members, .. } => Ok(find_member(members, name).map(|(offset, size)| Section {
                file: Arc::clone(file),
                offset,
                size,
            })),
            Self::Directory(directory) => open_beneath(directory, &name)
                .map_err(|source| ImageError::LayerFile { action: "open", path: name.into(), source }),
        }
    }

    /// The member called `name`, which must be there.
    pub(crate) fn section(&self, name: &str) -> Result<Section, ImageError> {
        let missing = || ImageError::ArchiveFile { archive: self.kind(), file: name.to_owned() };
        self.find(name)?.ok_or_else(missing)
    }

    /// Reads a JSON file whole. When its name is a digest its bytes must have it.
    pub(crate) fn document(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        let section = self.section(name)?;
        let too_long = |subject, size, limit| Err(ImageError::TooLong { subject, size, limit });
        if section.size > DOCUMENT_LIMIT {
            let subject = format!("file {name:?} of the {}", self.kind());
            return too_long(subject, section.size, DOCUMENT_LIMIT);
        }
        if let Self::Tar { documents, .. } = self {
            let size = documents.fetch_add(section.size, Ordering::Relaxed) + section.size;
            if size > DOCUMENTS_LIMIT {
                return too_long("JSON that the archive names in all".to_owned(), size, DOCUMENTS_LIMIT);
            }
        }
        let mut bytes = Vec::with_capacity(section.size as usize);
        section.reader().read_to_end(&mut bytes).map_err(ImageError::ArchiveRead)?;
        let found = Digest::of(&bytes);
        match digest_in(name) {
            Some(expected) if expected != found => {
                Err(ImageError::ArchiveDigest { archive: self.kind(), file: name.to_owned(), found })
            }
            _ => Ok(bytes),
        }
    }
}

impl Section {
    /// Reads a member; readers do not disturb each other.
    pub(crate) fn reader(&self) -> SectionReader {
        SectionReader { file: Arc::clone(&self.file), position: self.offset, end: self.offset + self.size }
    }
}

fn find_member(members: &HashMap<String, Member>, mut name: String) -> Option<(u64, u64)> {
    for _ in 0..LINK_LIMIT {
        match members.get(&name)? {
            Member::Content { offset, size } => return Some((*offset, *size)),
            Member::Link(target) => name.clone_from(target),
        }
    }
    None
}

/// A regular file in `directory`; links that leave it are not followed, and nothing is waited for.
fn open_beneath(directory: &OwnedFd, name: &str) -> io::Result<Option<Section>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat2(directory, name, flags, Mode::empty(), ResolveFlags::BENEATH) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::XDEV) => return Err(io::Error::other("it leads out of the layout")),
        Err(errno) => return Err(errno.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    Ok(Some(Section { file: Arc::new(file), offset: 0, size: metadata.len() }))
}

/// The digest a member is named by: `blobs/sha256/HEX` or `HEX.json`.
pub(crate) fn digest_in(name: &str) -> Option<Digest> {
    let base = name.rsplit_once('/').map_or(name, |(_, base)| base);
    Digest::from_hex(base.strip_suffix(".json").unwrap_or(base)).ok()
}

/// Reads one section.
pub(crate) struct SectionReader {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Read for SectionReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let want = into.len().min(left);
        let count = self.file.read_at(&mut into[..want], self.position)?;
        if count == 0 && want > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += count as u64;
        Ok(count)
    }
}

/// True if it is a regular, uncompressed file, which can be read at any offset. It is left at its beginning.
fn is_plain(mut file: &File) -> Result<bool, ImageError> {
    if !file.metadata().map_err(ImageError::ArchiveRead)?.is_file() {
        return Ok(false);
    }
    file.rewind().map_err(ImageError::ArchiveRead)?;
    let codec = sniff(file).map_err(ImageError::ArchiveRead)?.0;
    file.rewind().map_err(ImageError::ArchiveRead)?;
    Ok(codec == Codec::Plain)
}

/// Copies `stream` to the store's temporary space, uncompressed.
fn spool(store: &Store, stream: impl Read) -> Result<(File, Option<ScratchDir>), ImageError> {
    let directory = store.scratch_dir()?;
    let path = directory.path().join("archive.tar");
    let mut copy = create_private_file(&path).map_err(ImageError::ArchiveRead)?;
    let (codec, sniffed) = sniff(stream).map_err(ImageError::ArchiveRead)?;
    let plain = decompressed(codec, sniffed).map_err(ArchiveError::Decompress)?;
    let mut plain = BufReader::with_capacity(1 << 20, plain);
    loop {
        let piece = match plain.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            piece => piece.map_err(ImageError::ArchiveRead)?,
        };
        if piece.is_empty() {
            return Ok((copy, Some(directory)));
        }
        copy.write_all(piece).map_err(|source| ImageError::LayerFile {
            action: "write",
            path: path.clone(),
            source,
        })?;
        let count = piece.len();
        plain.consume(count);
    }
}

/// The members, and true if the tar's end is missing.
fn list(mut file: &File) -> Result<(HashMap<String, Member>, bool), ImageError> {
    file.seek(SeekFrom::Start(0)).map_err(ImageError::ArchiveRead)?;
    let mut tar = TarReader::new(BufReader::new(file)).within(MEMBERS);
    let mut members = HashMap::new();
    let mut read = 0;
    while let Some(entry) = tar.next_entry()? {
        let name = clean("", &String::from_utf8_lossy(&entry.name));
        let link = String::from_utf8_lossy(&entry.link);
        let member = match entry.kind {
            // where a sparse file's bytes belong is of no use to one that is read in place
            EntryKind::File if entry.sparse.is_none() => {
                Member::Content { offset: tar.position(), size: entry.stored }
            }
            EntryKind::Symlink => {
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                Member::Link(clean(directory, &link))
            }
            EntryKind::HardLink => Member::Link(clean("", &link)),
            EntryKind::File
            | EntryKind::CharDevice
            | EntryKind::BlockDevice
            | EntryKind::Directory
            | EntryKind::Fifo
            | EntryKind::Unknown(_) => {
                tar.seek_past_content()?;
                read = tar.position();
                continue;
            }
        };
        members.insert(name, member);
        tar.seek_past_content()?;
        read = tar.position();
    }
    Ok((members, tar.position() == read))
}

/// `name` seen from `directory`, without `.`, `..` and doubled slashes.
fn clean(directory: &str, name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
