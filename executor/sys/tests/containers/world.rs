//! A root file system made of busybox in a temporary directory, and commands run in it.

use rbuild_sys::{
    SandboxError,
    cgroup::Cgroups,
    mount::{MountAttributes, Submounts, clone_tree},
    overlay::{OverlaySpec, Syncing, Upper, XattrNamespace, mount_overlay},
    sandbox::{
        Confinement, Identity, Mount, MountSource, Network, PartKind, Process, Running, SandboxSpec, start,
    },
    spawn::{Guard, Stdio},
    userns::{PrivilegeKind, namespace_kind},
};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::Read,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
};

/// Layers of one image, and upper directories as they are needed.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) base: PathBuf,
    count: std::sync::atomic::AtomicUsize,
    pub(crate) privilege: PrivilegeKind,
    pub(crate) guard: Arc<Guard>,
    pub(crate) cgroups: Cgroups,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) upper: PathBuf,
}

/// What differs from an ordinary `RUN` as root.
pub(crate) struct Options<'a> {
    pub(crate) network: Network<'static>,
    pub(crate) mounts: &'a [Mount],
    pub(crate) confinement: Confinement,
    pub(crate) identity: Identity<'a>,
    pub(crate) directory: &'a str,
    pub(crate) path: &'a str,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            network: Network::Host,
            mounts: &[],
            confinement: Confinement::Default,
            identity: Identity { uid: 0, gid: 0, groups: &[0] },
            directory: "/",
            path: "/bin",
        }
    }
}

/// The static busybox, or why there can be no test.
pub(crate) fn busybox() -> Option<&'static Path> {
    let path = Path::new("/bin/busybox");
    if !path.exists() {
        rbuild_testkit::skip("/bin/busybox is missing (apt install busybox-static)");
        return None;
    }
    Some(path)
}

/// True if mounts can be made; says so if not.
pub(crate) fn can_mount() -> bool {
    rbuild_testkit::has_root() && busybox().is_some()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::inside(tempfile::tempdir().unwrap())
    }

    pub(crate) fn inside(directory: tempfile::TempDir) -> Self {
        let base = directory.path().join("base");
        fs::create_dir_all(base.join("bin")).unwrap();
        fs::create_dir_all(base.join("etc")).unwrap();
        fs::create_dir_all(base.join("tmp")).unwrap();
        for path in ["", "bin", "etc", "tmp"] {
            // whatever the umask: commands run as other users too
            fs::set_permissions(base.join(path), fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::create_dir_all(directory.path().join("empty")).unwrap();
        fs::copy("/bin/busybox", base.join("bin/busybox")).unwrap();
        for name in [
            "sh", "cat", "id", "true", "mount", "hostname", "ls", "grep", "echo", "unshare", "sleep", "kill",
            "pwd", "stat", "touch", "ip", "head", "tty", "ps", "readlink", "umount", "mkdir", "test", "env",
            "chmod", "mknod", "cut", "mv", "ln",
        ] {
            std::os::unix::fs::symlink("busybox", base.join("bin").join(name)).unwrap();
        }
        let privilege = namespace_kind().unwrap();
        let guard = Arc::new(Guard::start().unwrap());
        Self { directory, base, count: 0.into(), privilege, guard, cgroups: Cgroups::create() }
    }

    /// A detached overlay on `lowers` with a new upper directory.
    pub(crate) fn root(&self, lowers: &[&Path]) -> (OwnedFd, PathBuf) {
        let number = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let place = self.directory.path().join(format!("upper{number}"));
        let (upper, work) = (place.join("fs"), place.join("work"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).unwrap();
        let xattr = match self.privilege {
            PrivilegeKind::Root => XattrNamespace::Trusted,
            PrivilegeKind::UserNamespace => XattrNamespace::User,
        };
        let spec = OverlaySpec {
            lowers,
            upper: Some(Upper { directory: &upper, work: &work, syncing: Syncing::Skipped }),
            empty: &self.directory.path().join("empty"),
            xattr,
        };
        (mount_overlay(&spec).unwrap(), upper)
    }

    pub(crate) fn start(
        &self,
        command: &[&str],
        options: &Options<'_>,
        output: &File,
    ) -> Result<(Running, PathBuf), SandboxError> {
        let (root, upper) = self.root(&[&self.base]);
        self.start_in(root.as_fd(), command, options, output).map(|running| (running, upper))
    }

    pub(crate) fn start_in(
        &self,
        root: BorrowedFd<'_>,
        command: &[&str],
        options: &Options<'_>,
        output: &File,
    ) -> Result<Running, SandboxError> {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let environment = [OsString::from(format!("PATH={}", options.path)), OsString::from("HOME=/")];
        let spec = SandboxSpec {
            root,
            root_access: rbuild_sys::sandbox::RootAccess::ReadWrite,
            process: Process {
                command: &command,
                environment: &environment,
                directory: Path::new(options.directory),
                first: rbuild_sys::sandbox::FirstProcess::Command,
                identity: options.identity,
            },
            hostname: "buildkitsandbox",
            domain: None,
            kernel: &std::collections::BTreeMap::new(),
            memory_score: None,
            network: options.network,
            mounts: options.mounts,
            confinement: options.confinement,
            privilege: self.privilege,
            guard: &self.guard,
            cgroups: Some(&self.cgroups),
            limits: &rbuild_sys::limits::Limits::default(),
            privileges: &rbuild_sys::privileges::Privileges::default(),
            terminal: None,
            gate: None,
            stdio: Stdio { stdin: None, stdout: output.as_fd(), stderr: output.as_fd() },
        };
        start(&spec)
    }

    pub(crate) fn run(&self, command: &[&str], options: &Options<'_>) -> Result<Outcome, SandboxError> {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let writer = File::from(OwnedFd::from(writer));
        let (mut running, upper) = self.start(command, options, &writer)?;
        drop(writer);
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        let status = running.child.wait().unwrap();
        running.mount_points.remove_unused().unwrap();
        Ok(Outcome { status, output, upper })
    }

    /// Output of a shell script that must succeed.
    pub(crate) fn shell(&self, script: &str, options: &Options<'_>) -> String {
        let outcome = self.run(&["sh", "-ec", script], options).unwrap();
        assert!(outcome.status.success(), "{:?}: {}", outcome.status, outcome.output);
        outcome.output
    }
}

impl Outcome {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// A host path as a detached mount.
pub(crate) fn bind(path: &Path) -> MountSource {
    let tree = clone_tree(nix::fcntl::AT_FDCWD, path, Submounts::Leave).unwrap();
    MountSource::Tree(tree.into())
}

/// Small files in one detached mount, mounted one by one, read-only.
pub(crate) struct Parts(Arc<OwnedFd>);

impl Parts {
    pub(crate) fn create(world: &World, files: &[(&str, &str)]) -> Self {
        let place = world.directory.path().join("parts");
        fs::create_dir(&place).unwrap();
        for (name, content) in files {
            fs::write(place.join(name), content).unwrap();
            fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o400)).unwrap();
        }
        Self(Arc::new(clone_tree(nix::fcntl::AT_FDCWD, &place, Submounts::Leave).unwrap()))
    }

    pub(crate) fn file(&self, name: &str) -> MountSource {
        MountSource::Part {
            mount: Arc::clone(&self.0),
            path: name.into(),
            kind: PartKind::File,
            attributes: MountAttributes::READ_ONLY,
        }
    }
}
