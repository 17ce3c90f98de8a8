//! What can go wrong while carrying out a step. Texts that Docker's users know are Docker's.

use crate::{EmulatorFault, Meant};
use rbuild_archive::ArchiveError;
use rbuild_cache::{Canceled, StoreError};
use rbuild_oci::Platform;
use rbuild_sys::{SandboxError, SpawnError, SysError};
use std::{io, path::PathBuf, time::Duration};
use thiserror::Error;

/// The most bytes that a Dockerfile or an ignore file may have. Both are held in memory, and come from strangers.
pub const MAX_DEFINITION: u64 = 16 << 20;

/// A failure of a step.
#[derive(Debug, Error)]
pub enum ExecutorError {
    /// A source operand names nothing.
    #[error("failed to compute cache key: failed to calculate checksum of ref {root}: {path:?}: not found")]
    SourceNotFound {
        /// The files that were searched.
        root: &'static str,
        /// The operand, cleaned and rooted.
        path: String,
        /// What may have been meant.
        meant: Option<Meant>,
    },
    /// No file matches a pattern, and without a match the directory that it begins in is not there either.
    #[error("lstat {directory}: no such file or directory: nothing matches {pattern}")]
    PatternMatchesNothing {
        /// The directory, rooted.
        directory: String,
        /// The pattern, cleaned.
        pattern: String,
    },
    /// A source operand names what the ignore file leaves out.
    #[error(
        "failed to compute cache key: failed to calculate checksum of ref {root}: {path:?}: not found: \
         the ignore file leaves it out"
    )]
    SourceLeftOut {
        /// The files that were searched.
        root: &'static str,
        /// The operand, cleaned and rooted.
        path: String,
    },
    /// A file is not the one it was when its digest was taken.
    #[error("the source of {path} changed while it was copied")]
    SourceChanged {
        /// The path of the copy in the image.
        path: String,
    },
    /// A directory would have to be where something else is.
    #[error("cannot copy to non-directory: {path}")]
    NotADirectory {
        /// The path in the image.
        path: String,
    },
    /// A file would have to be where a directory is.
    #[error("cannot replace to directory {path} with file")]
    IsADirectory {
        /// The path in the image.
        path: String,
    },
    /// A parent directory cannot be made since something else has its name.
    #[error("mkdir {path}: not a directory")]
    ParentNotADirectory {
        /// The path in the image.
        path: String,
    },
    /// A directory cannot be made below something that is none.
    #[error("lstat {path}: not a directory")]
    BelowAFile {
        /// The first path that would be below it.
        path: String,
    },
    /// A path has more symbolic links than are followed.
    #[error("too many levels of symbolic links: {path}")]
    TooManyLinks {
        /// The path in the image or source.
        path: String,
    },
    /// An ignore or `--exclude` pattern, or a glob, that Go's path matching refuses.
    #[error("invalid pattern {pattern:?}: syntax error in pattern")]
    PatternSyntax {
        /// As written.
        pattern: String,
    },
    /// A lone `!`.
    #[error("illegal exclusion pattern: \"!\"")]
    IllegalExclusion,
    /// An archive entry whose name or link leads out of the destination.
    #[error("archive entry {entry:?} leads out of the destination")]
    ArchiveBreakout {
        /// The entry's name.
        entry: String,
    },
    /// A Dockerfile or an ignore file is a device, a pipe or a socket.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The file.
        path: String,
    },
    /// A Dockerfile or an ignore file is longer than [`MAX_DEFINITION`].
    #[error("{} is longer than {} MiB, the most that a Dockerfile or an ignore file may have", .path.display(), MAX_DEFINITION >> 20)]
    DefinitionTooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file that has to be an archive is something else.
    #[error("{name} is not a tar archive")]
    NotAnArchive {
        /// The file, as messages call it.
        name: String,
    },
    /// An archive that cannot be read to its end.
    #[error("cannot extract {archive}")]
    BadArchive {
        /// The archive, as its source operand names it.
        archive: String,
        /// The damage.
        #[source]
        source: ArchiveError,
    },
    /// An archive with an entry that becomes no file.
    #[error("cannot extract {archive}: unhandled tar header type {flag}")]
    UnknownArchiveEntry {
        /// The archive, as its source operand names it.
        archive: String,
        /// The entry's type flag.
        flag: u8,
    },
    /// An archive with a device that overlayfs takes for a deletion.
    #[error("cannot extract {archive}: entry {entry:?} is the character device 0:0")]
    WhiteoutInArchive {
        /// The archive, as its source operand names it.
        archive: String,
        /// The entry's name.
        entry: String,
    },
    /// An archive with a device, unpacked by an ordinary user.
    #[error("cannot extract {archive}: entry {entry:?} is a device, which only root can make")]
    DeviceInArchive {
        /// The archive, as its source operand names it.
        archive: String,
        /// The entry's name.
        entry: String,
    },
    /// The processes of a container cannot be made to stand still.
    #[error("cannot pause the container")]
    Pause {
        /// The reason.
        #[source]
        source: SysError,
    },
    /// A port of the machine is not to be had.
    #[error("failed to bind host port {port}")]
    PortTaken {
        /// Address, number and protocol.
        port: String,
        /// The system's error.
        source: io::Error,
    },
    /// Ports are published of a network that cannot be had.
    #[error("ports cannot be published: {reason}")]
    NoNetwork {
        /// The reason.
        reason: String,
    },
    /// A parameter of a network that is the host's.
    #[error("sysctl '{name}' not allowed in host network namespace{}", because(.missing.as_deref()))]
    ParameterOfHost {
        /// The parameter.
        name: String,
        /// Why there is no other network, if one was asked for.
        missing: Option<String>,
    },
    /// A network with a name cannot be had.
    #[error("the network cannot be had: {reason}")]
    NamedNetwork {
        /// The reason, with the words of the program that makes such networks.
        reason: String,
    },
    /// Commands of platforms whose programs do not run on this machine, for the same reason.
    #[error("this machine ({}) cannot run programs for {}", Platform::host(), listed(.platforms))]
    NoEmulator {
        /// The platforms.
        platforms: Vec<Platform>,
        /// The reason, and what to do about it.
        #[source]
        source: EmulatorFault,
    },
    /// No such user (RUN only; elsewhere unknown names mean root).
    #[error("unable to find user {name}: no matching entries in passwd file")]
    UnknownUser {
        /// As written.
        name: String,
    },
    /// No such group (RUN only).
    #[error("unable to find group {name}: no matching entries in group file")]
    UnknownGroup {
        /// As written.
        name: String,
    },
    /// A name for the machine itself that leads nowhere.
    #[error(
        "{host}:host-gateway cannot be had: the machine has no IPv4 address that leads out; give an address of it instead"
    )]
    NoHostGateway {
        /// The name.
        host: String,
    },
    /// A text that is no host name.
    #[error("{name:?} is no host name: letters, digits, '-', '_' and '.' make one, 64 at most")]
    HostName {
        /// As given.
        name: String,
    },
    /// A number that no user or group has.
    #[error("{id} is no user or group: uids and gids must be in range 0-2147483647")]
    IdOutOfRange {
        /// The number.
        id: u32,
    },
    /// Something this version does not do.
    #[error("{what} is not supported")]
    Unsupported {
        /// The feature, as the user wrote it.
        what: String,
    },
    /// A system call failed.
    #[error("{call} {path}")]
    System {
        /// The call.
        call: &'static str,
        /// On what: a path in the source, image or draft.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The merged view of a stack of layers could not be mounted.
    #[error("cannot mount a view of {layers} layers")]
    View {
        /// How many.
        layers: usize,
        /// Why.
        #[source]
        source: SysError,
    },
    /// A Dockerfile or ignore file is a link to something outside of its directory.
    #[error("{path} is a symbolic link to {target}, which is not in the build context")]
    LinkOutside {
        /// The link, below the context.
        path: String,
        /// The link's text.
        target: String,
    },
    /// The build context could not be opened.
    #[error("unable to prepare context: path {path:?} not found")]
    ContextNotFound {
        /// The host path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A RUN's command ended with an error.
    #[error("process {command} did not complete successfully: exit code: {code}")]
    CommandFailed {
        /// The command, quoted.
        command: String,
        /// Its exit code, 128 + n for signal n.
        code: i32,
    },
    /// A RUN's command ended with an error, and the disk is full.
    #[error(
        "process {command} did not complete successfully: exit code: {code}: no space left on the store at {}",
        store.display()
    )]
    DiskFull {
        /// The command, quoted.
        command: String,
        /// Its exit code.
        code: i32,
        /// The store's directory.
        store: PathBuf,
    },
    /// A RUN's command ended with an error, because its processes had used all memory that a limit left them.
    #[error(
        "process {command} did not complete successfully: exit code: {code}: the kernel killed a process of it at a limit of \
         {} (peak {}): give it more with --memory, or let it do less at once",
        mebibytes(*limit), mebibytes(*peak)
    )]
    MemoryLimit {
        /// The command, quoted.
        command: String,
        /// Its exit code.
        code: i32,
        /// The most that its processes had, in bytes.
        peak: u64,
        /// What they may have.
        limit: u64,
    },
    /// A RUN's command was killed, while the kernel killed processes for want of memory.
    #[error(
        "process {command} did not complete successfully: exit code: {code}: the kernel has killed a process for want of \
         memory meanwhile: run fewer steps at once (--jobs), or give the machine, or the container around it all, more memory"
    )]
    MachineMemory {
        /// The command, quoted.
        command: String,
        /// Its exit code.
        code: i32,
    },
    /// A RUN has taken too long.
    #[error("process {command} was ended after {}, the most that a step may take (--step-timeout)", seconds(*longest))]
    TookTooLong {
        /// The command, quoted.
        command: String,
        /// How long it may take.
        longest: Duration,
    },
    /// A RUN cannot do without a secret that the caller does not have.
    #[error("secret {id}: not found")]
    SecretNotFound {
        /// Its id.
        id: String,
        /// One that the caller has, with an id near to it.
        near: Option<String>,
    },
    /// A RUN cannot do without an agent that the caller does not have.
    #[error("unset ssh forward key {id}")]
    NoSshKeys {
        /// Its id.
        id: String,
    },
    /// A RUN asks for what the person who builds has not allowed.
    #[error("entitlement {entitlement} is not allowed; --allow {entitlement} allows it")]
    NotAllowed {
        /// Its name in `--allow`.
        entitlement: String,
    },
    /// An agent does not answer.
    #[error("the ssh agent at {} does not answer", socket.display())]
    AgentAway {
        /// Its socket.
        socket: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// One of OpenSSH's programs cannot be used.
    #[error("{program} is needed for private keys that are files (--ssh ID=KEY)")]
    AgentProgram {
        /// Its name.
        program: &'static str,
        /// What is wrong with it.
        source: io::Error,
    },
    /// OpenSSH does not take a private key.
    #[error("ssh-add refuses {}: {said}", key.display())]
    KeyRefused {
        /// The file that it is in.
        key: PathBuf,
        /// What it said.
        said: String,
    },
    /// A RUN's command could not be started.
    #[error("process {command} did not complete successfully: exit code: {code}")]
    CommandNotStarted {
        /// The command, quoted.
        command: String,
        /// 127 when it is not there, 126 when it cannot be executed.
        code: i32,
        /// Why.
        #[source]
        source: SandboxError,
    },
    /// The user a RUN's command should have does not exist.
    #[error("process {command} did not complete successfully")]
    CommandUser {
        /// The command, quoted.
        command: String,
        /// Who is missing.
        source: Box<ExecutorError>,
    },
    /// A container's program could not be started.
    #[error(transparent)]
    ProgramNotStarted(SpawnError),
    /// A sandbox could not be built.
    #[error("cannot set up the sandbox")]
    Sandbox(#[from] SandboxError),
    /// A volume would lie over a file. The words are Docker's.
    #[error("cannot mount volume over existing file, file exists {path}")]
    VolumeOverFile {
        /// The path in the image.
        path: String,
    },
    /// A path of the host that is to be shown is not there. The words are Docker's.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", path.display())]
    HostPathMissing {
        /// The path.
        path: PathBuf,
    },
    /// The build was canceled.
    #[error("canceled")]
    Canceled,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Canceled> for ExecutorError {
    fn from(_: Canceled) -> Self {
        Self::Canceled
    }
}

impl ExecutorError {
    /// The failure of `call` on `path`.
    pub(crate) fn system(call: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::System { call, path: String::from_utf8_lossy(path).into_owned(), source: source.into() }
    }
}

/// Bytes for people.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    match tenths % 10 {
        0 => format!("{} MiB", tenths / 10),
        part => format!("{}.{part} MiB", tenths / 10),
    }
}

/// A duration for people.
fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn listed(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}
