//! The machine's faults end with exit code 3 and name themselves: no space, no permission, read-only, no network, no mount; while
//! something is read, written or mounted. What the user got wrong ends with 1, in the same places.

use crate::{RBUILD, ordinary_user, with_busybox};
use rbuild_testkit::{Base, Ran, Registry, RegistryOptions, Workspace, has_root, skip};
use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted file system; unmounted when dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// A file system in memory with these options at `path`, made if it is not there.
    pub(crate) fn new(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        skip("no tmpfs can be mounted");
        None
    }

    fn make_read_only(&self) {
        let made = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(made.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Checks that a command ended with the machine's code and says `part`.
fn is_the_machine_s(ran: &Ran, part: &str) {
    assert!(
        ran.code == 3 && ran.stderr.to_lowercase().contains(part),
        "should end with 3 and say {part:?}: {ran:#?}"
    );
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("(os error"), "{ran:#?}");
}

fn build(here: &Workspace, context: &Path) -> Ran {
    here.run(["build".as_ref(), "-t".as_ref(), "x".as_ref(), context.as_os_str()])
}

#[test]
fn no_space_in_the_store() {
    let Some(other) = with_busybox("no_space_in_the_store") else { return };
    other.write("big", vec![7; 30 << 20]);
    // an archive that ends at once
    other.write("nothing.tar", vec![0; 1024]);
    let import = other.run(["import", "nothing.tar", "big"]);
    assert_eq!(import.code, 0, "{import:#?}");
    let here = Workspace::new(RBUILD);
    let Some(_store) = Mounted::new(here.store().to_owned(), "size=16m") else { return };
    here.import(Base::Busybox);
    let say = "no space left";
    for dockerfile in [
        "FROM busybox\nRUN head -c 30000000 /dev/zero > /big\n",
        "FROM busybox\nCOPY big /\n",
        "FROM scratch\nADD big.tar /\n",
    ] {
        let context = here.context("c", dockerfile, &[]);
        fs::write(context.join("big"), vec![7; 30 << 20]).unwrap();
        let tar = Command::new("tar").args(["-cf", "big.tar", "big"]).current_dir(&context).status();
        assert!(tar.unwrap().success());
        is_the_machine_s(&build(&here, &context), say);
    }
    let archive = here.path().join("c/big.tar");
    is_the_machine_s(&here.run(["import".as_ref(), archive.as_os_str()]), say);
    let context = other.context("c", "FROM busybox\nCOPY big /\n", &[]);
    fs::copy(other.path().join("big"), context.join("big")).unwrap();
    other.build("big", &context);
    other.ok(["save", "-o", "saved.tar", "big"]);
    let saved = other.path().join("saved.tar");
    is_the_machine_s(&here.run(["load".as_ref(), "-i".as_ref(), saved.as_os_str()]), say);
}

/// Whoever fills the disk takes the room that a removal has freed as well.
#[test]
fn what_is_removed_again_and_again_needs_no_room() {
    let Some(_) = with_busybox("what_is_removed_again_and_again_needs_no_room") else { return };
    let here = Workspace::new(RBUILD);
    let Some(store) = Mounted::new(here.store().to_owned(), "size=48m") else { return };
    here.import(Base::Busybox);
    let made: Vec<String> = (0..4).map(|number| format!("made{number}")).collect();
    for name in &made {
        let context = here.context("c", &format!("FROM busybox\nRUN echo {name} > /x\n"), &[]);
        here.build(name, &context);
        here.ok(["create", "--name", name, "busybox"]);
    }
    let mut filler = fs::File::create(store.0.join("filler")).unwrap();
    for name in &made {
        while filler.write(&[1; 4096]).is_ok() {}
        here.ok(["df"]);
        here.ok(["rm", name]);
        here.ok(["rmi", name]);
        here.ok(["prune", "-f"]);
        here.ok(["cache", "verify"]);
    }
}

#[test]
fn no_space_for_other_limits_leaves_those_there_were() {
    if !rbuild_testkit::is_root("no_space_for_other_limits_leaves_those_there_were") {
        return;
    }
    let here = Workspace::new(RBUILD);
    let Some(store) = Mounted::new(here.store().to_owned(), "size=24m") else { return };
    here.import(Base::Busybox);
    here.ok(["run", "-d", "--name=box", "--pids-limit=50", "busybox", "sleep", "600"]);
    let filler = store.0.join("filler");
    let _ = fs::write(&filler, vec![0; 24 << 20]);
    let refused = here.run(["update", "--pids-limit=5", "box"]);
    let forks = "i=0; while [ $i -lt 20 ]; do sleep 1 & i=$((i+1)); done; jobs | wc -l";
    let ran = here.run(["exec", "box", "sh", "-c", forks]);
    fs::remove_file(filler).unwrap();
    here.ok(["rm", "-f", "box"]);
    is_the_machine_s(&refused, "no space left");
    assert_eq!(ran.stdout, "20\n", "{ran:#?}");
}

#[test]
fn no_space_for_what_is_written() {
    let Some(here) = with_busybox("no_space_for_what_is_written") else { return };
    let Some(full) = Mounted::new(here.path().join("full"), "size=64k") else { return };
    let _ = fs::write(full.0.join("filler"), vec![0; 1 << 20]);
    let context = here.context("c", "FROM busybox\nRUN true\n", &[]);
    let context = context.to_str().unwrap();
    for words in [
        &["save", "-o", "full/x.tar", "busybox"][..],
        &["build", "--iidfile", "full/id", context],
        &["build", "--metadata-file", "full/metadata", context],
    ] {
        is_the_machine_s(&here.run(words), "no space left");
    }
    let mut command = here.command(["images"]);
    command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    is_the_machine_s(&Ran::of(command.output().unwrap()), "no space left");
    let mut command = here.command(["save", "busybox"]);
    command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    is_the_machine_s(&Ran::of(command.output().unwrap()), "no space left");
}

#[test]
fn a_read_only_store_and_a_read_only_place() {
    let Some(other) = with_busybox("a_read_only_store_and_a_read_only_place") else { return };
    let here = Workspace::new(RBUILD);
    let Some(store) = Mounted::new(here.store().to_owned(), "size=64m") else { return };
    here.import(Base::Busybox);
    let context = here.context("c", "FROM busybox\nRUN true\n", &[]);
    store.make_read_only();
    is_the_machine_s(&build(&here, &context), "read-only file system");
    for words in [&["tag", "busybox", "y"][..], &["rmi", "busybox"], &["prune", "-a", "-f"]] {
        is_the_machine_s(&here.run(words), "read-only file system");
    }
    let Some(place) = Mounted::new(other.path().join("place"), "size=1m") else { return };
    place.make_read_only();
    let context = context.to_str().unwrap();
    for words in [&["save", "-o", "place/x.tar", "busybox"][..], &["build", "--iidfile", "place/id", context]]
    {
        is_the_machine_s(&other.run(words), "read-only file system");
    }
}

#[test]
fn a_user_without_permission() {
    let Some(here) = ordinary_user::workspace("a_user_without_permission") else { return };
    here.import(Base::Busybox);
    let locked = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    let say = "permission denied";
    let context = here.context("c", "FROM busybox\nCOPY file /\n", &[("file", "x")]);
    locked(&context.join("file"));
    is_the_machine_s(&build(&here, &context), say);
    let context = here.context("d", "FROM busybox\nCOPY sub /\n", &[("sub/file", "x")]);
    locked(&context.join("sub"));
    is_the_machine_s(&build(&here, &context), say);
    let context = here.context("e", "FROM busybox\n", &[]);
    locked(&context.join("Dockerfile"));
    is_the_machine_s(&build(&here, &context), say);
    locked(&context);
    is_the_machine_s(&build(&here, &context), say);
    let archive = here.write("a.tar", "");
    locked(&archive);
    is_the_machine_s(&here.run(["load", "-i", "a.tar"]), say);
    is_the_machine_s(&here.run(["import", "a.tar"]), say);
    let closed = here.write("closed/file", "");
    fs::set_permissions(closed.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    is_the_machine_s(&here.run(["save", "-o", "closed/x.tar", "busybox"]), say);
    is_the_machine_s(&here.run(["--root", "closed/store", "images"]), "no permission");
}

#[test]
fn a_registry_that_refuses_connections() {
    if !has_root() {
        return;
    }
    let here = Workspace::new(RBUILD);
    let context = here.context("c", "FROM 127.0.0.1:1/a\n", &[]);
    is_the_machine_s(&build(&here, &context), "connection refused");
    let context = here.context("d", "FROM scratch\nCOPY file /\n", &[("file", "x")]);
    here.build("127.0.0.1:1/b", &context);
    for words in [
        &["pull", "127.0.0.1:1/a"][..],
        &["push", "127.0.0.1:1/b"],
        &["login", "-u", "a", "-p", "b", "127.0.0.1:1"],
    ] {
        is_the_machine_s(&here.run(words), "connection refused");
    }
    let unknown = here.run(["pull", "no-such-host.invalid/a"]);
    assert_eq!(unknown.code, 3, "{unknown:#?}");
}

#[test]
fn a_kernel_that_refuses_to_mount() {
    if !has_root() {
        return;
    }
    let here = Workspace::new(RBUILD);
    let context =
        here.context("c", "FROM scratch AS a\nCOPY file /\nFROM a\nRUN [\"/file\"]\n", &[("file", "x")]);
    // root of a user namespace that owns no mount namespace may mount nothing
    let inner = here.command(["build".as_ref(), context.as_os_str()]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().env("RBUILD_ROOT", here.store()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    is_the_machine_s(&Ran::of(command.output().unwrap()), "not permitted");
}

#[test]
fn what_the_user_got_wrong_is_not_the_machine_s() {
    let Some(here) = with_busybox("what_the_user_got_wrong_is_not_the_machine_s") else { return };
    for dockerfile in [
        "FROM busybox\nCOPY nothing /\n",
        "FROM busybox\nRUN /nothing\n",
        "FROM busybox\nRUN [\"/etc/passwd\"]\n",
        "FROM busybox\nCOPY file /etc/passwd/below\n",
        "FROM busybox\nUSER nobody-here\nRUN true\n",
        "FROM busybox\nADD file/../../../x /\n",
    ] {
        let context = here.context("c", dockerfile, &[("file", "x")]);
        let ran = build(&here, &context);
        assert_eq!(ran.code, 1, "{dockerfile:?}: {ran:#?}");
    }
    here.write("text", "no tar");
    for words in [
        &["load", "-i", "text"][..],
        &["load", "-i", "nothing"],
        &["import", "text"],
        &["import", "nothing"],
        &["save", "-o", "no/such/x.tar", "busybox"],
        &["build", "--iidfile", ".", "c"],
        &["push", "nothing"],
    ] {
        let ran = here.run(words);
        assert_eq!(ran.code, 1, "{words:?}: {ran:#?}");
    }
}

/// Whatever is being done at the moment when the disk is full, the same code comes, and the reason.
#[test]
fn no_space_at_any_moment() {
    let Some(other) = with_busybox("no_space_at_any_moment") else { return };
    let context = other.context("c", "FROM busybox\nCOPY f /f\nADD t.tar /t\nWORKDIR /w\n", &[]);
    fs::write(context.join("f"), vec![7; 300_000]).unwrap();
    let packed = Command::new("tar").args(["-cf", "t.tar", "f"]).current_dir(&context).status();
    assert!(packed.unwrap().success());
    other.build("x", &context);
    other.ok(["save", "-o", "x.tar", "x"]);
    let packed = Command::new("gzip").args(["-k", "x.tar"]).current_dir(other.path()).status();
    assert!(packed.unwrap().success());
    let there = |name: &str| other.path().join(name).into_os_string().into_string().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/base/busybox.tar");
    let (root, plain, packed, context) =
        (root.to_str().unwrap(), there("x.tar"), there("x.tar.gz"), there("c"));
    let import: &[&str] = &["import", root, "busybox"];
    let run: &[&str] = &["run", "--name", "c", "busybox", "/bin/busybox", "cp", "/bin/busybox", "/copy"];
    let registry = Registry::start(&RegistryOptions::default());
    let remote = registry.as_ref().map(|registry| format!("{}/full:1", registry.host()));
    let pull = remote.as_ref().map(|remote| {
        other.ok(["tag", "x", remote]);
        other.ok(["push", remote]);
        ["pull", remote.as_str()]
    });
    let cases: [(&[&[&str]], &[&str]); 6] = [
        (&[], import),
        (&[], &["load", "-i", &plain]),
        (&[], &["load", "-i", &packed]),
        (&[import], &["build", "-q", "-t", "y", &context]),
        (&[import], &["save", "-o", "store/x.tar", "busybox"]),
        (&[import, run], &["commit", "c", "z"]),
    ];
    let pulled = pull.as_ref().map(|pull| (&[][..], &pull[..]));
    let mut failed = 0;
    let room = (50..5200).step_by(367).map(|kilobytes| format!("size={kilobytes}k"));
    // a file system can be full of files, too
    let files = (30..900).step_by(73).map(|files| format!("size=20m,nr_inodes={files}"));
    for options in room.chain(files) {
        for (before, words) in cases.into_iter().chain(pulled) {
            let here = Workspace::new(RBUILD);
            let Some(_store) = Mounted::new(here.store().to_owned(), &options) else { return };
            if before.iter().all(|words| here.run(*words).code == 0) {
                let ran = here.run(words);
                if ran.code != 0 {
                    is_the_machine_s(&ran, "no space left");
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 60, "the disk was full {failed} times only");
}
