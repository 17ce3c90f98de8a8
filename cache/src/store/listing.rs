//! Listings: what was read of many small files, kept in one file below `lists/`. A command that shows all names or images
//! then reads that file and asks each directory whether it has changed since.
//!
//! A listing is advice. Every file that a listing is made of is replaced by a rename and never written in place, so each
//! change of one changes its directory, whatever program made it. A directory counts as unchanged while stat(2) says the same
//! of it; in one that has changed, the files that stat(2) says the same of are not read again.
//!
//! A change within the same tick of the kernel's clock may leave a directory's times as they were. So a stat is kept only if it
//! is older than the draft of the listing, which was made before anything was looked at: the file system's own clock decides,
//! and whole-second times need no rule of their own. A power cut may leave files empty without a change of any directory, so a
//! listing of another boot counts as absent.

use crate::{
    BootId, Store, StoreError,
    disk::{FieldReader, FieldWriter, FileStat, checksum, create_private_file, whole_file},
};
use std::{
    borrow::Cow,
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 8] = b"rbuildLS";
const VERSION: u64 = 1;
/// Magic, checksum of all that follows.
const HEADER: usize = 8 + 8;

/// What a file says, in the listing's own form.
pub(super) enum Row<'a> {
    /// Its row.
    Kept(Cow<'a, [u8]>),
    /// It has none, and gets none without being replaced.
    Absent,
    /// It has none now, and may get one by a change elsewhere.
    Unsettled,
}

type ReadRow<'a> = dyn Fn(&str, &[u8]) -> Result<Row<'static>, StoreError> + 'a;

/// One kind of listing.
pub(super) struct ListingOf<'a> {
    /// The name of its file.
    pub(super) name: &'static str,
    /// The directory that it lists, with all below it.
    pub(super) tree: &'static str,
    /// Another directory that the rows depend on.
    pub(super) needs: Option<&'static str>,
    /// Makes the row of a file, whose path is relative to the tree, of its bytes.
    pub(super) read: &'a ReadRow<'a>,
    /// True if a row still holds after a change in the other directory.
    pub(super) holds: &'a dyn Fn(&[u8]) -> bool,
}

/// The rows of a tree's files. What is known already stands in the bytes of the listing's file.
#[derive(Default)]
pub(super) struct Listing<'a> {
    needed: FileStat,
    directories: Vec<ListedDirectory<'a>>,
}

#[derive(Default)]
struct ListedDirectory<'a> {
    /// Below the tree; empty for the tree itself.
    path: Cow<'a, str>,
    /// As it was before it was read; all zero, which no directory has, when that says nothing.
    stat: FileStat,
    directories: Vec<Cow<'a, str>>,
    files: Vec<ListedFile<'a>>,
}

struct ListedFile<'a> {
    name: Cow<'a, str>,
    stat: FileStat,
    row: Cow<'a, [u8]>,
}

impl<'a> Listing<'a> {
    /// The rows of all files as they are now. Files that `kept`, the bytes of the listing's file, has as they are are not
    /// opened; without any bytes, every file is.
    pub(super) fn take(store: &Store, of: &ListingOf<'_>, kept: &'a [u8]) -> Result<Self, StoreError> {
        let known = Self::decode(kept, store.boot()).unwrap_or_default();
        let mut walk = Walk {
            store,
            of,
            root: store.at(of.tree),
            parent: None,
            draft: None,
            found: Self::default(),
            needed_changed: false,
        };
        walk.look_at_needed(&known)?;
        let mut known: HashMap<Cow<'a, str>, ListedDirectory<'a>> =
            known.directories.into_iter().map(|directory| (directory.path.clone(), directory)).collect();
        let mut pending = vec![Cow::Borrowed("")];
        while let Some(path) = pending.pop() {
            let known = known.remove(&path);
            walk.directory(path, known, &mut pending)?;
        }
        if let Some(draft) = walk.draft {
            draft.keep(&walk.found.encode(store.boot()), kept, &store.listing_path(of.name));
        }
        Ok(walk.found)
    }

    /// The rows, each with its file's directory and name.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, &str, &[u8])> {
        self.directories.iter().flat_map(|directory| {
            directory.files.iter().map(|file| (&*directory.path, &*file.name, &*file.row))
        })
    }

    fn encode(&self, boot: BootId) -> Vec<u8> {
        let mut fields = FieldWriter::default();
        fields.number(VERSION);
        fields.text(&boot.to_string());
        write_stat(&mut fields, &self.needed);
        fields.number(self.directories.len() as u64);
        for directory in &self.directories {
            fields.text(&directory.path);
            write_stat(&mut fields, &directory.stat);
            fields.number(directory.directories.len() as u64);
            directory.directories.iter().for_each(|name| fields.text(name));
            fields.number(directory.files.len() as u64);
            for file in &directory.files {
                fields.text(&file.name);
                write_stat(&mut fields, &file.stat);
                fields.counted(&file.row);
            }
        }
        let fields = fields.into_bytes();
        [&MAGIC[..], &checksum(&fields).to_le_bytes(), &fields].concat()
    }

    /// That of `bytes`, unless they are damaged, of another version, or written in another boot.
    fn decode(bytes: &'a [u8], boot: BootId) -> Option<Self> {
        let mut fields = FieldReader::new(bytes);
        let is_whole = fields.raw()? == *MAGIC && fields.number()? == checksum(bytes.get(HEADER..)?);
        if !is_whole || fields.number()? != VERSION || fields.text()? != boot.to_string() {
            return None;
        }
        let mut listing = Self { needed: read_stat(&mut fields)?, directories: Vec::new() };
        for _ in 0..fields.number()? {
            let (path, stat) = (fields.text()?.into(), read_stat(&mut fields)?);
            let mut directory = ListedDirectory { path, stat, ..ListedDirectory::default() };
            for _ in 0..fields.number()? {
                directory.directories.push(fields.text()?.into());
            }
            for _ in 0..fields.number()? {
                let (name, stat) = (fields.text()?.into(), read_stat(&mut fields)?);
                directory.files.push(ListedFile { name, stat, row: fields.counted()?.into() });
            }
            listing.directories.push(directory);
        }
        fields.rest().is_empty().then_some(listing)
    }
}

impl Store {
    /// Forgets all listings, because a file was found to be damaged, which its directory does not show.
    pub(super) fn forget_listings(&self) {
        let _ = crate::disk::remove_files(&self.at("lists"));
    }

    /// The bytes of a listing's file; none when it cannot be read.
    pub(super) fn kept_listing(&self, name: &str) -> Vec<u8> {
        whole_file::read_advice(&self.listing_path(name)).unwrap_or_default()
    }

    fn listing_path(&self, name: &str) -> PathBuf {
        self.at("lists").join(name)
    }
}

/// A tree being looked at. `'a` are the bytes of what is known.
struct Walk<'w, 'a> {
    store: &'w Store,
    of: &'w ListingOf<'w>,
    root: PathBuf,
    /// The directory whose entries were looked at last, open: the next one is often its neighbour.
    parent: Option<(String, File)>,
    /// Made at the first change; a listing without one is not kept.
    draft: Option<Draft>,
    found: Listing<'a>,
    needed_changed: bool,
}

impl<'a> Walk<'_, 'a> {
    fn look_at_needed(&mut self, known: &Listing<'a>) -> Result<(), StoreError> {
        let Some(needed) = self.of.needs.map(|needed| self.store.at(needed)) else { return Ok(()) };
        let stat = || FileStat::at(&needed).map_err(StoreError::on("stat", &needed));
        if stat()? == Some(known.needed) {
            self.found.needed = known.needed;
            return Ok(());
        }
        self.needed_changed = true;
        self.change();
        self.found.needed = self.settled(stat()?.unwrap_or_default());
        Ok(())
    }

    /// Adds the directory `path`, and those in it to `pending`.
    fn directory(
        &mut self,
        path: Cow<'a, str>,
        known: Option<ListedDirectory<'a>>,
        pending: &mut Vec<Cow<'a, str>>,
    ) -> Result<(), StoreError> {
        let below = |name: &Cow<'a, str>| match &*path {
            "" => name.clone(),
            path => Cow::Owned(format!("{path}/{name}")),
        };
        let stat = self.stat(&path)?;
        let known = match known {
            Some(known) if Some(known.stat) == stat && !self.needed_changed => {
                pending.extend(known.directories.iter().map(below));
                self.found.directories.push(known);
                return Ok(());
            }
            known => known.unwrap_or_default(),
        };
        self.change();
        let Some(stat) = self.stat(&path)? else { return Ok(()) };
        let mut known: HashMap<Cow<'a, str>, ListedFile<'a>> =
            known.files.into_iter().map(|file| (file.name.clone(), file)).collect();
        let mut directory = ListedDirectory { stat: self.settled(stat), ..ListedDirectory::default() };
        let mut is_settled = true;
        for (name, is_directory) in entries(&self.root.join(&*path))? {
            let (known, name) = (known.remove(&*name), Cow::Owned(name));
            let path = below(&name);
            if is_directory {
                pending.push(path);
                directory.directories.push(name);
                continue;
            }
            match self.file(&path, known)? {
                (stat, Row::Kept(row)) => directory.files.push(ListedFile { name, stat, row }),
                (_, Row::Absent) => {}
                (_, Row::Unsettled) => is_settled = false,
            }
        }
        if !is_settled {
            directory.stat = FileStat::default();
        }
        directory.path = path;
        self.found.directories.push(directory);
        Ok(())
    }

    fn file(&mut self, path: &str, known: Option<ListedFile<'a>>) -> Result<(FileStat, Row<'a>), StoreError> {
        let Some(stat) = self.stat(path)? else { return Ok((FileStat::default(), Row::Absent)) };
        let holds = |row: &[u8]| !self.needed_changed || (self.of.holds)(row);
        if let Some(known) = known
            && known.stat == stat
            && holds(&known.row)
        {
            return Ok((stat, Row::Kept(known.row)));
        }
        let bytes = whole_file::read(&self.root.join(path))?;
        let row = bytes.map_or(Ok(Row::Absent), |bytes| (self.of.read)(path, &bytes))?;
        Ok((self.settled(stat), row))
    }

    /// Notes that the listing on the disk, if there is one, is not as the tree.
    fn change(&mut self) {
        if self.draft.is_none() {
            self.draft = Draft::create(self.store).ok();
        }
    }

    /// The stat, if a later change will make it another one.
    fn settled(&self, stat: FileStat) -> FileStat {
        let is_old = self.draft.as_ref().is_some_and(|draft| stat.last_change() < draft.begun);
        if is_old { stat } else { FileStat::default() }
    }

    /// That of a file or directory below the tree, or of the tree.
    fn stat(&mut self, path: &str) -> Result<Option<FileStat>, StoreError> {
        if path.is_empty() {
            return FileStat::at(&self.root).map_err(StoreError::on("stat", &self.root));
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if self.parent.as_ref().is_none_or(|(open, _)| open != parent) {
            let directory = self.root.join(parent);
            match File::open(&directory) {
                Ok(open) => self.parent = Some((parent.to_owned(), open)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(StoreError::io("open", &directory, e)),
            }
        }
        let (_, parent) = self.parent.as_ref().expect("it was opened above");
        FileStat::below(parent, Path::new(name)).map_err(StoreError::on("stat", &self.root.join(path)))
    }
}

/// The file of a listing before it has its name.
struct Draft {
    path: PathBuf,
    file: File,
    /// The file system's time when it was made.
    begun: i64,
}

impl Draft {
    fn create(store: &Store) -> Result<Self, StoreError> {
        let path = store.space().path("listing")?;
        let made = create_private_file(&path).and_then(|file| Ok((FileStat::of(&file)?.changed, file)));
        let (begun, file) = made.map_err(StoreError::on("create", &path))?;
        Ok(Self { path, file, begun })
    }

    /// Gives it `bytes` and the name `to`, unless the file there has them already. A failure costs time only.
    fn keep(mut self, bytes: &[u8], kept: &[u8], to: &Path) {
        if bytes != kept && self.file.write_all(bytes).is_ok() {
            let _ = whole_file::rename(&self.path, to);
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // once it has its name there is nothing under this one
        let _ = fs::remove_file(&self.path);
    }
}

/// UTF-8 names in a directory that may vanish, each with true if it is a directory.
fn entries(directory: &Path) -> Result<Vec<(String, bool)>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io("read", directory, e)),
    };
    let named = |entry: fs::DirEntry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        Some((entry.file_name().into_string().ok()?, is_directory))
    };
    Ok(entries.flatten().filter_map(named).collect())
}

fn write_stat(fields: &mut FieldWriter, stat: &FileStat) {
    let times = [stat.modified.cast_unsigned(), stat.changed.cast_unsigned()];
    let numbers = [stat.device, stat.inode, stat.size, times[0], times[1], u64::from(stat.mode)];
    numbers.into_iter().for_each(|number| fields.number(number));
}

fn read_stat(fields: &mut FieldReader<'_>) -> Option<FileStat> {
    Some(FileStat {
        device: fields.number()?,
        inode: fields.number()?,
        size: fields.number()?,
        modified: fields.number()?.cast_signed(),
        changed: fields.number()?.cast_signed(),
        mode: u32::try_from(fields.number()?).ok()?,
    })
}
