//! A place to run the `rbuild` binary in: a store and a folder of its own, a cleared environment, the base images.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// A store, a folder for files, and the binary to run with them.
pub struct Workspace {
    binary: PathBuf,
    folder: TempDir,
    store: PathBuf,
    user: Option<u32>,
    umask: Option<u32>,
}

/// A command's output and exit status.
#[derive(Debug)]
pub struct Ran {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
}

/// The base images the tests build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// `busybox:latest`: one static program.
    Busybox,
    /// `debian:12`: a minimal Debian with a C compiler and Python.
    Debian,
    /// `openssh:latest`: OpenSSH's programs, Git and busybox, as their packages are unpacked; nothing is set up.
    OpenSsh,
}

impl Base {
    fn archive(self) -> (&'static str, &'static str) {
        match self {
            Self::Busybox => ("busybox.tar", "busybox:latest"),
            Self::Debian => ("debian.tar", "debian:12"),
            Self::OpenSsh => ("openssh.tar", "openssh:latest"),
        }
    }
}

impl Workspace {
    /// A workspace for `binary` (the one of `RBUILD_BIN` when that is set, so that a release build can be tested).
    #[must_use]
    pub fn new(binary: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test takes its binary from the environment")]
        let chosen = std::env::var_os("RBUILD_BIN");
        let binary = chosen.map_or_else(|| PathBuf::from(binary), PathBuf::from);
        let folder = tempfile::Builder::new().prefix("rbuild-test-").tempdir().expect("a temporary folder");
        let store = folder.path().join("store");
        Self { binary, folder, store, user: None, umask: None }
    }

    /// The same as the ordinary user `uid`, who gets the folder, with a copy of the binary in it, since the original may
    /// lie where only its owner goes; needs root, and `uid` in /etc/subuid.
    #[must_use]
    pub fn for_user(binary: &str, uid: u32) -> Self {
        let mut workspace = Self::new(binary);
        let copy = workspace.folder.path().join("rbuild");
        crate::copy_program(&workspace.binary, &copy);
        workspace.binary = copy;
        workspace.user = Some(uid);
        std::os::unix::fs::chown(workspace.folder.path(), Some(uid), Some(uid)).expect("chown of the folder");
        workspace
    }

    /// Makes every command start with this umask.
    pub fn set_umask(&mut self, umask: u32) {
        self.umask = Some(umask);
    }

    /// Imports a base image. The root filesystems come from `scripts/base-image RBUILD --only-roots`.
    pub fn import(&self, base: Base) {
        let (file, name) = base.archive();
        let archive = repository().join("target/base").join(file);
        assert!(
            archive.exists(),
            "{} is missing: run scripts/base-image target/debug/rbuild --only-roots",
            archive.display()
        );
        let command = if base == Base::Debian { "CMD [\"bash\"]" } else { "CMD [\"sh\"]" };
        self.ok(["import".as_ref(), "-c".as_ref(), command.as_ref(), archive.as_os_str(), name.as_ref()]);
    }

    /// The folder for files.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The store's directory.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Writes a file below the folder, with its parents; returns its path. Their modes do not depend on the umask.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(path);
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        fs::create_dir_all(path.parent().expect("a path below the folder")).expect("parents");
        for parent in path.ancestors().skip(1).take_while(|parent| *parent != self.folder.path()) {
            mode(parent, 0o755).expect("a directory in the folder");
        }
        fs::write(&path, content).and_then(|()| mode(&path, 0o644)).expect("a file in the folder");
        path
    }

    /// Writes a context with this Dockerfile and these files; returns its directory.
    pub fn context(&self, name: &str, dockerfile: &str, files: &[(&str, &str)]) -> PathBuf {
        for (path, content) in files {
            self.write(&format!("{name}/{path}"), content);
        }
        self.write(&format!("{name}/Dockerfile"), dockerfile).parent().expect("a context").to_owned()
    }

    /// The command, not yet run: cleared environment, this store, this folder.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = match self.user {
            None => Command::new(&self.binary),
            Some(uid) => {
                let mut command = Command::new("setpriv");
                command.args([
                    format!("--reuid={uid}"),
                    format!("--regid={uid}"),
                    "--clear-groups".to_owned(),
                ]);
                command.arg(&self.binary);
                command
            }
        };
        command.args(arguments);
        if let Some(umask) = self.umask {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("umask {umask:03o}; exec \"$0\" \"$@\"")]);
            shell.arg(command.get_program()).args(command.get_args());
            command = shell;
        }
        command.env_clear().current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.folder.path()).env("RBUILD_ROOT", &self.store);
        command
    }

    /// Runs rbuild to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(self.command(arguments).output().expect("rbuild can be started"))
    }

    /// Runs rbuild, which must succeed; returns its standard output.
    pub fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.stdout
    }

    /// Runs rbuild, which must fail; returns what it printed.
    pub fn fails<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        let ran = self.run(arguments);
        assert_ne!(ran.code, 0, "{ran:#?}");
        ran
    }

    /// Builds `context` as `tag`, which must succeed; returns the progress output.
    pub fn build(&self, tag: &str, context: &Path) -> String {
        let ran = self.run(["build".as_ref(), "-t".as_ref(), tag.as_ref(), context.as_os_str()]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.stderr
    }
}

impl Ran {
    /// The result of a finished command.
    #[must_use]
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // layers of an ordinary user belong to subordinate ids: only root, as which the tests run, can remove them
        let _ = Command::new("rm").arg("-rf").arg(&self.store).status();
    }
}

/// The project's root folder.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("testkit lies in the repository")
}

/// True if a program is installed; otherwise reports on standard error that `test` is skipped.
#[must_use]
pub fn has_program(program: &str, test: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        crate::skip_named(test, format_args!("{program} is not installed"));
    }
    found
}

/// True if the tests run as root; otherwise reports on standard error that `test` is skipped.
#[must_use]
pub fn is_root(test: &str) -> bool {
    let root = crate::skip::runs_as_root();
    if !root {
        crate::skip_named(test, "it needs root");
    }
    root
}
