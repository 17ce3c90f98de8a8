//! A real Git server: `git http-backend` behind the small HTTP server, and repositories to fill it with.

use crate::{HttpReply, HttpRequest, HttpServer};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A server with repositories; it stops with the process.
pub struct GitServer {
    http: HttpServer,
    root: TempDir,
}

/// A repository of a server, with a work tree to make commits in.
pub struct GitRepository {
    /// Where commits are made.
    pub work_tree: PathBuf,
    bare: PathBuf,
}

impl GitServer {
    /// A server for everyone.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        Self::with_login("")
    }

    /// A server for those who send `authorization` in the header of that name; for everyone when it is empty.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn with_login(authorization: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (served, authorization) = (root.path().to_owned(), authorization.to_owned());
        let http = HttpServer::start(move |request| {
            let sent = request.header("authorization").unwrap_or_default();
            if !authorization.is_empty() && sent != authorization {
                return HttpReply::new(401, "").header("WWW-Authenticate", "Basic realm=\"git\"");
            }
            backend(&served, request)
        });
        Self { http, root }
    }

    /// The address of repository `name`.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.http.host())
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.http.requests()
    }

    /// A new repository called `name`, such as `a.git`.
    ///
    /// # Panics
    /// When `git` fails.
    #[must_use]
    pub fn repository(&self, name: &str) -> GitRepository {
        let (bare, work_tree) = (self.root.path().join(name), self.root.path().join(format!("{name}-tree")));
        fs::create_dir(&work_tree).expect("a folder");
        let repository = GitRepository { work_tree, bare };
        let path = repository.bare.to_str().expect("a path in UTF-8").to_owned();
        repository.git(&["init", "--quiet", "--bare", "--initial-branch=main", &path]);
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.git(&["remote", "add", "origin", &path]);
        repository
    }
}

impl GitRepository {
    /// Writes files, commits everything in the work tree and sends it to the server; returns the commit.
    ///
    /// # Panics
    /// When `git` fails.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, content) in files {
            let path = self.work_tree.join(name);
            fs::create_dir_all(path.parent().expect("a path below the work tree")).expect("parents");
            fs::write(path, content).expect("a file");
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "a commit"]);
        self.push();
        self.git(&["rev-parse", "HEAD"])
    }

    /// Sends all branches and tags to the server.
    pub fn push(&self) {
        self.git(&["push", "--quiet", "--force", "origin", "--all"]);
        self.git(&["push", "--quiet", "--force", "origin", "--tags"]);
    }

    /// Runs `git` in the work tree, and returns what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]);
        command.args(["-c", "protocol.file.allow=always"]);
        command.args(arguments).current_dir(&self.work_tree).stdin(Stdio::null());
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_COMMITTER_DATE", "1577836800 +0000").env("GIT_AUTHOR_DATE", "1577836800 +0000");
        let output = command.output().expect("git can be started");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// The answer of `git http-backend` (RFC 3875) for the repositories below `root`.
fn backend(root: &Path, request: &HttpRequest) -> HttpReply {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let header = |name| request.header(name).unwrap_or_default();
    let mut command = Command::new("git");
    command.arg("http-backend").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1").env("PATH_INFO", path);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("QUERY_STRING", query).env("REQUEST_METHOD", &request.method);
    command.env("CONTENT_TYPE", header("content-type")).env("GIT_PROTOCOL", header("git-protocol"));
    command.env("HTTP_CONTENT_ENCODING", header("content-encoding"));
    command.env("CONTENT_LENGTH", request.body.len().to_string());
    let mut backend = command.spawn().expect("git can be started");
    let mut input = backend.stdin.take().expect("it is piped");
    let body = request.body.clone();
    let writing = std::thread::spawn(move || input.write_all(&body));
    let output = backend.wait_with_output().expect("git ends").stdout;
    let _ = writing.join();
    let end = output.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(output.len());
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut reply = HttpReply::new(200, output.get(end + 4..).unwrap_or_default());
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        match name {
            "Status" => {
                reply.status = value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500);
            }
            name => reply = reply.header(name, value),
        }
    }
    reply
}
