//! What can go wrong with layers, archives and images.

use rbuild_archive::ArchiveError;
use rbuild_cache::{FoundIn, LayerId, LayerOrigin, RemoteLayer, StoreError};
use rbuild_oci::{DiffId, Digest, ImageId, ParseError};
use rbuild_registry::RegistryError;
use std::{fmt, io, path::PathBuf};

/// The most layers of an image: one less than overlayfs takes below an upper directory (OVL_MAX_STACK), because a container has
/// a layer of its own between its image and its changes.
const MOST_LAYERS: usize = 499;

/// An operation on images that failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A manifest, index, config or reference is not what it should be.
    #[error("cannot read {subject}")]
    Document {
        /// The document, with its digest or name where it has one.
        subject: String,
        /// The problem in the document.
        #[source]
        source: ParseError,
    },
    /// An archive's own JSON file is not what it should be.
    #[error("cannot read {file} of the archive")]
    ArchiveJson {
        /// The file.
        file: String,
        /// The problem in the file.
        #[source]
        source: serde_json::Error,
    },
    /// A layer tar has an entry that no layer may have.
    #[error("layer entry {entry:?} {problem}")]
    Entry {
        /// Its name as it stands in the tar.
        entry: String,
        /// The problem with the entry.
        problem: EntryProblem,
    },
    /// An entry of a layer tar cannot be made in the store.
    #[error("cannot {action} layer entry {entry:?}")]
    EntryIo {
        /// Its cleaned name.
        entry: String,
        /// The action that failed, as a verb.
        action: &'static str,
        /// The system call's error.
        #[source]
        source: io::Error,
    },
    /// An entry belongs to an owner that cannot be set here.
    #[error(
        "cannot give layer entry {entry:?} to {uid}:{gid}: these ids are not mapped: give the user a range in /etc/subuid and /etc/subgid"
    )]
    Owner {
        /// Its cleaned name.
        entry: String,
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
        /// The system call's error.
        #[source]
        source: io::Error,
    },
    /// A tar cannot be read: it is damaged, or the stream it comes from fails.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Bytes cannot be compressed.
    #[error("cannot compress a layer")]
    Compress(#[source] io::Error),
    /// A recipe cannot be written or is damaged.
    #[error("cannot use a layer's recipe")]
    Recipe(#[source] io::Error),
    /// A file of a layer in the store cannot be read or made.
    #[error("cannot {action} {}", path.display())]
    LayerFile {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system call's error.
        #[source]
        source: io::Error,
    },
    /// Images of the containers tools cannot be looked for.
    #[error("cannot run podman, which reads the storage of the containers tools")]
    Podman(#[source] io::Error),
    /// The tar that is to be a root filesystem has no bytes.
    #[error("the archive is empty: it has no bytes, as after a command that failed before a pipe")]
    EmptyArchive,
    /// An archive of one image has none or several.
    #[error("the archive should hold one image and holds {count}")]
    SeveralImages {
        /// How many it has.
        count: usize,
    },
    /// A layer in the store does not give the tar it should.
    #[error("layer {layer} in the store is damaged: its tar should be {expected} and is {found}")]
    LayerDamaged {
        /// The layer.
        layer: LayerId,
        /// Its DiffId as recorded.
        expected: DiffId,
        /// The DiffId of what is there.
        found: DiffId,
    },
    /// A layer blob that a layer was pulled as is gone.
    #[error("blob {blob} of layer {layer} is not in the store")]
    LayerBlobMissing {
        /// The layer.
        layer: LayerId,
        /// The blob.
        blob: Digest,
    },
    /// A layer that is elsewhere cannot be had.
    #[error("cannot fetch layer {layer} of {image} from {registry}")]
    FetchLayer {
        /// Its blob.
        layer: Digest,
        /// The image it was seen with.
        image: String,
        /// The domain of the registry that had it then, or words for a directory.
        registry: String,
        /// What named it.
        found_in: FoundIn,
        /// The underlying error.
        #[source]
        source: Box<ImageError>,
    },
    /// The files of a layer are needed before they were fetched, which is a mistake in rbuild.
    #[error("the files of layer {layer} were not fetched")]
    LayerElsewhere {
        /// The layer.
        layer: LayerId,
    },
    /// A layer is in a cache to which this command has no login.
    #[error("{bucket} is a cache that was not given to this command")]
    BucketNotGiven {
        /// The place of its blobs.
        bucket: String,
    },
    /// A layer that arrived is not the one its image's config names.
    #[error("layer {name} should be {expected} and is {found}")]
    WrongLayer {
        /// The layer's id in the store, as text.
        name: String,
        /// The DiffId in the config.
        expected: DiffId,
        /// The DiffId of what came.
        found: DiffId,
    },
    /// Config and manifest do not agree on the number of layers.
    #[error("{subject} has {layers} layers, but its config names {diff_ids}")]
    LayerCount {
        /// The image.
        subject: String,
        /// Layers in the manifest or record.
        layers: usize,
        /// Layers in the config.
        diff_ids: usize,
    },
    /// An image has more layers than can be mounted.
    #[error("{subject} has {layers} layers, more than the {limit} that can be mounted over each other")]
    TooManyLayers {
        /// The image.
        subject: String,
        /// Its layers.
        layers: usize,
        /// How many are taken.
        limit: usize,
    },
    /// A blob that an image needs is not in the store.
    #[error("{kind} {digest} of image {image} is not in the store")]
    BlobMissing {
        /// `config` or `manifest`.
        kind: &'static str,
        /// The blob.
        digest: Digest,
        /// The image.
        image: ImageId,
    },
    /// A layer's recorded length is not that of its tar.
    #[error("layer {layer} is recorded with {recorded} bytes and has {found}")]
    LayerSize {
        /// The layer.
        layer: LayerId,
        /// Its recorded length.
        recorded: u64,
        /// Its length.
        found: u64,
    },
    /// An index has no image for the platform.
    #[error("{subject} has no image for {wanted}: it has {}", if available.is_empty() { "none".to_owned() } else { available.join(", ") })]
    NoPlatform {
        /// The reference or archive.
        subject: String,
        /// The platform asked for.
        wanted: String,
        /// The platforms there are.
        available: Vec<String>,
    },
    /// Indexes within indexes too deep.
    #[error("{subject} nests indexes too deeply")]
    IndexDepth {
        /// The reference or archive.
        subject: String,
    },
    /// A file is not an image archive.
    #[error("not an image archive: it has neither manifest.json nor index.json")]
    NotAnArchive,
    /// An archive lacks a file it names.
    #[error("the {archive} has no file {file:?}")]
    ArchiveFile {
        /// `archive` or `layout`.
        archive: &'static str,
        /// The name.
        file: String,
    },
    /// A file of an archive does not have the length that a descriptor of it states.
    #[error("file {file:?} of the {archive} should have {stated} bytes and has {found}")]
    ArchiveSize {
        /// `archive` or `layout`.
        archive: &'static str,
        /// The name.
        file: String,
        /// The length as stated.
        stated: u64,
        /// The length of the file.
        found: u64,
    },
    /// An archive lists no image.
    #[error("the {archive} has no image")]
    NoImages {
        /// `archive` or `layout`.
        archive: &'static str,
    },
    /// A layout has several images, none of them with the tag asked for.
    #[error("no image is tagged {tag:?}: {}", if available.is_empty() { "none has a tag".to_owned() } else { format!("there is {}", available.join(", ")) })]
    LayoutTag {
        /// The tag.
        tag: String,
        /// The tags there are.
        available: Vec<String>,
    },
    /// A file in an archive does not have the digest it is named by.
    #[error("file {file:?} of the {archive} has digest {found}")]
    ArchiveDigest {
        /// `archive` or `layout`.
        archive: &'static str,
        /// The name.
        file: String,
        /// The digest of its bytes.
        found: Digest,
    },
    /// A document is longer than rbuild accepts.
    #[error("{subject} has {size} bytes, more than the {limit} allowed")]
    TooLong {
        /// The document, as messages name it.
        subject: String,
        /// Its length.
        size: u64,
        /// The longest allowed, in bytes.
        limit: u64,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive")]
    ArchiveRead(#[source] io::Error),
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    ArchiveWrite(#[source] io::Error),
    /// A file of an output cannot be written.
    #[error("cannot {action} {}", path.display())]
    OutputFile {
        /// The action that failed, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system call's error.
        #[source]
        source: io::Error,
    },
    /// The work was stopped.
    #[error("canceled")]
    Canceled,
    /// A worker thread ended by a panic, which is a mistake in rbuild.
    #[error("a worker of {task} ended early")]
    Worker {
        /// The task of the worker, such as `compressing a layer`.
        task: &'static str,
    },
}

/// A problem with an entry of a layer tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryProblem {
    /// Its name leads out of the layer.
    Outside,
    /// Its name is reserved for whiteouts.
    Reserved,
    /// Its name goes through more symbolic links than a path may have.
    TooManyLinks,
    /// A file of the same tar is where its directory should be.
    ParentNotDirectory,
    /// Its file system cannot keep so many extended attributes, or such long ones, on one file.
    TooManyAttributes,
    /// It is the root and no directory.
    RootNotDirectory,
    /// A hard link that leads out of the layer.
    LinkOutside,
    /// A hard link to what the layer does not have.
    LinkTargetMissing,
    /// A character device 0/0, which overlayfs takes for a whiteout.
    WhiteoutDevice,
    /// A kind of entry that layers do not have.
    Kind {
        /// Its type flag.
        flag: u8,
    },
}

impl fmt::Display for EntryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outside => "leads out of the layer",
            Self::Reserved => "has a name reserved for whiteouts",
            Self::TooManyLinks => "goes through too many symbolic links",
            Self::ParentNotDirectory => "is used as a directory but is none",
            Self::TooManyAttributes => "has more extended attributes than the store's file system can keep",
            Self::RootNotDirectory => "is the root but no directory",
            Self::LinkOutside => "is a hard link to a path outside the layer",
            Self::LinkTargetMissing => "is a hard link to a file the layer does not have before it",
            Self::WhiteoutDevice => "is a character device 0/0, which layers cannot have",
            Self::Kind { flag } => {
                return write!(f, "has unknown type {:?}", char::from(*flag));
            }
        })
    }
}

impl ImageError {
    /// Sees that an image of so many layers can be mounted, before any of them is fetched or unpacked.
    pub(crate) fn check_count(layers: usize, subject: impl FnOnce() -> String) -> Result<(), Self> {
        if layers <= MOST_LAYERS {
            return Ok(());
        }
        Err(Self::TooManyLayers { subject: subject(), layers, limit: MOST_LAYERS })
    }

    pub(crate) fn fetch_layer(remote: &RemoteLayer, source: Self) -> Self {
        Self::FetchLayer {
            layer: remote.blob.digest,
            image: remote.origin.familiar(),
            registry: match &remote.origin {
                LayerOrigin::Registry(reference) => reference.domain().to_owned(),
                LayerOrigin::Layout { .. } => "this machine".to_owned(),
                LayerOrigin::Bucket { bucket } => bucket.clone(),
            },
            found_in: remote.found_in,
            source: Box::new(source),
        }
    }

    pub(crate) fn entry(name: &[u8], problem: EntryProblem) -> Self {
        Self::Entry { entry: String::from_utf8_lossy(name).into_owned(), problem }
    }
}
