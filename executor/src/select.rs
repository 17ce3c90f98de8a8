//! Selecting what a COPY or ADD copies: resolving its operands, walking what they name, and the digest of it all.
//!
//! A selection holds everything the copy needs to know about the sources, so nothing is walked or looked at again.
//! What the digest covers is written down in `digest`; the instruction's flags and destination are not part of it.

mod contents;
mod digest;
mod file_list;
mod found;
mod missing;
mod operand;
mod tree;
mod walk;

pub use file_list::{FileList, ListDifference, ListedFile, ListedKind};
pub(crate) use tree::{Dir, Entry, Identity, Kind, Meta, Owner, Time, Tree};

use crate::{
    ContextDirectory, ExecutorError, FetchedFile, FetchedSource, IgnoreRules, SourceRoot,
    ignore::Verdict,
    rooted::{Rooted, is_dir, parent},
    xattrs::{self, Xattrs},
};
use operand::{BelowBases, Match};
use rbuild_cache::Cancel;
use rbuild_oci::{Digest, Hasher};
use rbuild_planner::{CopyAction, CopySource};
use std::collections::BTreeMap;

/// The sources of a COPY or ADD, found and digested.
#[derive(Debug)]
pub struct Selection {
    /// Of base names and contents; two selections with the same digest copy the same.
    pub digest: Digest,
    pub(crate) roots: Vec<Root>,
    /// Directories in which `--parents` looked for what to copy: with one of them the destination is made, even for nothing.
    pub(crate) bases: usize,
    /// Patterns that no file matches.
    pub unmatched: Vec<Unmatched>,
    /// Ends the copy as well.
    pub(crate) cancel: Cancel,
}

/// A pattern that no file matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// The operand, cleaned.
    pub pattern: String,
    /// The directory that it begins in, which is there, from the root; empty for the root.
    pub directory: String,
}

/// One thing to copy.
#[derive(Debug)]
pub(crate) struct Root {
    /// Where its files are.
    pub(crate) source: Rooted,
    origin: Origin,
    /// Base name, or with `--parents` the path, below the destination.
    pub(crate) place: Vec<u8>,
    /// Directories to recreate below the destination first.
    pub(crate) parents: Vec<(Vec<u8>, Meta, Xattrs)>,
    pub(crate) body: Body,
    digest: Digest,
}

/// Where the files of a source are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// In the root that operands are resolved in.
    Root,
    /// In the directory of a repository, whose commit says what they are.
    Repository,
}

/// The files of one source.
#[derive(Debug)]
pub(crate) enum Body {
    /// Anything but a directory: the only entry of this one.
    Single(Dir),
    /// A directory.
    Tree(Tree),
    /// Bytes from the Dockerfile.
    Inline(Vec<u8>),
    /// A file of the web.
    Fetched(FetchedFile),
}

impl Selection {
    /// The same without the bytes of small files, which are of use only to a copy that follows at once.
    #[must_use]
    pub fn without_bytes(mut self) -> Self {
        for root in &mut self.roots {
            let dirs = match &mut root.body {
                Body::Single(dir) => std::slice::from_mut(dir),
                Body::Tree(tree) => tree.dirs.as_mut_slice(),
                Body::Inline(_) | Body::Fetched(_) => continue,
            };
            dirs.iter_mut().flat_map(|dir| &mut dir.entries).for_each(|entry| entry.bytes = None);
        }
        self
    }
}

/// Everything in `root` that `rules` keep.
pub(crate) fn walk_all(
    root: &Rooted,
    rules: &IgnoreRules,
    owner: Owner,
    cancel: &Cancel,
) -> Result<Tree, ExecutorError> {
    let none = IgnoreRules::none();
    walk::walk(
        root,
        b"",
        &walk::Rules { ignore: rules, exclude: &none, exclude_prefix: Vec::new(), owner, cancel },
    )
}

/// Finds and digests the sources of `action` in `root`, until `cancel` is called, which also stops a
/// copy of the selection. Remote sources are left out; see [`select_fetched`].
///
/// # Errors
/// [`ExecutorError::Canceled`];
/// [`ExecutorError::SourceNotFound`] for an operand that names nothing; errors of patterns and of reading.
pub fn select(root: &SourceRoot, action: &CopyAction, cancel: &Cancel) -> Result<Selection, ExecutorError> {
    select_fetched(root, action, &BTreeMap::new(), cancel)
}

/// True if one of `sources`, each with whether it is one of `--parents`, names `directory` of `root`, something below it, or a directory
/// above it: what is left when only what is named is looked at.
///
/// # Errors
/// When the files cannot be looked at. Sources that name nothing are no error here.
pub fn is_named(root: &SourceRoot, sources: &[(&str, bool)], directory: &str) -> Result<bool, ExecutorError> {
    operand::is_named(root, sources, directory)
}

/// As [`select`], with remote sources: `fetched` has their files by their places among the sources. The digest does not
/// cover the bytes of those, whose identities are known.
///
/// # Errors
/// As [`select`].
pub fn select_fetched(
    root: &SourceRoot,
    action: &CopyAction,
    fetched: &BTreeMap<usize, FetchedSource>,
    cancel: &Cancel,
) -> Result<Selection, ExecutorError> {
    let exclude = IgnoreRules::from_patterns(&action.exclude)?;
    let none = IgnoreRules::none();
    let selector = Selector { root, action, exclude: &exclude, none: &none, cancel };
    let (mut roots, mut bases, mut unmatched) = (Vec::new(), 0, Vec::new());
    for (place, source) in action.sources.iter().enumerate() {
        match (source, fetched.get(&place)) {
            (CopySource::Path(text), _) => bases += selector.operand(text, (&mut roots, &mut unmatched))?,
            (CopySource::Inline { name, content }, _) => {
                roots.push(selector.root(name.as_bytes(), Body::Inline(content.clone())));
            }
            (CopySource::Http(_) | CopySource::Git(_), Some(FetchedSource::File(file))) => {
                roots.push(selector.root(&file.name, Body::Fetched(file.clone())));
            }
            (CopySource::Http(_) | CopySource::Git(_), Some(FetchedSource::Tree(directory))) => {
                let body = Body::Tree(selector.repository(directory)?);
                let (source, origin) = (directory.root().clone(), Origin::Repository);
                roots.push(Root { source, origin, ..selector.root(b"", body) });
            }
            (CopySource::Http(_) | CopySource::Git(_), None) => {}
        }
    }
    let dirs =
        roots.iter_mut().filter(|root| root.origin == Origin::Root).flat_map(|root| match &mut root.body {
            Body::Single(dir) => std::slice::from_mut(dir).iter_mut(),
            Body::Tree(tree) => tree.dirs.iter_mut(),
            Body::Inline(_) | Body::Fetched(_) => [].iter_mut(),
        });
    contents::fill(root, dirs, cancel)?;
    let digest = digest_of(&mut roots, bases);
    Ok(Selection { digest, roots, bases, unmatched, cancel: cancel.clone() })
}

struct Selector<'a> {
    root: &'a SourceRoot,
    action: &'a CopyAction,
    exclude: &'a IgnoreRules,
    none: &'a IgnoreRules,
    cancel: &'a Cancel,
}

impl Selector<'_> {
    /// Adds what an operand names; returns in how many directories `--parents` looked for it.
    fn operand(
        &self,
        text: &str,
        (roots, unmatched): (&mut Vec<Root>, &mut Vec<Unmatched>),
    ) -> Result<usize, ExecutorError> {
        let named = if self.action.parents {
            operand::matches_with_parents(self.root, text)
        } else {
            operand::matches(self.root, text).map(|matches| BelowBases { matches, bases: 0 })
        };
        let BelowBases { matches, bases } =
            named.map_err(|error| missing::above_context(error, self.root, text))?;
        if matches.is_empty() && !self.action.parents {
            unmatched.extend(operand::unmatched(text));
        }
        for found in matches {
            let (path, wildcard) = (found.path.clone(), crate::pattern::has_wildcards(text));
            match self.take(found)? {
                Some(root) => roots.push(root),
                None if wildcard || self.action.parents => {}
                None => return Err(missing::not_found(self.root, &String::from_utf8_lossy(&path))),
            }
        }
        Ok(bases)
    }

    /// Walks one match; `None` when rules leave nothing of it.
    fn take(&self, found: Match) -> Result<Option<Root>, ExecutorError> {
        let body = if is_dir(&found.stat) {
            let rules = walk::Rules {
                ignore: self.root.ignore(self.none),
                exclude: self.exclude,
                exclude_prefix: if self.action.parents { found.place.clone() } else { Vec::new() },
                owner: self.root.owner(),
                cancel: self.cancel,
            };
            let tree = walk::walk(self.root.rooted(), &found.path, &rules)?;
            let hollow = tree.dirs[0].entries.is_empty();
            if hollow && (found.verdict == Verdict::Excluded || self.leaves_out(&found.place)) {
                return Ok(None);
            }
            Body::Tree(tree)
        } else if self.leaves_out(&found.place) {
            return Ok(None);
        } else {
            Body::Single(self.single(&found)?)
        };
        let parents = found
            .parents
            .into_iter()
            .map(|(path, place)| self.parent(&path, place))
            .collect::<Result<_, _>>()?;
        Ok(Some(Root { parents, ..self.root(&found.place, body) }))
    }

    /// A source at `place` whose files are in the selector's root.
    fn root(&self, place: &[u8], body: Body) -> Root {
        let (source, place) = (self.root.rooted().clone(), place.to_vec());
        Root { source, origin: Origin::Root, place, parents: Vec::new(), body, digest: Digest::of(b"") }
    }

    /// All files of a repository; they belong to root.
    fn repository(&self, directory: &ContextDirectory) -> Result<Tree, ExecutorError> {
        let rules = walk::Rules {
            ignore: self.none,
            exclude: self.exclude,
            exclude_prefix: Vec::new(),
            owner: Owner::Root,
            cancel: self.cancel,
        };
        walk::walk(directory.root(), b"", &rules)
    }

    /// True if `--exclude` leaves out a match itself; only `--parents` asks that.
    fn leaves_out(&self, place: &[u8]) -> bool {
        self.action.parents && self.exclude.descend(place).0 == Verdict::Excluded
    }

    fn single(&self, found: &Match) -> Result<Dir, ExecutorError> {
        let mut entry = Entry::of(&found.stat, self.root.owner());
        let mut dir = Dir {
            path: parent(&found.path).to_vec(),
            meta: entry.meta,
            xattrs: Xattrs::new(),
            entries: Vec::with_capacity(1),
            names: Vec::new(),
        };
        entry.name = dir.keep(crate::rooted::file_name(&found.path));
        if entry.kind == Kind::Symlink {
            let target = crate::rooted::Space::link_target(self.root.rooted(), &found.path)?;
            entry.target = dir.keep(&target);
        }
        dir.entries.push(entry);
        Ok(dir)
    }

    fn parent(&self, path: &[u8], place: Vec<u8>) -> Result<(Vec<u8>, Meta, Xattrs), ExecutorError> {
        let fd = self.root.rooted().open_dir(path)?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| ExecutorError::system("stat", path, errno))?;
        Ok((place, Meta::of(&stat, self.root.owner()), xattrs::read(&fd)))
    }
}

fn digest_of(roots: &mut [Root], bases: usize) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(b"selection 1");
    if roots.is_empty() && bases > 0 {
        hasher.field(b"destination");
    }
    for root in roots {
        root.digest = match &root.body {
            Body::Single(dir) => digest::of_entry(dir, &dir.entries[0]),
            Body::Tree(tree) => digest::of_tree(tree),
            Body::Inline(content) => Digest::of(content),
            Body::Fetched(_) => Digest::of(b""),
        };
        hasher.field(&root.place);
        for (place, meta, _) in &root.parents {
            hasher.field(place);
            for number in [meta.mode, meta.uid, meta.gid] {
                hasher.field(&number.to_be_bytes());
            }
        }
        hasher.field(match &root.body {
            Body::Single(_) => b"entry",
            Body::Tree(_) => b"tree",
            Body::Inline(_) => b"inline",
            Body::Fetched(_) => b"fetched",
        });
        hasher.field(root.digest.as_bytes());
    }
    hasher.finish()
}
