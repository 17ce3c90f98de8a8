//! Attacks: each test takes the shape of a known one and must not reach the host; `docs/security.md` has the list.
//!
//! Every attack runs as root and as an ordinary user. On the host lies bait: files with a word that no build may print,
//! which belong to the one who builds, beside everything else in the workspace. Whatever the attack does, the bait must be
//! as it was, and the word must not appear in what the build says.

mod archives;
mod contexts;
mod descriptors;
mod devices;
mod identity;
mod kernel;
mod kernel_views;
mod links;
mod network;
mod outliving;
mod own_program;
mod reach;
mod resources;

use crate::{RBUILD, ordinary_user};
use rbuild_testkit::{Base, Ran, Workspace, has_program};
use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

/// What a RUN can have mounted, as options of it; all at `/m`. `other` is a stage of [`dockerfile`].
const MOUNTS: [&str; 5] = [
    "",
    "--mount=type=bind,target=/m",
    "--mount=type=cache,id=m,target=/m",
    "--mount=type=tmpfs,target=/m",
    "--mount=type=bind,from=other,rw,target=/m",
];

/// The word in the bait.
const SECRET: &str = "canary-5d1c9e";

/// A workspace with bait in it, and who builds there.
struct Arena {
    here: Workspace,
    who: Who,
    before: BTreeMap<PathBuf, Seen>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Root,
    User,
}

/// What an attack could change of a file.
#[derive(PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    inode: u64,
    content: Vec<u8>,
}

/// Carries an attack out as root and as an ordinary user; says by name which of them cannot be here.
#[expect(clippy::print_stdout, reason = "a failing test shows as whom it failed")]
fn attack(test: &str, carry_out: impl Fn(&Arena)) {
    if !rbuild_testkit::is_root(test) || !has_program("setpriv", test) {
        return;
    }
    for who in [Who::Root, Who::User] {
        let workspace = match who {
            // with a copy of the program, so that an attack on it harms no other test
            Who::Root => Some(Workspace::for_user(RBUILD, 0)),
            Who::User => ordinary_user::workspace(test),
        };
        let Some(here) = workspace else { continue };
        println!("{test} as {who:?}");
        here.import(Base::Busybox);
        carry_out(&Arena::new(here, who));
    }
}

impl Arena {
    fn new(here: Workspace, who: Who) -> Self {
        let uid = fs::metadata(here.path()).unwrap().uid();
        here.write("bait/secret", format!("{SECRET}\n"));
        here.write("bait/empty-file", "");
        fs::create_dir(here.path().join("bait/empty")).unwrap();
        for name in ["", "secret", "empty", "empty-file"] {
            let path = here.path().join("bait").join(name);
            chown(&path, Some(uid), Some(uid)).unwrap();
            let mode = if path.is_dir() { 0o700 } else { 0o600 };
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let before = BTreeMap::new();
        let mut arena = Self { here, who, before };
        arena.before = arena.look();
        arena
    }

    /// The directory with the bait.
    fn bait(&self) -> PathBuf {
        self.here.path().join("bait")
    }

    /// What an attack must leave as it is: the bait, and rbuild's own program.
    fn look(&self) -> BTreeMap<PathBuf, Seen> {
        let mut seen = BTreeMap::new();
        let mut todo = vec![self.bait(), self.here.path().join("rbuild")];
        while let Some(path) = todo.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mut content = Vec::new();
            if metadata.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else if metadata.is_file() {
                content = fs::read(&path).unwrap();
            }
            let (mode, owner, inode) = (metadata.mode(), (metadata.uid(), metadata.gid()), metadata.ino());
            seen.insert(path, Seen { mode, owner, inode, content });
        }
        seen
    }

    /// Fails if the attack reached the host: it printed the bait or changed anything.
    fn assert_safe(&self, ran: &Ran, attack: &str) {
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains(SECRET), "{:?}: {attack}: it read the bait: {ran:#?}", self.who);
            assert!(!text.contains("panicked"), "{:?}: {attack}: {ran:#?}", self.who);
        }
        let now = self.look();
        for (path, seen) in &self.before {
            let found = now.get(path);
            let same = found == Some(seen);
            assert!(same, "{:?}: {attack}: {} was changed: {ran:#?}", self.who, path.display());
        }
        let more: Vec<&PathBuf> = now.keys().filter(|path| !self.before.contains_key(*path)).collect();
        assert!(more.is_empty(), "{:?}: {attack}: it made {more:?}: {ran:#?}", self.who);
    }

    /// Builds a Dockerfile as `x`, whatever comes of it, and looks whether it reached the host.
    fn build(&self, dockerfile: &str) -> Ran {
        self.build_with(&[], dockerfile)
    }

    fn build_with(&self, options: &[&str], dockerfile: &str) -> Ran {
        let context = self.here.context("c", dockerfile, &[("file", "of the context\n"), ("empty", "")]);
        self.build_context(options, &context, dockerfile)
    }

    fn build_context(&self, options: &[&str], context: &Path, attack: &str) -> Ran {
        let words = ["build", "--no-cache", "-t", "x"].iter().chain(options).map(AsRef::as_ref);
        let ran = self.here.run(words.chain([context.as_os_str()]));
        self.assert_safe(&ran, attack);
        ran
    }

    /// Builds a Dockerfile with `options`, which must succeed; returns what it printed.
    fn builds_with(&self, options: &[&str], dockerfile: &str) -> String {
        let ran = self.build_with(options, dockerfile);
        assert_eq!(ran.code, 0, "{:?}: {ran:#?}", self.who);
        ran.stderr
    }

    /// Builds a Dockerfile, which must succeed; returns what it printed.
    fn builds(&self, dockerfile: &str) -> String {
        let ran = self.build(dockerfile);
        assert_eq!(ran.code, 0, "{:?}: {ran:#?}", self.who);
        ran.stderr
    }

    /// Builds a Dockerfile, which must fail in the orderly way; returns what it printed.
    fn refuses(&self, dockerfile: &str) -> String {
        let ran = self.build(dockerfile);
        assert_eq!(ran.code, 1, "{:?}: {dockerfile}: {ran:#?}", self.who);
        assert!(ran.stderr.contains("ERROR: "), "{:?}: {ran:#?}", self.who);
        ran.stderr
    }

    /// Runs rbuild, whatever comes of it, and looks whether it reached the host.
    fn run(&self, words: &[&str]) -> Ran {
        let ran = self.here.run(words);
        self.assert_safe(&ran, &words.join(" "));
        ran
    }

    /// A static program in the context directory `c`, made of C; `false`, said by name, where there is no compiler.
    fn compiled(&self, test: &str, name: &str, source: &str) -> bool {
        if !has_program("gcc", test) {
            return false;
        }
        let source = self.here.write(&format!("{name}.c"), source);
        let program = self.here.write(&format!("c/{name}"), "");
        let gcc =
            Command::new("gcc").args(["-static", "-O1", "-w", "-o"]).arg(&program).arg(&source).output();
        let gcc = gcc.unwrap();
        assert!(gcc.status.success(), "{}", String::from_utf8_lossy(&gcc.stderr));
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        true
    }
}

/// A Dockerfile with a stage `other`, then the lines given on busybox; `MOUNT` in them becomes `mount`.
fn dockerfile(mount: &str, lines: &str) -> String {
    format!("FROM busybox AS other\nFROM busybox\n{}\n", lines.replace("MOUNT", mount))
}

/// A shell command that prints the bait if a way leads from the current directory, or from `start`, up to the host.
fn search(arena: &Arena) -> String {
    let bait = arena.bait().display().to_string();
    format!(
        "for start in . /proc/self/cwd; do up=$start; for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do \
         cat $up/bait/secret $up/secret $up{bait}/secret 2>/dev/null; \
         touch $up/bait/reached $up{bait}/reached 2>/dev/null; up=$up/..; done; done; true"
    )
}
