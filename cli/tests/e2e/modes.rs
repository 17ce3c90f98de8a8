//! Modes of what rbuild writes: set by rule, whatever the umask is.

use crate::{RBUILD, ordinary_user};
use rbuild_testkit::{Base, Workspace, is_root};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Runs every command that writes, with a step of every kind, and gives the modes of the image's files.
fn use_everything(here: &Workspace) -> String {
    here.import(Base::Busybox);
    let dockerfile = "FROM busybox AS a\nRUN --mount=type=cache,target=/cache echo kept > /cache/f && mkdir /d && echo 1 > /d/f\n\
        FROM busybox\nCOPY sub /sub/deep\nADD add.tar /added/\nWORKDIR /w/deep\nCOPY --from=a /d d\n\
        COPY <<script /bin/script\necho hello\nscript\nRUN <<script\nmkdir -p /run/made && echo 2 > /run/made/f\nscript\n";
    let context = here.context("c", dockerfile, &[("sub/f", "text")]);
    let made =
        std::process::Command::new("tar").args(["-cf", "add.tar", "sub"]).current_dir(&context).status();
    assert!(made.unwrap().success());
    for tag in ["x", "x:again"] {
        let options = ["build", "--iidfile", "iid", "--metadata-file", "metadata", "-t", tag];
        here.ok(options.iter().map(AsRef::as_ref).chain([context.as_os_str()]));
    }
    for format in ["docker", "oci"] {
        here.ok(["save", "--format", format, "-o", "x.tar", "x"]);
        here.ok(["rmi", "-f", "x"]);
        here.ok(["load", "-q", "-i", "x.tar"]);
    }
    let host = here.path().join("volume/made");
    let volume = format!("{}:/v", host.display());
    here.ok(["run", "--name", "kept", "-v", &volume, "x", "sh", "-c", "echo 3 > /from-run; mkdir /by-run"]);
    here.ok(["commit", "kept", "committed"]);
    here.ok(["tag", "committed", "me/committed:1"]);
    here.ok(["plan", context.to_str().unwrap()]);
    let list =
        "find / -xdev ! -path '/proc*' ! -path '/sys*' ! -path '/dev*' -exec stat -c '%a %n' {} + | sort -k2";
    here.ok(["run", "--rm", "committed", "sh", "-c", list])
}

/// True if it holds files of images, whose modes are theirs.
fn is_content(path: &Path) -> bool {
    let inside = |[in_store, part]: [&str; 2]| {
        matches!((in_store, part), ("layers", "fs") | ("containers", "fs" | "init"))
    };
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    parts.windows(3).any(|window| inside([window[0], window[2]]))
        || parts.windows(3).any(|window| window[0] == "mounts" && window[2] == "0")
}

fn assert_private(store: &Path) {
    let mut pending: Vec<PathBuf> = vec![store.to_owned()];
    let mut seen = 0;
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = metadata.mode() & 0o7777;
        // the kernel's own directory has no mode at all
        if is_content(path.strip_prefix(store).unwrap()) || (path.ends_with("work") && mode == 0) {
            continue;
        }
        seen += 1;
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{mode:o} {}", path.display());
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 60, "the store holds something of everything: {seen}");
}

fn assert_modes_are_the_same(mut make: impl FnMut() -> Workspace, umasks: &[u32]) {
    let usual = use_everything(&make());
    assert!(usual.contains("755 /w/deep\n") && usual.contains("755 /by-run\n"), "{usual}");
    for umask in umasks {
        let mut here = make();
        here.set_umask(*umask);
        assert_eq!(use_everything(&here), usual, "an image's files with umask {umask:03o}");
        assert_private(here.store());
        let mode = |name: &str| fs::metadata(here.path().join(name)).unwrap().mode() & 0o7777;
        // docker's, whatever the umask
        let modes = [mode("x.tar"), mode("iid"), mode("metadata"), mode("volume"), mode("volume/made")];
        assert_eq!(modes, [0o600, 0o644, 0o644, 0o755, 0o755], "with umask {umask:03o}");
    }
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    if !is_root("modes_do_not_depend_on_the_umask") {
        return;
    }
    assert_modes_are_the_same(|| Workspace::new(RBUILD), &[0o000, 0o077, 0o777]);
}

#[test]
fn modes_of_an_ordinary_user_do_not_depend_on_the_umask() {
    let test = "modes_of_an_ordinary_user_do_not_depend_on_the_umask";
    if ordinary_user::workspace(test).is_some() {
        assert_modes_are_the_same(|| ordinary_user::workspace(test).unwrap(), &[0o000, 0o077]);
    }
}
