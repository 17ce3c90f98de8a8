//! A real S3 server, the program `s3s-fs`, whose buckets are directories.

use crate::{
    registry::{Killed, free_port, listens},
    repository,
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// The key that a server accepts.
pub const S3_KEY: &str = "AKIATESTKIT";

/// Its secret.
pub const S3_SECRET: &str = "the-secret-of-the-test-server";

/// A running S3 server with one bucket; it stops when dropped.
pub struct S3Server {
    directory: TempDir,
    process: Killed,
    port: u16,
}

impl S3Server {
    /// Starts one and waits until it listens. `None`, and a word on stderr, when this machine lacks the program.
    ///
    /// # Panics
    /// When the program is there but the server does not come up.
    #[must_use]
    pub fn start() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        fs::create_dir_all(directory.path().join("root/bucket")).expect("it can be written");
        for _ in 0..5 {
            let port = free_port();
            let Some(process) = spawn(directory.path(), port) else {
                crate::skip("it needs an S3 server, and s3s-fs is not installed");
                return None;
            };
            let mut process = Killed(Some(process));
            if listens(&mut process, port) {
                return Some(Self { directory, process, port });
            }
        }
        panic!("s3s-fs does not start");
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The directory whose files are the objects of the bucket `bucket`.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.directory.path().join("root/bucket")
    }

    /// Ends it without a warning, as a power cut would.
    pub fn kill(&mut self) {
        self.process = Killed(None);
    }
}

/// `None` when the program is not installed.
fn spawn(directory: &Path, port: u16) -> Option<std::process::Child> {
    let log = File::create(directory.join("log")).expect("the temporary directory can be written");
    let own = repository().join("target/tools/bin/s3s-fs");
    let mut command = Command::new(if own.exists() { own } else { PathBuf::from("s3s-fs") });
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--access-key", S3_KEY, "--secret-key", S3_SECRET]).arg(directory.join("root"));
    command.stdin(Stdio::null()).stderr(log.try_clone().expect("a file can be opened twice")).stdout(log);
    match command.spawn() {
        Ok(process) => Some(process),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("s3s-fs cannot be run: {error}"),
    }
}
