//! Layer tars on the real thing: written from directories, applied to layers, made again.

#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use proptest::prelude::*;
use rbuild_cache::{LayerDraft, LayerId, LayerMeta, LayerSource, Lease, Store};
use rbuild_image::{EntryProblem, ImageError, Keep, apply_tar, layer_diff, layer_tar};
use rbuild_oci::{DiffId, Digest, Timestamp};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::SystemTime,
};

struct Fixture {
    _directory: tempfile::TempDir,
    store: Store,
    lease: Lease,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let lease = store.lease().unwrap();
        Self { _directory: directory, store, lease }
    }

    fn apply(&self, tar: &[u8]) -> Result<LayerId, ImageError> {
        self.apply_above(tar, &[])
    }

    fn apply_above(&self, tar: &[u8], lower: &[LayerId]) -> Result<LayerId, ImageError> {
        let applied = apply_tar(&self.store, &self.lease, tar, lower, &Keep::Recipe)?;
        assert_eq!(applied.diff_id, DiffId::from_digest(Digest::of(tar)));
        assert_eq!(applied.tar_size, tar.len() as u64);
        Ok(applied.layer)
    }

    /// A layer whose tar is written from its directory.
    fn own(&self, fill: impl FnOnce(&LayerDraft)) -> LayerId {
        let draft = self.store.new_layer().unwrap();
        fill(&draft);
        let meta = LayerMeta {
            created: Timestamp::from(SystemTime::now()),
            size_bytes: None,
            files: None,
            diff_id: None,
            tar_size: None,
            source: LayerSource::Own,
        };
        draft.commit(&self.lease, &meta).unwrap()
    }

    fn tar(&self, layer: &LayerId) -> Vec<u8> {
        let mut bytes = Vec::new();
        layer_tar(&self.store, layer).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn fs(&self, layer: &LayerId) -> std::path::PathBuf {
        self.store.layer_fs(layer)
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Skips loudly what only root can do.
macro_rules! need_root {
    () => {
        if !is_root() {
            eprintln!("skipped: needs root for owners, devices and trusted attributes");
            return;
        }
    };
}

struct Builder(tar::Builder<Vec<u8>>);

impl Builder {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: tar::EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(tar::EntryType::Regular, name, "", content.as_bytes())
    }

    fn directory(self, name: &str) -> Self {
        self.entry(tar::EntryType::Directory, name, "", b"")
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

#[test]
fn an_empty_layer_has_the_well_known_digest() {
    let fixture = Fixture::new();
    let diff = layer_diff(&fixture.store, &fixture.own(|_| {})).unwrap();
    assert_eq!(
        diff.diff_id.to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
    assert_eq!(diff.tar_size, 1024);
}

#[test]
fn a_hostile_tar_is_refused_by_the_entry_s_name() {
    need_root!();
    use tar::EntryType::{Char, Link, Symlink, XHeader};
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    let long_symlink = |name: &str| Builder::new().entry(Symlink, name, target, b"");
    let cases: Vec<(Vec<u8>, &str, EntryProblem)> = vec![
        (Builder::new().file("/etc/x", "").finish(), "/etc/x", EntryProblem::Absolute),
        (Builder::new().file("a/../../x", "").finish(), "a/../../x", EntryProblem::ParentReference),
        (long_symlink("l").file("l/x", "").finish(), "l", EntryProblem::ThroughLink),
        (long_symlink("l").file("l/d/x", "").finish(), "l/d", EntryProblem::ThroughLink),
        (long_symlink("l").directory("l/d").finish(), "l", EntryProblem::ThroughLink),
        (long_symlink("l").file("l/.wh.x", "").finish(), "l", EntryProblem::ThroughLink),
        (Builder::new().entry(Link, "h", "../../etc/passwd", b"").finish(), "h", EntryProblem::LinkOutside),
        (Builder::new().entry(Link, "h", "/etc/passwd", b"").finish(), "h", EntryProblem::LinkOutside),
        (long_symlink("l").entry(Link, "h", "l/x", b"").finish(), "h", EntryProblem::LinkTargetMissing),
        (Builder::new().entry(Link, "h", "gone", b"").finish(), "h", EntryProblem::LinkTargetMissing),
        (Builder::new().file("f", "").file("f/x", "").finish(), "f", EntryProblem::ParentNotDirectory),
        (Builder::new().file(".wh..wh.plnk", "").finish(), ".wh..wh.plnk", EntryProblem::Reserved),
        (Builder::new().file("a/.wh..", "").finish(), "a/.wh..", EntryProblem::Reserved),
        (Builder::new().entry(Char, "c", "", b"").finish(), "c", EntryProblem::WhiteoutDevice),
    ];
    for (tar, name, problem) in cases {
        let fixture = Fixture::new();
        match fixture.apply(&tar) {
            Err(ImageError::Entry { entry, problem: found }) => {
                assert_eq!((entry.as_str(), found), (name, problem));
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{name} wrote outside");
        assert_eq!(fs::read_dir(fixture.store.root().join("layers")).unwrap().count(), 0);
    }
    for (tar, text) in [
        (b"not a tar at all".repeat(64), "damaged tar: a header has a wrong checksum"),
        (
            Builder::new().file("a", "content").finish()[..600].to_vec(),
            "damaged tar: it ends within an entry",
        ),
        (
            Builder::new().entry(XHeader, "x", "", b"99 path=a\n").finish(),
            "damaged tar: a pax header is malformed",
        ),
        (b"\x1f\x8b\x08 no gzip".to_vec(), "cannot decompress the tar stream"),
    ] {
        assert_eq!(Fixture::new().apply(&tar).unwrap_err().to_string(), text);
    }
}

#[test]
fn whiteouts_and_opaque_directories_become_overlay_marks() {
    need_root!();
    let fixture = Fixture::new();
    let tar = Builder::new()
        .directory("d/")
        .file("d/.wh..wh..opq", "")
        .file("d/new", "x")
        .file(".wh.gone", "")
        .file("e/.wh.inner", "")
        .file(".wh.back", "")
        .directory("back/")
        .finish();
    let layer = fixture.apply(&tar).unwrap();
    let fs = fixture.fs(&layer);
    for gone in ["gone", "e/inner"] {
        let stat = fs::symlink_metadata(fs.join(gone)).unwrap();
        assert_eq!((stat.mode() & 0o170_000, stat.rdev()), (0o020_000, 0), "{gone}");
    }
    let opaque = |path: &str| {
        let mut value = [0; 4];
        rustix::fs::lgetxattr(fs.join(path), "trusted.overlay.opaque", &mut value)
            .map(|n| value[..n].to_vec())
    };
    assert_eq!(opaque("d").unwrap(), b"y");
    // a directory that replaces one of a lower layer hides it
    assert_eq!(opaque("back").unwrap(), b"y");
    assert!(opaque("e").is_err());
    assert_eq!(fixture.tar(&layer), tar);
}

#[test]
fn implied_directories_look_like_the_lower_ones() {
    need_root!();
    let fixture = Fixture::new();
    let base = fixture.own(|draft| {
        let path = draft.fs().join("srv/app");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(draft.fs().join("srv"), fs::Permissions::from_mode(0o1711)).unwrap();
        std::os::unix::fs::chown(&path, Some(7), Some(8)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2750)).unwrap();
        fs::set_permissions(draft.fs(), fs::Permissions::from_mode(0o711)).unwrap();
    });
    let tar = Builder::new().file("srv/app/new/x", "1").finish();
    let layer = fixture.apply_above(&tar, &[base]).unwrap();
    let stat = |path: &str| {
        let stat = fs::metadata(fixture.fs(&layer).join(path)).unwrap();
        (stat.mode() & 0o7777, stat.uid(), stat.gid())
    };
    assert_eq!(stat(""), (0o711, 0, 0));
    assert_eq!(stat("srv"), (0o1711, 0, 0));
    assert_eq!(stat("srv/app"), (0o2750, 7, 8));
    assert_eq!(stat("srv/app/new"), (0o755, 0, 0));
    let hidden = fixture.apply_above(&Builder::new().file(".wh.srv", "").finish(), &[base]).unwrap();
    let above = fixture.apply_above(&tar, &[base, hidden]).unwrap();
    assert_eq!(fs::metadata(fixture.fs(&above).join("srv")).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fixture.tar(&layer), tar);
}

#[test]
fn a_name_that_comes_twice_is_made_again_exactly() {
    need_root!();
    let fixture = Fixture::new();
    let tar = Builder::new()
        .file("a", "first")
        .file("a", "second, longer")
        .directory("d/")
        .file("d/x", "in a directory that becomes a file")
        .file("d", "now a file")
        .entry(tar::EntryType::Link, "h", "a", b"")
        .file("h", "own")
        .file("a", "third")
        .finish();
    let with_tail = [&tar[..], &[0; 8192], b"tail"].concat();
    let layer = fixture.apply(&with_tail).unwrap();
    assert_eq!(fixture.tar(&layer), with_tail);
    let read = |path: &str| fs::read_to_string(fixture.fs(&layer).join(path)).unwrap();
    assert_eq!((read("a"), read("d"), read("h")), ("third".into(), "now a file".into(), "own".into()));
}

#[test]
fn a_damaged_layer_is_named() {
    let fixture = Fixture::new();
    let uid = u64::from(fs::metadata(fixture.store.root()).unwrap().uid());
    if uid != 0 {
        return eprintln!("skipped: needs root");
    }
    let layer = fixture.apply(&Builder::new().file("a", "content").finish()).unwrap();
    fs::write(fixture.fs(&layer).join("a"), "CONTENT").unwrap();
    let mut tar = layer_tar(&fixture.store, &layer).unwrap();
    let error = loop {
        match tar.next_chunk() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the damage was not seen"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ImageError::LayerDamaged { layer: named, .. } if named == layer));
}

#[test]
fn tars_of_gnu_tar_are_made_again_exactly() {
    need_root!();
    let from = tempfile::tempdir().unwrap();
    let root = from.path();
    let long = "n".repeat(180);
    fs::create_dir_all(root.join("d").join(&long)).unwrap();
    fs::write(root.join("d").join(&long).join("ü"), "name").unwrap();
    fs::hard_link(root.join("d").join(&long).join("ü"), root.join("link")).unwrap();
    std::os::unix::fs::symlink("t".repeat(150), root.join("symlink")).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"at the end", 5 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"at the start", 0).unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(root.join(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    // cap_net_raw+ep, with a newline among its bytes
    let capability = [1, 0, 0, 2, 0, 0x20, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set("link", "security.capability", &capability);
    for arguments in [
        ["--format=gnu", "--sparse"].as_slice(),
        ["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*"].as_slice(),
        ["--format=pax", "--sparse", "--sparse-version=0.1"].as_slice(),
        ["--format=pax", "--sparse", "--sparse-version=0.0"].as_slice(),
        ["--format=pax", "-z"].as_slice(),
        ["--format=pax", "--zstd"].as_slice(),
        ["--format=pax", "-J"].as_slice(),
    ] {
        let made = std::process::Command::new("tar").args(arguments).arg("-cC").arg(root).arg(".").output();
        let tar = made.unwrap().stdout;
        let fixture = Fixture::new();
        let applied = apply_tar(&fixture.store, &fixture.lease, &*tar, &[], &Keep::Recipe).unwrap();
        assert_eq!(applied.notes, []);
        let fs = fixture.fs(&applied.layer);
        let mut compare = std::process::Command::new("diff");
        compare.args(["-r", "--no-dereference"]).arg(root).arg(&fs);
        assert!(compare.status().unwrap().success(), "{arguments:?}");
        assert!(fs::metadata(fs.join("sparse")).unwrap().blocks() < 1000 || !arguments.contains(&"--sparse"));
        if arguments.contains(&"--xattrs") {
            let mut value = [0; 64];
            let length = rustix::fs::lgetxattr(fs.join("link"), "security.capability", &mut value).unwrap();
            assert_eq!(value[..length], capability);
        }
        let nanoseconds = |path: &Path| fs::symlink_metadata(path).unwrap().mtime_nsec();
        if arguments.contains(&"--format=pax") {
            assert_eq!(nanoseconds(&fs.join("d")), nanoseconds(&root.join("d")));
            assert_eq!(nanoseconds(&fs.join("symlink")), nanoseconds(&root.join("symlink")));
        }
        let again = fixture.tar(&applied.layer);
        assert_eq!(DiffId::from_digest(Digest::of(&again)), applied.diff_id);
    }
}

/// Runs the test below in a user namespace whose ids are 100000 and up.
#[test]
fn layers_are_applied_in_a_user_namespace() {
    need_root!();
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(100_000), Some(100_000)).unwrap();
    let binary = directory.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    // the maps are written from outside, by real root, once the namespace is there
    let script = "echo ready; read go; exec setpriv --reuid=0 --regid=0 --clear-groups \"$@\"";
    let started = std::process::Command::new("unshare")
        .args(["--user", "--keep-caps", "sh", "-c", script, "sh"])
        .arg(&binary)
        .args(["--exact", "--ignored", "in_a_user_namespace"])
        .env("TMPDIR", directory.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(mut child) = started else { return eprintln!("skipped: unshare cannot be run") };
    let mut output = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    if output.read_exact(&mut ready).is_err() {
        return eprintln!("skipped: user namespaces cannot be made here");
    }
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", child.id()), "0 100000 65536").unwrap();
    }
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"go\n").unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by layers_are_applied_in_a_user_namespace"]
fn in_a_user_namespace() {
    let fixture = Fixture::new();
    let device = |builder: Builder, kind| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_path("dev").unwrap();
        header.set_size(0);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        header.set_cksum();
        let mut builder = builder;
        builder.0.append(&header, &b""[..]).unwrap();
        builder
    };
    let tar = Builder::new().directory("d/").file("d/.wh..wh..opq", "").file("d/.wh.gone", "");
    let tar = device(tar, tar::EntryType::Char).finish();
    let applied = apply_tar(&fixture.store, &fixture.lease, &*tar, &[], &Keep::Recipe).unwrap();
    assert_eq!(applied.notes, [rbuild_image::Note::DeviceSkipped { entry: "dev".to_owned() }]);
    let fs = fixture.fs(&applied.layer);
    assert_eq!(fs::symlink_metadata(fs.join("d/gone")).unwrap().rdev(), 0);
    let mut value = [0; 4];
    assert_eq!(rustix::fs::lgetxattr(fs.join("d"), "user.overlay.opaque", &mut value), Ok(1));
    // the device is in the tar all the same
    assert_eq!(fixture.tar(&applied.layer), tar);
    let mut foreign = tar::Header::new_ustar();
    foreign.set_path("foreign").unwrap();
    foreign.set_size(0);
    foreign.set_uid(70_000);
    foreign.set_cksum();
    let error = fixture.apply(&[&foreign.as_bytes()[..], &[0; 1024]].concat()).unwrap_err();
    assert!(matches!(error, ImageError::Owner { uid: 70_000, .. }), "{error}");
}

#[test]
fn without_rights_an_owner_that_cannot_be_set_is_named() {
    need_root!();
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(65_534), Some(65_534)).unwrap();
    let binary = directory.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
    command.args(["--exact", "--ignored", "as_an_ordinary_user"]).env("TMPDIR", directory.path());
    let Ok(output) = command.output() else { return eprintln!("skipped: setpriv cannot be run") };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by without_rights_an_owner_that_cannot_be_set_is_named"]
fn as_an_ordinary_user() {
    let fixture = Fixture::new();
    let error = fixture.apply(&Builder::new().file("etc/passwd", "").finish()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot give layer entry \"etc/passwd\" to 0:0: these ids are not mapped, see `rbuild doctor`"
    );
}

/// What a tree is made of.
#[derive(Clone, Debug)]
enum Node {
    File { content: Vec<u8>, mode: u32, owner: u32 },
    Directory { mode: u32, opaque: bool },
    Symlink(String),
    Whiteout,
    Fifo,
    HardLink(String),
}

fn node() -> impl Strategy<Value = Node> {
    let owner = prop_oneof![Just(0), Just(1000), Just(3_000_000_000u32)];
    prop_oneof![
        4 => (proptest::collection::vec(any::<u8>(), 0..2000), 0u32..0o10000, owner)
            .prop_map(|(content, mode, owner)| Node::File { content, mode, owner }),
        3 => (0u32..0o10000, any::<bool>()).prop_map(|(mode, opaque)| Node::Directory { mode, opaque }),
        1 => "[a-z/.ü]{1,130}".prop_map(Node::Symlink),
        1 => Just(Node::Whiteout),
        1 => Just(Node::Fifo),
        1 => "[a-c]".prop_map(Node::HardLink),
    ]
}

fn tree() -> impl Strategy<Value = BTreeMap<String, Node>> {
    let name = prop_oneof!["[a-c]", "[a-c]/[a-c]", "[a-c]/[a-c]/[a-z]{1,40}ü?", "[a-c]/[x-z]{90,120}"];
    proptest::collection::btree_map(name, node(), 0..20)
}

fn make(root: &Path, tree: &BTreeMap<String, Node>) {
    for (name, node) in tree {
        let path = root.join(name);
        let Some(parent) = path.parent() else { continue };
        if fs::symlink_metadata(parent).map_or_else(|_| fs::create_dir_all(parent).is_err(), |m| !m.is_dir())
        {
            continue;
        }
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let node_of = |kind| {
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::empty(), 0).unwrap();
        };
        match node {
            Node::File { content, mode, owner } => {
                fs::write(&path, content).unwrap();
                std::os::unix::fs::chown(&path, Some(*owner), Some(*owner)).unwrap();
                set(*mode);
            }
            Node::Directory { mode, opaque } => {
                fs::create_dir_all(&path).unwrap();
                set(*mode);
                if *opaque {
                    let flags = rustix::fs::XattrFlags::empty();
                    rustix::fs::setxattr(&path, "trusted.overlay.opaque", b"y", flags).unwrap();
                }
            }
            Node::Symlink(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
            Node::Whiteout => node_of(rustix::fs::FileType::CharacterDevice),
            Node::Fifo => node_of(rustix::fs::FileType::Fifo),
            Node::HardLink(to) => {
                let to = root.join(to);
                if fs::symlink_metadata(&to).is_ok_and(|m| m.is_file()) {
                    fs::hard_link(to, &path).unwrap();
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Applying what was written gives the same tree, which writes the same bytes: by recipe and from the directory.
    #[test]
    fn apply_is_the_inverse_of_write(tree in tree()) {
        if !is_root() {
            return Ok(());
        }
        let fixture = Fixture::new();
        let own = fixture.own(|draft| make(draft.fs(), &tree));
        let tar = fixture.tar(&own);
        prop_assert_eq!(tar.len() % 512, 0);
        let applied = fixture.apply(&tar).unwrap();
        prop_assert!(fixture.tar(&applied) == tar, "the recipe gives other bytes");
        let mut meta = fixture.store.layer_meta(&applied).unwrap();
        meta.source = LayerSource::Own;
        fixture.store.update_layer_meta(&applied, &meta).unwrap();
        prop_assert!(fixture.tar(&applied) == tar, "the applied tree is another");
    }

    /// Whatever stands in the headers, nothing panics, nothing gets out, and what is accepted is made again exactly.
    #[test]
    fn damaged_headers_do_no_harm(
        tree in tree(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), 0usize..345, any::<u8>()), 1..6),
    ) {
        if !is_root() {
            return Ok(());
        }
        let fixture = Fixture::new();
        let mut tar = fixture.tar(&fixture.own(|draft| make(draft.fs(), &tree)));
        for (at, offset, value) in changes {
            let block = at.index(tar.len() / 512) * 512;
            tar[block + offset] = value;
            let mut header = tar::Header::from_byte_slice(&tar[block..block + 512]).clone();
            header.set_cksum();
            tar[block..block + 512].copy_from_slice(header.as_bytes());
        }
        // a header may say that terabytes follow, but they do not
        if let Ok(layer) = fixture.apply(&tar) {
            prop_assert!(fixture.tar(&layer) == tar, "the recipe gives other bytes");
        }
    }
}
