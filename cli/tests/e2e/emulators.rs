//! Programs of other processors: the emulators that the kernel has for them, with and without the flag `F`, and what is said
//! where one is missing. The kernel's list is the whole machine's, so one test at a time changes it.

use crate::{
    RBUILD, ordinary_user,
    platforms::{document, json, saved},
    refused_overlay::Mounted,
    with_busybox,
};
use rbuild_testkit::{Base, Ran, Workspace};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

const LIST: &str = "/proc/sys/fs/binfmt_misc";

/// The kernel's list of emulators, this test's alone; mounted for as long as this lives where nobody else has mounted it.
struct Registrations {
    /// Debian's line for arm64.
    line: String,
    ours: bool,
    _lock: File,
}

impl Registrations {
    /// `None`, with a reason printed, where the kernel has no such list or there is nothing to register.
    fn open() -> Option<Self> {
        let lock = File::create(std::env::temp_dir().join("rbuild-test-binfmt.lock")).unwrap();
        lock.lock().unwrap();
        let ours = !Path::new(LIST).join("register").exists();
        if ours {
            let mounted = Command::new("mount").args(["-t", "binfmt_misc", "binfmt_misc", LIST]).output();
            if !mounted.unwrap().status.success() {
                rbuild_testkit::skip("this kernel has no binfmt_misc");
                return None;
            }
        }
        let Ok(line) = fs::read_to_string("/usr/lib/binfmt.d/qemu-aarch64.conf") else {
            rbuild_testkit::skip("it needs qemu-user-static");
            return None;
        };
        Some(Self { line, ours, _lock: lock })
    }

    /// Registers an emulator for arm64 under a name of its own, with these flags: Debian's, or another program.
    fn register(&self, interpreter: Option<&Path>, flags: &str) -> Emulator {
        Self::register_line(&self.line, interpreter, flags)
    }

    fn register_line(line: &str, interpreter: Option<&Path>, flags: &str) -> Emulator {
        let name = format!("rbuild-test-{}", std::process::id());
        let mut parts: Vec<&str> = line.trim().split(':').collect();
        let last = parts.len() - 1;
        parts[1] = &name;
        parts[last] = flags;
        if let Some(path) = interpreter {
            parts[last - 1] = path.to_str().unwrap();
        }
        fs::write(Path::new(LIST).join("register"), parts.join(":")).unwrap();
        Emulator(Path::new(LIST).join(name))
    }
}

impl Drop for Registrations {
    fn drop(&mut self) {
        if self.ours {
            // it may be in use by what another test runs, and is no loss if it stays
            let _ = Command::new("umount").arg(LIST).output();
        }
    }
}

/// A registered emulator, until it is dropped.
struct Emulator(PathBuf);

impl Emulator {
    fn switch_off(&self) {
        fs::write(&self.0, "0").unwrap();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, "-1");
    }
}

/// True if the machine has an emulator for arm64 that is not a test's.
fn has_emulator() -> bool {
    let known = fs::read_dir(LIST).unwrap().flatten();
    known.filter_map(|entry| fs::read_to_string(entry.path()).ok()).any(|text| text.contains("0200b700"))
}

/// A context whose Dockerfile begins with busybox for arm64 and these lines.
fn context(here: &Workspace, lines: &str) -> PathBuf {
    let dockerfile = format!("FROM scratch\nCOPY root /\nENV PATH=/bin\n{lines}");
    let context = here.context("c", &dockerfile, &[("root/etc/passwd", "root:x:0:0::/:/bin/sh\n")]);
    let archive = rbuild_testkit::repository().join("target/base/arm64.tar");
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(archive).arg("-C").arg(context.join("root")).args(["./bin", "./usr"]);
    assert!(tar.status().unwrap().success());
    context
}

fn build(here: &Workspace, context: &Path) -> Ran {
    here.run(["build", "--platform", "linux/arm64", "-t", "app", context.to_str().unwrap()])
}

/// The entries of the topmost layer.
fn top_layer(here: &Workspace) -> Vec<String> {
    let layout = saved(here, "app");
    let top = json(&fs::read_to_string(layout.join("index.json")).unwrap());
    let manifest = document(&layout, top["manifests"][0]["digest"].as_str().unwrap());
    let layer = manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap();
    let layer = layout.join("blobs/sha256").join(layer.trim_start_matches("sha256:"));
    let listed = Command::new("tar").arg("-tvf").arg(layer).output().unwrap();
    // with mode and owner, without the time
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}", words[0], words[1], words[5..].join(" "))
    };
    String::from_utf8(listed.stdout).unwrap().lines().map(entry).collect()
}

/// What a step does: it writes, and changes the modes of all directories, also those on the way to the emulator.
const STEP: &str = "RUN [\"busybox\", \"sh\", \"-c\", \"busybox uname -m > /machine; \
    busybox find /usr -type d -exec busybox chmod 0711 {} +; busybox cat /machine\"]\n";

#[test]
fn foreign_programs_run_where_the_kernel_has_an_emulator() {
    let Some(here) = with_busybox("foreign_programs_run") else { return };
    let Some(list) = Registrations::open() else { return };
    let dockerfile = "FROM --platform=$BUILDPLATFORM busybox AS first\nRUN echo done > /first\n\
        FROM scratch\nCOPY --from=first /first /\nARG TARGETARCH\nADD $TARGETARCH.tar /\n\
        RUN [\"/bin/busybox\", \"sh\", \"-c\", \"busybox uname -m > /machine; busybox cat /machine\"]\n";
    let context = here.context("c", dockerfile, &[]);
    for (of, root) in [("amd64", "busybox"), ("arm64", "arm64")] {
        let root = rbuild_testkit::repository().join(format!("target/base/{root}.tar"));
        fs::copy(root, context.join(format!("{of}.tar"))).unwrap();
    }
    let platforms = "linux/amd64,linux/arm64";
    let build = || here.run(["build", "--platform", platforms, "-t", "app", context.to_str().unwrap()]);
    if !has_emulator() {
        let refused = build();
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        assert!(refused.stderr.contains("cannot run programs for linux/arm64: "), "{}", refused.stderr);
        assert!(!refused.stderr.contains("RUN echo done\n"), "nothing has run: {}", refused.stderr);
        let info = here.ok(["info"]);
        assert!(info.contains(" Feature emulators: missing: none is registered"), "{info}");
        // the command it names is one that helps
        let command = refused.stderr.rsplit('`').nth(1).unwrap().to_owned();
        assert!(refused.stderr.contains("qemu-aarch64-static is installed"), "{}", refused.stderr);
        if command.starts_with("cat ") {
            assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
            let registered = Emulator(Path::new(LIST).join("qemu-aarch64"));
            registered.switch_off();
            let refused = build();
            let words = format!("is switched off: `echo 1 > {LIST}/qemu-aarch64` switches it on");
            assert!(refused.stderr.contains(&words), "{}", refused.stderr);
        }
    }
    let emulator = list.register(None, "OPF");
    let told = build();
    let told = format!("{}{}", told.stdout, told.stderr);
    assert!(told.contains(" aarch64\n") && told.contains(" x86_64\n"), "{told}");
    let run = |platform: &str| {
        here.run(["run", "--rm", "--platform", platform, "app", "/bin/busybox", "cat", "/machine"])
    };
    assert_eq!(run("linux/arm64").stdout, "aarch64\n");
    drop(emulator);
    // what is cached needs no emulator, nor does the image for this machine
    let again = build();
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(here.ok(["run", "--rm", "app", "/bin/busybox", "cat", "/machine"]), "x86_64\n");
    let missing = here.run(["run", "--rm", "--pull=never", "--platform", "linux/s390x", "app"]);
    assert_eq!(missing.code, 125);
    let words = "app has no image for linux/s390x: it has linux/amd64, linux/arm64";
    assert!(missing.stderr.contains(words), "{}", missing.stderr);
    if !has_emulator() {
        let refused = run("linux/arm64");
        assert_eq!(refused.code, 125);
        assert!(refused.stderr.contains("cannot run programs for linux/arm64: "), "{}", refused.stderr);
    }
}

/// Steps and containers have an emulator that the kernel opens by its path, and no layer has anything of it.
fn emulator_by_path(here: &Workspace, list: &Registrations) {
    let context = context(here, STEP);
    let emulator = list.register(None, "OPF");
    let fixed = build(here, &context);
    assert!(fixed.stderr.contains(" aarch64\n"), "{}", fixed.stderr);
    let expected = top_layer(here);
    assert!(expected.iter().any(|entry| entry.ends_with(" machine")), "{expected:?}");
    drop(emulator);
    here.ok(["rmi", "-f", "app"]);
    here.ok(["prune", "-a", "-f"]);

    let _emulator = list.register(None, "OP");
    let by_path = build(here, &context);
    assert!(by_path.stderr.contains(" aarch64\n"), "{}", by_path.stderr);
    assert_eq!(top_layer(here), expected);
    // in a container it can be executed and not changed
    let script =
        "busybox uname -m; busybox chmod 0700 /usr/libexec/qemu-binfmt/aarch64-binfmt-P; busybox touch /made";
    let ran = here.run(["run", "--name", "box", "app", "busybox", "sh", "-c", script]);
    assert!(ran.stdout == "aarch64\n" && ran.stderr.contains("Read-only file system"), "{ran:#?}");
    assert!(ran.stderr.contains("does not match the detected host platform"), "{ran:#?}");
    let changes = here.ok(["diff", "box"]);
    assert!(changes.contains("A /made") && !changes.contains("libexec"), "{changes}");
    here.ok(["commit", "box", "app"]);
    let committed = top_layer(here);
    assert!(!committed.iter().any(|entry| entry.contains("libexec")), "{committed:?}");
    // a mount over a directory on the way hides nothing of it
    let mounted = "RUN --mount=type=tmpfs,target=/usr [\"busybox\", \"uname\", \"-m\"]\n";
    let ran = build(here, &self::context(here, mounted));
    assert!(ran.stderr.contains(" aarch64\n"), "{}", ran.stderr);
}

#[test]
fn foreign_programs_run_by_an_emulator_that_containers_lack() {
    let Some(here) = with_busybox("foreign_programs_run") else { return };
    let Some(list) = Registrations::open() else { return };
    emulator_by_path(&here, &list);
}

#[test]
fn foreign_programs_run_with_32_bits() {
    let Some(here) = with_busybox("foreign_programs_run") else { return };
    let Some(_list) = Registrations::open() else { return };
    let archive = rbuild_testkit::repository().join("target/base/armel.tar");
    let Ok(root) = fs::read(archive) else {
        return rbuild_testkit::skip("it needs target/base/armel.tar, and the mirror has no armel");
    };
    let step = "RUN [\"/bin/busybox\", \"uname\", \"-m\"]\nCMD [\"/bin/busybox\", \"uname\", \"-m\"]\n";
    let context = here.context("c", &format!("FROM scratch\nADD armel.tar /\n{step}"), &[]);
    fs::write(context.join("armel.tar"), root).unwrap();
    let line = fs::read_to_string("/usr/lib/binfmt.d/qemu-arm.conf").unwrap();
    for flags in ["OPF", "OP"] {
        let _emulator = Registrations::register_line(&line, None, flags);
        let words = ["build", "--no-cache", "--platform", "linux/arm/v6", "-t", "app"];
        let ran = here.run(words.iter().chain(&[context.to_str().unwrap()]));
        assert!(ran.code == 0 && ran.stderr.contains(" armv"), "{flags}: {ran:#?}");
        // v7 runs what is for v6
        let ran = here.run(["run", "--rm", "--platform", "linux/arm/v7", "app"]);
        assert!(ran.code == 0 && ran.stdout.starts_with("armv"), "{flags}: {ran:#?}");
    }
}

#[test]
fn foreign_programs_run_for_an_ordinary_user() {
    let Some(here) = ordinary_user::workspace("foreign_programs_run") else { return };
    let Some(list) = Registrations::open() else { return };
    here.import(Base::Busybox);
    emulator_by_path(&here, &list);
}

#[test]
fn foreign_programs_run_in_roots_that_are_copies() {
    if !rbuild_testkit::is_root("foreign_programs_run") {
        return;
    }
    let here = Workspace::new(RBUILD);
    let Some(_mounted) = Mounted::on(&here) else { return };
    let Some(list) = Registrations::open() else { return };
    emulator_by_path(&here, &list);
}

#[test]
fn foreign_programs_run_never_by_an_emulator_that_cannot_be_brought() {
    let Some(here) = with_busybox("foreign_programs_run") else { return };
    let Some(list) = Registrations::open() else { return };
    let context = context(&here, STEP);
    // it ends well, whatever it is given, and needs the C library
    let _dynamic = list.register(Some(Path::new("/bin/true")), "");
    let refused = build(&here, &context);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(
        refused.stderr.contains(
            "/bin/true needs libraries, which containers do not have, and was registered without the flag F"
        ),
        "{}",
        refused.stderr
    );
    drop(_dynamic);
    let _gone = list.register(Some(&here.path().join("none")), "");
    let refused = build(&here, &context);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("none: No such file or directory"), "{}", refused.stderr);
}
