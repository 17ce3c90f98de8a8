//! COPY and ADD: writing a selection into a new layer, directly in overlay form. No mount but the read-only view of
//! what is below, no process, no second look at the sources.
//!
//! The rules are `spec` §6; each function below names its section.

mod earlier;
mod subtree;

use crate::{
    ExecutorError, FetchedFile, Selection, Snapshots,
    add::{self, Archive},
    draft::{
        BUFFER, Created, Destination, Made, NewDir, Place, Policy, Seen, Ways, create_with, failure,
        file::{self, Original},
        open_new, pour,
    },
    rooted::{Last, Space as _, is_dir, join, parent, resolve, shown},
    select::{Body, Dir, Kind, Meta, Root, Time, Tree},
    users,
};
use earlier::Earlier;
use rbuild_cache::{LayerDraft, LayerId};
use rbuild_planner::{CopyAction, Unpack};
use rustix::fs::fstat;
use std::{
    fs::File,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    time::SystemTime,
};
use subtree::{Subtree, Top};

/// Copies `selection`, which was made for `action`, onto the layers `parent` (lowest first). Directories made on the
/// way, and directories that get or lose a name, have the time `now`.
///
/// # Errors
/// The conflicts of `spec` §6 and whatever reading and writing brings; the draft is gone then.
pub fn copy(
    snapshots: &Snapshots,
    action: &CopyAction,
    selection: &Selection,
    parent: &[LayerId],
    now: SystemTime,
) -> Result<LayerDraft, ExecutorError> {
    copy_linking(snapshots, action, selection, (parent, None), now)
}

/// As [`copy`]. A file that `earlier`, the layer of an earlier copy, has at the same path with the same content, owner, mode and
/// time becomes a link to that one.
///
/// # Errors
/// As [`copy`].
pub fn copy_linking(
    snapshots: &Snapshots,
    action: &CopyAction,
    selection: &Selection,
    (parent, earlier): (&[LayerId], Option<LayerId>),
    now: SystemTime,
) -> Result<LayerDraft, ExecutorError> {
    // §4.2.1: a linked copy does not see what is below; with --chmod it is a plain one
    let below = if action.link && action.chmod.is_none() { &[] } else { parent };
    let view = snapshots.view(below)?;
    let owner = action.chown.as_deref().map(|text| users::chown_owner(&view, text)).transpose()?;
    let mut draft = snapshots.store().new_layer()?;
    let mut copy = Copy {
        action,
        selection,
        policy: Policy::new(owner, action.chmod.as_ref())?,
        destination: Destination::new(&draft, &view, now)?,
        ways: Ways::new(snapshots.store(), &selection.cancel),
        directory: false,
        recreated: Vec::new(),
        buffer: vec![0; BUFFER],
        earlier: earlier.and_then(|layer| Earlier::open(snapshots.store(), &layer)),
        note: None,
    };
    copy.run()?;
    if let Some(note) = copy.note.take() {
        draft.note(earlier::NOTE, &note)?;
    }
    Ok(draft.counted(copy.destination.finish()?))
}

struct Copy<'a> {
    action: &'a CopyAction,
    selection: &'a Selection,
    policy: Policy,
    destination: Destination<'a>,
    ways: Ways,
    /// The destination is a directory whatever is there now.
    directory: bool,
    /// Directories `--parents` made, with the metadata they end with.
    recreated: Vec<(Vec<u8>, Meta)>,
    /// What an earlier copy has made.
    earlier: Option<Earlier>,
    /// What this one makes, for the next.
    note: Option<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Copy<'_> {
    fn run(&mut self) -> Result<(), ExecutorError> {
        let roots = &self.selection.roots;
        // §6.2: among several sources one directory makes the destination one
        let has_tree = roots.iter().any(|root| matches!(root.body, Body::Tree(_)));
        self.directory = self.action.destination_is_directory || (roots.len() > 1 && has_tree);
        if self.selection.bases > 0 {
            let base = self.resolved()?.path;
            self.destination.make_dirs(&base, self.new_dir())?;
        }
        for root in roots {
            if self.action.parents {
                self.recreate(root)?;
                continue;
            }
            match &root.body {
                Body::Tree(tree) => self.tree(root, tree)?,
                Body::Single(dir) => match self.archive(root, dir)? {
                    Some((archive, file)) => self.extract_unchanged(archive, (&file, dir))?,
                    None => self.single(root)?,
                },
                Body::Inline(_) => self.single(root)?,
                Body::Fetched(fetched) => match self.fetched_archive(fetched)? {
                    Some(archive) => self.extract(archive)?,
                    None => self.single(root)?,
                },
            }
        }
        self.ways.finish((&self.policy, &self.destination.taken))?;
        // putting things into them changed their times
        for (path, meta) in &self.recreated {
            self.destination.set_times(path, meta);
        }
        Ok(())
    }

    fn new_dir(&self) -> NewDir {
        NewDir { mode: self.policy.parent_mode(), owner: self.policy.parent_owner() }
    }

    /// The destination with its links followed (§6.1).
    fn resolved(&self) -> Result<crate::rooted::Resolved, ExecutorError> {
        resolve(&self.destination, self.action.destination.as_str().as_bytes(), Last::Follow)
    }

    /// §6.3
    fn tree(&mut self, root: &Root, tree: &Tree) -> Result<(), ExecutorError> {
        let target = self.resolved()?;
        let in_the_way = target.found.as_ref().is_some_and(|stat| !is_dir(stat));
        if in_the_way && !self.action.destination_is_directory {
            return Err(ExecutorError::NotADirectory { path: shown(&target.path) });
        }
        let below = self.destination.make_dirs(&target.path, self.new_dir())?;
        self.subtree(root, tree).copy(&target.path, below, Top::Callers)?;
        self.note(tree, &target.path);
        self.destination.set_times(&target.path, &tree.dirs[0].meta);
        Ok(())
    }

    /// §6.2
    fn single(&mut self, root: &Root) -> Result<(), ExecutorError> {
        let target = self.resolved()?;
        let into = self.directory || target.found.as_ref().is_some_and(is_dir);
        let path = if into { join(&target.path, &root.place) } else { target.path };
        self.destination.make_dirs(parent(&path), self.new_dir())?;
        self.put(root, &path)
    }

    /// Copies anything but a directory to canonical `path`, whose parent is in the upper directory.
    fn put(&mut self, root: &Root, path: &[u8]) -> Result<(), ExecutorError> {
        self.destination.make_room(path)?;
        let fail = |errno| failure(path, errno);
        let to = self.destination.upper.open_dir(parent(path))?;
        let stat = fstat(&to).map_err(fail)?;
        let birth = self.policy.birth_in(stat.st_mode, stat.st_gid);
        let taken = &self.destination.taken;
        let place = Place { dir: &to, name: crate::rooted::file_name(path), birth, taken };
        match &root.body {
            Body::Single(names) => {
                let entry = &names.entries[0];
                let reads = Original::needs_directory(entry);
                let from = if reads { Some(root.source.open_dir(&names.path)?) } else { None };
                let original = Original { dir: from.as_ref(), names, entry };
                let made = file::create(original, place, &self.policy, &self.ways, &mut self.buffer);
                match made.map_err(fail)? {
                    Created::Whole => Ok(()),
                    Created::Empty(content) => self.ways.fill_later(
                        (content, path.to_vec()),
                        (&self.policy, taken),
                        &mut self.buffer,
                    ),
                }
            }
            Body::Inline(content) => {
                let now = self.destination.now;
                let meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: now, atime: now };
                create_with(content, &self.policy.apply(meta, Kind::File), place, &self.policy).map_err(fail)
            }
            Body::Fetched(fetched) => {
                let time = Time { seconds: fetched.modified, nanoseconds: 0 };
                let meta = Meta { mode: 0o600, uid: 0, gid: 0, mtime: time, atime: time };
                let meta = self.policy.apply(meta, Kind::File);
                let from = open_fetched(fetched)?;
                let to = open_new(place, &meta).map_err(fail)?;
                pour(&from, &to, fetched.size, &self.ways, &mut self.buffer).map_err(fail)?;
                self.policy.finish_file(&to, &meta, place.birth).map_err(fail)?;
                taken.add_stat(&fstat(&to).map_err(fail)?);
                Ok(())
            }
            Body::Tree(_) => Ok(()),
        }
    }

    /// §6.6
    fn recreate(&mut self, root: &Root) -> Result<(), ExecutorError> {
        let base = self.resolved()?.path;
        for (place, meta, xattrs) in &root.parents {
            let meta = self.policy.apply(*meta, Kind::Dir(0));
            let path = join(&base, place);
            if self.destination.make_dir_like(&path, &meta, xattrs)? == Made::New {
                self.recreated.push((path, meta));
            }
        }
        let path = join(&base, &root.place);
        match &root.body {
            Body::Tree(tree) if root.place.is_empty() => self.tree(root, tree),
            Body::Tree(tree) => {
                let made = match self.destination.find(&path)? {
                    Some(stat) if is_dir(&stat) => Made::Existing,
                    Some(_) => return Err(ExecutorError::NotADirectory { path: shown(&path) }),
                    None => Made::New,
                };
                let below = self.destination.make_dirs(&path, self.new_dir())?;
                self.subtree(root, tree).copy(&path, below, Top::Copied(made))?;
                self.note(tree, &path);
                let meta = self.policy.apply(tree.dirs[0].meta, Kind::Dir(0));
                self.destination.set_times(&path, &meta);
                Ok(())
            }
            Body::Single(_) | Body::Inline(_) | Body::Fetched(_) => self.put(root, &path),
        }
    }

    /// Notes the files of a tree that was copied to `path`. Among several sources one may replace files of another, so that
    /// a name says less.
    fn note(&mut self, tree: &Tree, path: &[u8]) {
        if self.selection.roots.len() == 1 {
            self.note = earlier::note(tree, path, &self.policy);
        }
    }

    fn subtree<'b>(&'b self, root: &'b Root, tree: &'b Tree) -> Subtree<'b> {
        Subtree {
            source: &root.source,
            upper: &self.destination.upper,
            view: self.destination.view.rooted(),
            policy: &self.policy,
            tree,
            ways: &self.ways,
            taken: &self.destination.taken,
            earlier: self.earlier.as_ref(),
        }
    }

    /// The archive a single source is, if this is an ADD that extracts (§6.9), and its file.
    fn archive(&self, root: &Root, dir: &Dir) -> Result<Option<(Archive, OwnedFd)>, ExecutorError> {
        match (self.action.unpack, dir.entries[0].kind) {
            (Unpack::Local | Unpack::Always, Kind::File) => {
                let path = join(&dir.path, dir.text(dir.entries[0].name));
                let file = root.source.open(&path)?;
                Seen::of(&dir.entries[0]).unchanged(&file).map_err(|errno| failure(&path, errno))?;
                let kept = file.try_clone().map_err(|error| ExecutorError::system("dup", &path, error))?;
                Ok(add::recognise(file, &path, add::Purpose::Add)?.map(|archive| (archive, kept)))
            }
            (Unpack::Never, _) | (_, Kind::Dir(_) | Kind::Symlink | Kind::Device(..) | Kind::Socket) => {
                Ok(None)
            }
        }
    }

    /// The archive that a file of the web is, if this ADD extracts those.
    fn fetched_archive(&self, fetched: &FetchedFile) -> Result<Option<Archive>, ExecutorError> {
        match self.action.unpack {
            Unpack::Always => add::recognise(open_fetched(fetched)?, &fetched.name, add::Purpose::Add),
            Unpack::Never | Unpack::Local => Ok(None),
        }
    }

    /// Extracts the archive in `file`, the only entry of `dir`, which must be the same afterwards: what was read while it
    /// changed may be of either, and would be remembered under the digest of the old one.
    fn extract_unchanged(
        &mut self,
        archive: Archive,
        (file, dir): (&OwnedFd, &Dir),
    ) -> Result<(), ExecutorError> {
        let extracted = self.extract(archive);
        // a change often shows as damage first: report the change then
        if !matches!(extracted, Err(ExecutorError::Canceled)) {
            let path = join(&dir.path, dir.text(dir.entries[0].name));
            Seen::of(&dir.entries[0]).unchanged(file).map_err(|errno| failure(&path, errno))?;
        }
        extracted
    }

    fn extract(&mut self, archive: Archive) -> Result<(), ExecutorError> {
        let target = self.resolved()?;
        // the archive's own directories are not subject to --chmod, and neither is the one they go into
        let new = NewDir { mode: 0o755, owner: self.policy.parent_owner() };
        self.destination.make_dirs(&target.path, new)?;
        let cancel = &self.selection.cancel;
        add::extract(archive, &target.path, &mut self.destination, &self.policy, cancel)
    }
}

fn open_fetched(fetched: &FetchedFile) -> Result<OwnedFd, ExecutorError> {
    let opened = File::open(&fetched.bytes).map(OwnedFd::from);
    opened.map_err(|error| ExecutorError::system("open", fetched.bytes.as_os_str().as_bytes(), error))
}
