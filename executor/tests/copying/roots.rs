//! One suite over the ways of making a root: what RUN changes is the same layer, and a stack of layers shows the same files,
//! whether overlayfs does it or copies. Overlayfs is the reference; each way runs on the file system of the tests and on
//! btrfs, where copies share blocks.

use crate::fixture::{build, print};
use rbuild_cache::{Cancel, LayerId, LayerMeta, LayerSource, Lease, Store, Writer};
use rbuild_executor::{
    GivenDevices, HostFiles, Isolation, Limits, NameOptions, Networks, Overlays, Privileges, Run, Snapshots,
    StepLimits, run,
};
use rbuild_oci::{Clock, ImagePath, Timestamp};
use rbuild_planner::{Network, RunAction, Security};
use rbuild_testkit::now;
use std::{
    fs,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::Path,
    process::Command,
    sync::OnceLock,
};

/// The layers below: a shell, and what the commands change.
const BASE: [&str; 16] = [
    "dir etc",
    "file etc/passwd text=root:x:0:0:root:/root:/bin/sh",
    "file etc/hosts",
    "file etc/resolv.conf",
    "dir dev",
    "dir proc",
    "dir sys",
    "dir d at=200",
    "file d/old at=210 text=old",
    "dir d/deep 0711 own=5:6 at=220",
    "file d/deep/leaf at=230 text=leaf",
    "file f 4755 own=7:8 at=240 text=content xattr=user.k=v",
    "link to-f to=f at=250",
    "fifo pipe 0622 at=260",
    "file twin at=270 text=twin",
    "hard twin2 to=twin",
];

/// Over the base: what was removed, replaced and hidden there.
const SECOND: [&str; 5] = [
    "dir d at=300",
    "gone d/old",
    "file d/new at=310 text=new",
    "dir hidden 0755 xattr=trusted.overlay.opaque=y",
    "file empty at=320",
];

/// Each command runs on what the one before has left.
const COMMANDS: [&str; 27] = [
    "true",
    "rm d/new",
    "echo more >> f",
    "touch -h -d @400 to-f; touch -d @410 d/deep",
    "chmod 0711 d/deep",
    "chown 9:9 empty",
    "rm -r d; mkdir d; echo again > d/again",
    "rm -r d; echo file > d",
    "rm d; mkdir -p d/a/b; echo 1 > d/a/b/c",
    "mv d e",
    "mkdir -m 0700 e/x; ln e/a/b/c e/x/link; ln -s ../a e/x/soft",
    "rm e/x/link",
    "echo twin > twin",
    "ln twin2 third",
    "rm twin2",
    "mkfifo queue; chmod 0604 queue",
    "dd if=/dev/zero of=sparse bs=1 count=1 seek=8388607 2>/dev/null",
    "echo x | dd of=sparse bs=1 seek=4194304 conv=notrunc 2>/dev/null",
    "chmod 2755 e; chmod 1777 hidden; chmod u+s f",
    "mknod null c 1 3; mknod disk b 8 0",
    "rm null; echo plain > null",
    "rm -r e/a; mkdir e/a; echo b > e/a/b",
    "touch e/gone; rm e/gone",
    "mkdir t; cd t; for i in 1 2 3 4 5 6 7 8 9; do mkdir $i; echo $i > $i/$i; done",
    "rm -r t/1; mv t/2/2 t/3/2; rmdir t/2; echo 4 > t/4/4; chmod 0644 t/5/5",
    "mv t u; rm -r u/9",
    "rm -r u; mkdir u; touch u/1",
];

struct Bench {
    store: Store,
    lease: Lease,
    isolation: Isolation,
    host_files: HostFiles,
    snapshots: Snapshots,
    layers: Vec<LayerId>,
}

impl Bench {
    fn new(root: &Path, overlays: Overlays) -> Self {
        let store = Store::open(root, &Writer::Root, Clock::new(now)).unwrap();
        let mut bench = Self {
            lease: store.lease().unwrap(),
            isolation: Isolation::new(&store),
            host_files: HostFiles::new(&store, NameOptions::default()),
            snapshots: Snapshots::with(&store, overlays),
            layers: Vec::new(),
            store,
        };
        let shell = |path: &Path| {
            fs::create_dir(path.join("bin")).unwrap();
            fs::copy("/bin/busybox", path.join("bin/busybox")).unwrap();
            let bin = path.join("bin");
            let list = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
            for applet in String::from_utf8(list).unwrap().lines().filter(|name| *name != "busybox") {
                std::os::unix::fs::symlink("busybox", bin.join(applet)).unwrap();
            }
        };
        for lines in [&BASE[..], &SECOND[..]] {
            let draft = bench.store.new_layer().unwrap();
            build(draft.fs(), lines);
            if bench.layers.is_empty() {
                shell(draft.fs());
                build(draft.fs(), &["dir hidden", "file hidden/below"]);
            }
            bench.commit(draft);
        }
        bench
    }

    fn commit(&mut self, draft: rbuild_cache::LayerDraft) {
        let meta = LayerMeta::new(Timestamp::from_seconds(0).unwrap(), LayerSource::Own);
        let changes = draft.fs().to_owned();
        let layer = draft.commit(&self.lease, &meta).unwrap();
        self.snapshots.committed(&changes, layer);
        self.layers.push(layer);
    }

    /// Runs a command on all layers so far and commits its layer, which is returned as text.
    fn run(&mut self, command: &str) -> String {
        let action = RunAction {
            devices: Vec::new(),
            argv: ["/bin/sh", "-ec", command].map(str::to_owned).to_vec(),
            shell: "/bin/sh".to_owned(),
            env: rbuild_planner::Env::default(),
            proxy_env: vec!["PATH=/bin".to_owned()],
            cwd: ImagePath::root(),
            user: String::new(),
            network: Network::None,
            security: Security::Sandbox,
            mounts: Vec::new(),
            scripts: Vec::new(),
            hostname: "rbuild".to_owned(),
        };
        let mut output = Vec::new();
        let (limits, used) = (StepLimits::new(Limits::default(), None), OnceLock::new());
        let run_spec = Run {
            snapshots: &self.snapshots,
            isolation: &self.isolation,
            action: &action,
            parent: &self.layers,
            mounts: &[],
            host_files: &self.host_files,
            networks: &Networks::new(&self.isolation, &NameOptions::default()),
            secret_variables: &[],
            shm_size: None,
            emulator: None,
            privileges: &Privileges::default(),
            given: &GivenDevices::default(),
            limits: &limits,
            used: &used,
            cancel: &Cancel::default(),
        };
        let ran = run(&run_spec, &mut |bytes| output.extend_from_slice(bytes));
        let draft =
            ran.unwrap_or_else(|error| panic!("{command}: {error:?}: {}", String::from_utf8_lossy(&output)));
        assert!(used.get().is_some(), "{command}");
        let sparse = draft.fs().join("sparse");
        if let Ok(sparse) = fs::metadata(sparse) {
            assert!(sparse.blocks() * 512 < 1 << 20, "{command}: holes stay holes");
        }
        // overlayfs makes one whiteout and gives it several names
        let whiteout = |line: &str| {
            line.starts_with("  char 0000 ").then(|| line.split(" = ").next().unwrap().to_owned())
        };
        let printed = print(draft.fs());
        let printed = printed.lines().map(|line| whiteout(line).unwrap_or_else(|| line.to_owned()) + "\n");
        let layer = printed.collect::<String>();
        self.commit(draft);
        format!("{command}\n{layer}")
    }
}

/// What `layers` show, but for the shell.
fn seen(snapshots: &Snapshots, layers: &[LayerId]) -> String {
    let view = snapshots.view(layers).unwrap();
    let all = print(Path::new(&format!("/proc/self/fd/{}", view.fd().as_raw_fd())));
    let lines = all.lines().filter(|line| !line.contains(" bin/"));
    // overlayfs counts the names that a file has in its layer; a copy has one name
    lines.map(|line| line.split(" = ").next().unwrap().to_owned() + "\n").collect()
}

/// Layers and views of all commands, a text each.
fn history(root: &Path, overlays: Overlays) -> Vec<String> {
    let mut bench = Bench::new(root, overlays);
    let mut history = vec![seen(&bench.snapshots, &bench.layers)];
    for command in COMMANDS {
        history.push(bench.run(command));
        history.push(seen(&bench.snapshots, &bench.layers));
    }
    // a stack of which no copy is left, of this build and of another one
    let Bench { snapshots, layers, store, .. } = &bench;
    for snapshots in [snapshots, &Snapshots::with(store, overlays)] {
        history.push(seen(snapshots, &layers[..layers.len() / 2]));
    }
    history
}

fn all_ways_agree(directory: &Path) -> Vec<String> {
    let of = |name: &str, overlays| history(&directory.join(name), overlays);
    let reference = of("overlay", Overlays::Writable);
    for (name, overlays) in [("copied-writes", Overlays::ReadOnly), ("copies", Overlays::Refused)] {
        for (expected, found) in reference.iter().zip(of(name, overlays)) {
            assert_eq!(*expected, found, "{name}");
        }
    }
    reference
}

#[test]
fn all_ways_make_the_same_layers_and_show_the_same_files() {
    if !rbuild_testkit::has_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let reference = all_ways_agree(directory.path());
    let layer = |command: &str| reference.iter().find(|text| text.starts_with(command)).unwrap();
    assert!(layer("rm d/new").contains("char 0000 0:0 @LATER d/new"), "{}", layer("rm d/new"));
    let again = layer("rm -r d; mkdir d; echo again");
    assert!(again.contains(" d/ [trusted.overlay.opaque=y]"), "{again}");
    assert!(!reference[0].contains("hidden/below") && !reference[0].contains("d/old"), "{}", reference[0]);
}

#[test]
fn all_ways_agree_on_btrfs() {
    if !rbuild_testkit::has_root() || !rbuild_testkit::has_program("mkfs.btrfs", "all_ways_agree_on_btrfs") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (image, mount) = (directory.path().join("image"), directory.path().join("mount"));
    fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
    fs::create_dir(&mount).unwrap();
    let works = |program: &str, arguments: &[&str], paths: &[&Path]| {
        Command::new(program).args(arguments).args(paths).status().unwrap().success()
    };
    assert!(works("mkfs.btrfs", &["-q"], &[&image]));
    assert!(works("mount", &["-o", "loop"], &[&image, &mount]));
    let agreed = std::panic::catch_unwind(|| all_ways_agree(&mount).len());
    assert!(works("umount", &[], &[&mount]));
    assert!(agreed.is_ok_and(|texts| texts > 0));
}
