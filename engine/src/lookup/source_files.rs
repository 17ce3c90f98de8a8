//! The files that COPY, ADD and bind mounts read: those of the build's contexts, which are opened at their first use and
//! walked beside their stat indexes, and those of stages and images, which are layers.

use crate::{
    BuildRequest, Error, NamedContextSource,
    context::{Context, OpenedContext},
    layers::layer_files::LayerFiles,
    remote_sources::{FetchedSources, RemoteSources},
};
use rbuild_cache::{Cancel, LayerId, Store};
use rbuild_executor::{
    ContextDirectory, ExecutorError, IgnoreRules, Selection, Snapshots, SourceRoot, Unmatched,
};
use rbuild_oci::{Digest, ImagePath};
use rbuild_planner::{Action, CopyAction, CopySource, Filesystem, Mount, MountKind, Plan, Step, StepId};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// Where the files of a context lie in the layer that is made for mounting them.
pub(crate) const MOUNTED: &str = "/mounted";

/// The contexts of one build.
pub(crate) struct SourceFiles {
    files: LayerFiles,
    snapshots: Snapshots,
    main: Context,
    remote: RemoteSources,
    /// Named contexts that are local directories.
    named: BTreeMap<String, PathBuf>,
    /// By name; `None` is the main one.
    open: Mutex<BTreeMap<Option<String>, Arc<SourceRoot>>>,
    cancel: Cancel,
}

/// The files that a step takes from a context, as its key needs them.
pub(crate) struct Selected {
    pub(crate) digest: Digest,
    /// `None` when their digest was known without them.
    pub(crate) files: Option<Arc<Selection>>,
}

impl SourceFiles {
    /// The contexts of `request`. Nothing is read yet.
    pub(crate) fn new(
        (store, files): (&Store, &LayerFiles),
        (main, remote): (Context, RemoteSources),
        request: &BuildRequest,
        cancel: &Cancel,
    ) -> Self {
        let directory = |source: &NamedContextSource| match source {
            NamedContextSource::Directory(path) => Some(path.clone()),
            NamedContextSource::Remote(_)
            | NamedContextSource::Image(_)
            | NamedContextSource::Scratch
            | NamedContextSource::OciLayout(_) => None,
        };
        let named = request.named_contexts.iter();
        let named = named.filter_map(|(name, source)| Some((name.clone(), directory(source)?))).collect();
        Self {
            snapshots: Snapshots::new(store),
            files: files.clone(),
            main,
            remote,
            named,
            open: Mutex::default(),
            cancel: cancel.clone(),
        }
    }

    /// Makes the roots of this build's layers.
    pub(crate) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// The files that `action` selects from a context, or from nothing.
    ///
    /// # Errors
    /// When a source is not there, or the context cannot be read; a `from` that is layers is out of order.
    pub(crate) fn select_from_context(&self, action: &CopyAction) -> Result<Arc<Selection>, Error> {
        self.select(&*self.root_of(action)?, action)
    }

    /// As [`Self::select_from_context`], where an earlier build has seen what `action` selects of the same commit or archive without
    /// the files. `digest` makes of the selection what is wanted of it, for the purpose `of`.
    ///
    /// # Errors
    /// As [`Self::select_from_context`].
    pub(crate) fn known_or_selected(
        &self,
        (action, of): (&CopyAction, &str),
        digest: impl Fn(&Selection) -> Digest,
    ) -> Result<Selected, Error> {
        let Some(remote) = self.remote_context(&action.from).filter(|_| needs_files(action)) else {
            let files = self.select_from_context(action)?;
            return Ok(Selected { digest: digest(&files), files: Some(files) });
        };
        let by = rbuild_executor::describe_selection(action, of);
        if let Some(digest) = remote.selection(&by) {
            return Ok(Selected { digest, files: None });
        }
        let files = self.select_from_context(action)?;
        let digest = digest(&files);
        remote.add_selection(by, digest);
        Ok(Selected { digest, files: Some(files) })
    }

    /// Sees that the directories in which patterns of `action` without a match begin are there for docker as well: of a directory
    /// of the machine it sees only what the sources of `plan` name.
    ///
    /// # Errors
    /// [`ExecutorError::PatternMatchesNothing`]; when the files cannot be looked at.
    pub(crate) fn require_sent(
        &self,
        plan: &Plan,
        action: &CopyAction,
        selection: &Selection,
    ) -> Result<(), Error> {
        let unmatched = selection.unmatched.iter().filter(|unmatched| !unmatched.directory.is_empty());
        for Unmatched { pattern, directory } in unmatched {
            if !self.is_directory(&action.from) {
                return Ok(());
            }
            let named = named_in(plan, &action.from);
            let named: Vec<(&str, bool)> =
                named.iter().map(|(text, parents)| (text.as_ref(), *parents)).collect();
            if !rbuild_executor::is_named(&*self.root(&action.from)?, &named, directory)? {
                let (directory, pattern) = (format!("/{directory}"), pattern.clone());
                return Err(Error::Executor(ExecutorError::PatternMatchesNothing { directory, pattern }));
            }
        }
        Ok(())
    }

    /// True if `from` is a directory of this machine, of which a build takes what it names, and not an archive or a commit.
    fn is_directory(&self, from: &Filesystem) -> bool {
        match from {
            Filesystem::Context => self.main.is_directory(),
            Filesystem::NamedContext(name) => self.named.contains_key(name),
            Filesystem::Scratch | Filesystem::Image(_) | Filesystem::Step(_) => false,
        }
    }

    /// The context on the network that `from` is.
    fn remote_context(&self, from: &Filesystem) -> Option<&OpenedContext> {
        match from {
            Filesystem::Context => self.main.remote(),
            Filesystem::NamedContext(name) => self.main.remote_named(name),
            Filesystem::Scratch | Filesystem::Image(_) | Filesystem::Step(_) => None,
        }
    }

    /// The remote sources of this build.
    pub(crate) fn remote(&self) -> &RemoteSources {
        &self.remote
    }

    /// The files of the ADD `step`, remote ones included, which are there as long as what comes with them. `local` are those from its context, as its key was made of them.
    ///
    /// # Errors
    /// As [`Self::select_from_context`]; when remote files cannot be had, or the others have changed.
    pub(crate) fn select_fetched(
        &self,
        (step, action): (StepId, &CopyAction),
        local: &Selection,
    ) -> Result<(Selection, FetchedSources), Error> {
        let root = self.root_of(action)?;
        if rbuild_executor::select(&root, action, &self.cancel)?.digest != local.digest {
            let path = action.destination.to_string();
            return Err(Error::Executor(ExecutorError::SourceChanged { path }));
        }
        let fetched = self.remote.files(step, action)?;
        let selection = rbuild_executor::select_fetched(&root, action, &fetched.files, &self.cancel)?;
        Ok((selection, fetched))
    }

    /// The root in which the sources of `action` are. One that takes nothing from its context brings no files of it.
    fn root_of(&self, action: &CopyAction) -> Result<Arc<SourceRoot>, Error> {
        if needs_files(action) {
            self.root(&action.from)
        } else {
            Ok(Arc::new(SourceRoot::empty(&self.snapshots)?))
        }
    }

    /// The files of a context, or none.
    fn root(&self, from: &Filesystem) -> Result<Arc<SourceRoot>, Error> {
        match from {
            Filesystem::Context => self.context(None),
            Filesystem::NamedContext(name) => self.context(Some(name)),
            Filesystem::Scratch => Ok(Arc::new(SourceRoot::empty(&self.snapshots)?)),
            Filesystem::Image(_) | Filesystem::Step(_) => {
                Err(Error::Worker("files of layers were looked for in a context".to_owned()))
            }
        }
    }

    /// The files that `action` selects from a stage or image, which is `layers`, lowest first.
    ///
    /// # Errors
    /// When a source is not there, or the layers cannot be had or mounted.
    pub(crate) fn select_from_layers(
        &self,
        action: &CopyAction,
        layers: &[LayerId],
    ) -> Result<Arc<Selection>, Error> {
        self.files.need(layers)?;
        self.select(&SourceRoot::open_layers(&self.snapshots, layers)?, action)
    }

    /// True if a context's stat index has changed, which [`Self::save_indexes`] would write.
    pub(crate) fn has_unsaved_index(&self) -> bool {
        let contexts = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        contexts.values().any(|context| context.has_unsaved_index())
    }

    /// Writes the contexts' stat indexes, where they changed.
    pub(crate) fn save_indexes(&self) {
        for context in self.open.lock().unwrap_or_else(PoisonError::into_inner).values() {
            // an index that cannot be written costs the next build time, nothing else
            let _ = context.save_index();
        }
    }

    fn select(&self, root: &SourceRoot, action: &CopyAction) -> Result<Arc<Selection>, Error> {
        Ok(Arc::new(rbuild_executor::select(root, action, &self.cancel)?))
    }

    /// The context called `name` (`None`: the main one), opened at its first use.
    fn context(&self, name: Option<&str>) -> Result<Arc<SourceRoot>, Error> {
        // the map is only inserted into, so it is whole whatever happened to another holder
        let mut contexts = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = name.map(str::to_owned);
        if let Some(open) = contexts.get(&key) {
            return Ok(open.clone());
        }
        let root = match name {
            None => self.open_root(self.main.directory()?.as_ref(), || self.main.rules())?,
            Some(name) => {
                let none = || Ok(IgnoreRules::none());
                match (self.named.get(name), self.main.remote_named(name)) {
                    (Some(path), _) => {
                        let directory = ContextDirectory::open(path)?;
                        self.open_root(Some(&directory), || IgnoreRules::of_context(&directory, None))?
                    }
                    (None, Some(remote)) => self.open_root(Some(&remote.directory()?), none)?,
                    (None, None) => self.open_root(None, none)?,
                }
            }
        };
        let root = Arc::new(root);
        contexts.insert(key, root.clone());
        Ok(root)
    }

    fn open_root(
        &self,
        directory: Option<&ContextDirectory>,
        rules: impl FnOnce() -> Result<IgnoreRules, rbuild_executor::ExecutorError>,
    ) -> Result<SourceRoot, Error> {
        let Some(directory) = directory else { return Ok(SourceRoot::empty(&self.snapshots)?) };
        let store = self.snapshots.store();
        Ok(SourceRoot::open_context(store, directory, rules()?, store.now()))
    }
}

/// The sources in `from` that steps of `plan` name, with whether they are of `--parents`.
fn named_in<'p>(plan: &'p Plan, from: &Filesystem) -> Vec<(Cow<'p, str>, bool)> {
    let mut named = Vec::new();
    for step in &plan.steps {
        match &step.action {
            Action::Copy(action) if action.from == *from => {
                named.extend(action.sources.iter().filter_map(|source| match source {
                    CopySource::Path(text) => Some((Cow::Borrowed(text.as_str()), action.parents)),
                    CopySource::Inline { .. } | CopySource::Http(_) | CopySource::Git(_) => None,
                }));
            }
            Action::Run(action) => {
                named.extend(action.mounts.iter().filter_map(|mount| match &mount.kind {
                    MountKind::Bind { from: other, source, .. }
                    | MountKind::Cache { from: other, source, .. }
                        if other == from =>
                    {
                        Some((Cow::Owned(escaped(source)), false))
                    }
                    _ => None,
                }));
            }
            Action::Copy(_) | Action::Workdir(_) => {}
        }
    }
    named
}

/// The stages and images that `step` takes files from beside its parent, in order.
pub(crate) fn layer_sources(step: &Step) -> Vec<&Filesystem> {
    let from: Vec<&Filesystem> = match &step.action {
        Action::Copy(action) => vec![&action.from],
        Action::Run(action) => action.mounts.iter().filter_map(mount_source).collect(),
        Action::Workdir(_) => Vec::new(),
    };
    from.into_iter().filter(|from| matches!(from, Filesystem::Image(_) | Filesystem::Step(_))).collect()
}

/// The mounts of a RUN that show stages or images, in the order of [`layer_sources`], with the paths in them.
pub(crate) fn layer_mounts(step: &Step) -> Vec<(&Mount, &ImagePath)> {
    let mounts = match &step.action {
        Action::Run(action) => action.mounts.as_slice(),
        Action::Copy(_) | Action::Workdir(_) => &[],
    };
    let of_layers = mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { from: Filesystem::Image(_) | Filesystem::Step(_), source, .. }
        | MountKind::Cache { from: Filesystem::Image(_) | Filesystem::Step(_), source, .. } => {
            Some((mount, source))
        }
        MountKind::Bind { .. }
        | MountKind::Cache { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Secret { .. }
        | MountKind::Ssh { .. } => None,
    });
    of_layers.collect()
}

/// True if `action` takes files from where it copies from, and not only those that it has or fetches itself.
fn needs_files(action: &CopyAction) -> bool {
    action.sources.iter().any(|source| matches!(source, CopySource::Path(_)))
}

/// True if `action` copies from layers, which are keyed and not read.
pub(crate) fn copies_layers(action: &CopyAction) -> bool {
    matches!(action.from, Filesystem::Image(_) | Filesystem::Step(_))
}

/// The COPY that a bind mount of `source` amounts to: of that tree or file, to [`MOUNTED`].
pub(crate) fn mounted_tree(from: &Filesystem, source: &ImagePath) -> CopyAction {
    let sources = vec![CopySource::Path(escaped(source))];
    CopyAction {
        destination_is_directory: false,
        ..CopyAction::plain(from.clone(), sources, ImagePath::root().join(MOUNTED))
    }
}

/// The source of a mount, which is a name, as that of a COPY: what would be a wildcard there is escaped.
fn escaped(source: &ImagePath) -> String {
    let mut name = String::with_capacity(source.as_str().len());
    for c in source.as_str().chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            name.push('\\');
        }
        name.push(c);
    }
    name
}

/// The filesystem whose files `mount` shows, if it shows any.
fn mount_source(mount: &Mount) -> Option<&Filesystem> {
    match &mount.kind {
        MountKind::Bind { from, .. } | MountKind::Cache { from, .. } => Some(from),
        MountKind::Tmpfs { .. } | MountKind::Secret { .. } | MountKind::Ssh { .. } => None,
    }
}
