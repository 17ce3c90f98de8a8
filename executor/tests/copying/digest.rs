//! What makes a selection's digest change and what does not (`spec` §10.2, the observed hits and misses), with the stat
//! index in between: every change is seen by a context opened again on the same store.

use rbuild_cache::{Cancel, Store, Writer};
use rbuild_executor::{ContextRoot, FileList, IgnoreRules, SourceRoot, select};
use rbuild_oci::Clock;
use rbuild_oci::Digest;
use rbuild_planner::{CopyAction, CopySource, Filesystem};
use rbuild_testkit::now;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

struct Context {
    directory: tempfile::TempDir,
    store: Store,
}

impl Context {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), &Writer::Root, Clock::new(now)).unwrap();
        let this = Self { directory, store };
        fs::create_dir_all(this.path("d/sub")).unwrap();
        fs::write(this.path("f"), "f").unwrap();
        fs::write(this.path("d/x.ign"), "x").unwrap();
        fs::write(this.path("d/sub/g"), "g").unwrap();
        symlink("f", this.path("d/l")).unwrap();
        // another one than the umask may give
        fs::set_permissions(this.path("f"), fs::Permissions::from_mode(0o644)).unwrap();
        // longer than a tick of the file system's clock: what a test changes next has other times
        std::thread::sleep(Duration::from_millis(30));
        this
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("context").join(path)
    }

    fn digest(&self, sources: &[&str]) -> Digest {
        let path = self.directory.path().join("context");
        let rules = IgnoreRules::from_patterns(&["*.ign"]).unwrap();
        // a clock that runs ahead lets the index trust files that were just written
        let now = now() + Duration::from_secs(10);
        let root = SourceRoot::Context(ContextRoot::open(&self.store, &path, rules, now).unwrap());
        select(&root, &action(sources), &Cancel::default()).unwrap().digest
    }
}

fn action(sources: &[&str]) -> CopyAction {
    CopyAction::plain(
        Filesystem::Context,
        sources.iter().map(|source| CopySource::Path((*source).to_owned())).collect(),
        "/x".parse().unwrap(),
    )
}

/// True if `change` leaves the digest of `sources` alone.
fn hits(sources: &[&str], change: impl Fn(&Context)) -> bool {
    let context = Context::new();
    let before = context.digest(sources);
    change(&context);
    before == context.digest(sources)
}

fn touch(path: &Path) {
    fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
}

#[test]
fn hits_of_the_specification() {
    assert!(hits(&["f"], |context| touch(&context.path("f"))));
    assert!(hits(&["d"], |context| touch(&context.path("d/sub/g"))));
    assert!(hits(&["."], |context| fs::write(context.path("new.ign"), "").unwrap()));
    assert!(hits(&["f"], |context| fs::write(context.path("other"), "").unwrap()));
    let context = Context::new();
    assert_eq!(context.digest(&["d"]), context.digest(&["d/"]));
    fs::create_dir(context.path("moved")).unwrap();
    fs::copy(context.path("f"), context.path("moved/f")).unwrap();
    assert_eq!(context.digest(&["f"]), context.digest(&["moved/f"]));
}

#[test]
fn misses_of_the_specification() {
    let chmod = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!hits(&["f"], |context| chmod(&context.path("f"))));
    assert!(!hits(&["f"], |context| fs::write(context.path("f"), "F").unwrap()));
    assert!(!hits(&["."], |context| fs::write(context.path("d/sub/g"), "G").unwrap()));
    assert!(!hits(&["d"], |context| fs::create_dir(context.path("d/empty")).unwrap()));
    assert!(
        !hits(&["d"], |context| fs::write(context.path("d/y.ign"), "").unwrap()),
        "*.ign is top level only"
    );
    assert!(!hits(&["d"], |context| {
        fs::remove_file(context.path("d/l")).unwrap();
        symlink("g", context.path("d/l")).unwrap();
    }));
    assert!(!hits(&["d"], |context| fs::hard_link(context.path("d/sub/g"), context.path("d/h")).unwrap()));
    assert!(!hits(&["d"], |context| fs::rename(context.path("d/sub/g"), context.path("d/sub/h")).unwrap()));
    assert!(!hits(&["d"], |context| {
        fs::remove_file(context.path("d/sub/g")).unwrap();
        fs::create_dir(context.path("d/sub/g")).unwrap();
    }));
    let context = Context::new();
    fs::copy(context.path("f"), context.path("f9")).unwrap();
    assert_ne!(context.digest(&["f"]), context.digest(&["f9"]), "renaming");
    assert_ne!(context.digest(&["f", "f9"]), context.digest(&["f9", "f"]), "order");
}

#[test]
fn the_stat_index_hides_no_change() {
    let context = Context::new();
    let before = context.digest(&["."]);
    // same length, and times set back: the change can only be seen by reading
    let meta = fs::metadata(context.path("f")).unwrap();
    let index = fs::read_dir(context.store.root().join("contexts")).unwrap().count();
    assert_eq!(index, 1, "the index was saved");
    assert_eq!(before, context.digest(&["."]));
    fs::write(context.path("f"), "F").unwrap();
    fs::File::options()
        .write(true)
        .open(context.path("f"))
        .unwrap()
        .set_modified(meta.modified().unwrap())
        .unwrap();
    assert_ne!(before, context.digest(&["."]), "ctime tells");
}

#[test]
fn a_list_of_files_names_what_changed() {
    let context = Context::new();
    let list = || {
        let path = context.directory.path().join("context");
        let root = ContextRoot::open(&context.store, &path, IgnoreRules::none(), now()).unwrap();
        let selection = select(&SourceRoot::Context(root), &action(&["."]), &Cancel::default()).unwrap();
        FileList::parse(&FileList::of(&selection).to_bytes()).unwrap()
    };
    let before = list();
    assert_eq!(before.changes_to(&list()), []);
    fs::write(context.path("d/sub/g"), "other").unwrap();
    fs::set_permissions(context.path("d/sub"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(context.path("d/new"), "").unwrap();
    let changes = before.changes_to(&list());
    let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["/d/new", "/d/sub", "/d/sub/g"]);
    assert_eq!((changes[0].before, changes[1].now.unwrap().mode), (None, 0o700));
    let [before, now] = [changes[2].before, changes[2].now].map(Option::unwrap);
    assert_ne!(before.content, now.content);
    assert_eq!((before.kind, before.mode, before.owner), (now.kind, now.mode, now.owner));
}
