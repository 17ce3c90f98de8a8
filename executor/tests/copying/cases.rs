//! Every rule of copying, on real layers and real overlay views: `testdata/copy/<case>/{case.txt,expected.txt}`.
//!
//! A case describes layers, a context, perhaps another stage, and instructions; expected is what each instruction's
//! layer holds and what the stack then looks like, or the error. `UPDATE_EXPECT=1` rewrites what is expected.

use crate::fixture::{NOW, build, print};
use rbuild_cache::{Cancel, LayerDraft, LayerId, LayerMeta, LayerSource, Lease, Store, Writer};
use rbuild_executor::{
    ContextRoot, ExecutorError, IgnoreRules, Overlays, Snapshots, SourceRoot, copy, select, workdir,
};
use rbuild_oci::Clock;
use rbuild_oci::{ImagePath, Timestamp};
use rbuild_planner::{Chmod, CopyAction, CopySource, Filesystem, GitDirectory, Unpack, WorkdirAction};
use rbuild_testkit::now;
use std::{
    fs,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

#[test]
fn cases() {
    check(Overlays::Writable, str::to_owned);
}

/// Where overlayfs is refused, each name in a root is a file of its own; all else is the same.
#[test]
fn cases_on_copies() {
    check(Overlays::Refused, |text| {
        let of_line = |line: &str| {
            let is_view = line.starts_with("  sees: ");
            let names =
                line.split(", ").map(|name| if is_view { name.split(" = ").next().unwrap() } else { name });
            names.collect::<Vec<_>>().join(", ") + "\n"
        };
        text.lines().map(of_line).collect()
    });
}

fn check(overlays: Overlays, comparable: fn(&str) -> String) {
    if !rbuild_testkit::has_root() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/copy");
    let mut folders: Vec<PathBuf> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut failed = Vec::new();
    for folder in &folders {
        let found = run(&fs::read_to_string(folder.join("case.txt")).unwrap(), overlays);
        let expected = folder.join("expected.txt");
        if update() && overlays == Overlays::Writable {
            fs::write(expected, found).unwrap();
        } else if comparable(&fs::read_to_string(expected).unwrap_or_default()) != comparable(&found) {
            failed.push(format!("== {}\n{found}", folder.display()));
        }
    }
    assert!(failed.is_empty(), "{} of {} differ:\n{}", failed.len(), folders.len(), failed.join("\n"));
}

#[expect(clippy::disallowed_methods, reason = "how snapshots are rewritten")]
fn update() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some()
}

/// A store and a stack of layers that grows.
struct Bench {
    store: Store,
    lease: Lease,
    snapshots: Snapshots,
    layers: Vec<LayerId>,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new(overlays: Overlays) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), &Writer::Root, Clock::new(now)).unwrap();
        let lease = store.lease().unwrap();
        let snapshots = Snapshots::with(&store, overlays);
        Self { store, lease, snapshots, layers: Vec::new(), directory }
    }

    fn commit(&self, draft: LayerDraft) -> LayerId {
        let meta = || LayerMeta::new(Timestamp::from_seconds(0).unwrap(), LayerSource::Own);
        let counted = draft.measured(meta());
        let draft = draft.counted(None);
        assert_eq!(counted, draft.measured(meta()), "what was counted is what a walk finds");
        draft.commit(&self.lease, &meta()).unwrap()
    }

    fn layer(&self, lines: &[&str]) -> LayerId {
        let draft = self.store.new_layer().unwrap();
        build(draft.fs(), lines);
        self.commit(draft)
    }
}

fn run(case: &str, overlays: Overlays) -> String {
    let mut bench = Bench::new(overlays);
    let context = bench.directory.path().join("context");
    fs::create_dir(&context).unwrap();
    let (mut ignore, mut stage, mut out) = (String::new(), Vec::new(), String::new());
    for section in case.split("--- ").skip(1) {
        let (kind, body) = section.split_once('\n').unwrap_or((section, ""));
        let lines: Vec<&str> =
            body.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        match kind.trim() {
            "layer" => bench.layers.push(bench.layer(&lines)),
            "stage" => stage.push(bench.layer(&lines)),
            "context" => build(&context, &lines),
            "ignore" => ignore = lines.join("\n"),
            "run" => {
                for line in lines {
                    out += &format!("{line}\n");
                    match instruction(&bench, line, (&context, &ignore), &stage) {
                        Ok(draft) => {
                            out += &print(draft.fs());
                            let layer = bench.commit(draft);
                            bench.layers.push(layer);
                            out += &seen(&bench);
                        }
                        Err(error) => out += &format!("  error: {error}\n"),
                    }
                }
            }
            other => panic!("what is {other}?"),
        }
    }
    out
}

/// What the whole stack shows.
fn seen(bench: &Bench) -> String {
    let view = bench.snapshots.view(&bench.layers).unwrap();
    let tree = print(Path::new(&format!("/proc/self/fd/{}", view.fd().as_raw_fd())));
    let names = tree.lines().map(|line| line.trim_start().split(" @").nth(1).unwrap_or_default());
    let names: Vec<&str> = names.map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest)).collect();
    format!("  sees: {}\n", names.join(", "))
}

fn instruction(
    bench: &Bench,
    line: &str,
    (context, ignore): (&Path, &str),
    stage: &[LayerId],
) -> Result<LayerDraft, ExecutorError> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let mut words = line.split_whitespace().peekable();
    let name = words.next().unwrap();
    let flags: Vec<&str> = std::iter::from_fn(|| words.next_if(|word| word.starts_with("--"))).collect();
    let rest: Vec<&str> = words.collect();
    if name == "WORKDIR" {
        let user = flags.iter().find_map(|flag| flag.strip_prefix("--user=")).unwrap_or_default().to_owned();
        let action = WorkdirAction { path: rest[0].parse().unwrap(), user };
        return workdir(&bench.snapshots, &action, &bench.layers, now);
    }
    let action = action(name, &flags, &rest);
    let source = match action.from {
        Filesystem::Scratch => SourceRoot::Layers(bench.snapshots.view(stage)?),
        _ => {
            let rules = IgnoreRules::parse_file(ignore.as_bytes())?;
            SourceRoot::Context(ContextRoot::open(&bench.store, context, rules, rbuild_testkit::now())?)
        }
    };
    let selection = select(&source, &action, &Cancel::default())?;
    assert_eq!(
        selection.digest,
        select(&source, &action, &Cancel::default())?.digest,
        "{line}: the digest is not stable"
    );
    copy(&bench.snapshots, &action, &selection, &bench.layers, now)
}

fn action(name: &str, flags: &[&str], words: &[&str]) -> CopyAction {
    let (destination, sources) = words.split_last().unwrap();
    let value = |flag: &str| {
        flags.iter().find_map(|word| word.strip_prefix(flag)?.strip_prefix('=')).map(str::to_owned)
    };
    let source = |word: &&str| match word.strip_prefix("<<") {
        Some(name) => CopySource::Inline { name: name.to_owned(), content: b"inline\n".to_vec() },
        None => CopySource::Path((*word).to_owned()),
    };
    let chmod = value("--chmod").map(|text| match u32::from_str_radix(&text, 8) {
        Ok(mode) => Chmod::Octal(mode),
        Err(_) => Chmod::Symbolic(text),
    });
    let path: ImagePath = destination.parse().unwrap();
    CopyAction {
        from: if flags.contains(&"--from=stage") { Filesystem::Scratch } else { Filesystem::Context },
        sources: sources.iter().map(source).collect(),
        destination_is_directory: destination.ends_with('/') || destination.ends_with("/."),
        destination: path,
        chown: value("--chown"),
        chmod,
        link: flags.contains(&"--link"),
        parents: flags.contains(&"--parents"),
        exclude: flags.iter().filter_map(|flag| flag.strip_prefix("--exclude=")).map(str::to_owned).collect(),
        unpack: match (name, flags.contains(&"--unpack=false")) {
            ("ADD", false) => Unpack::Local,
            _ => Unpack::Never,
        },
        checksum: None,
        git_directory: GitDirectory::Removed,
    }
}
