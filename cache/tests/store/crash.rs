//! Killed processes, processes side by side, damaged files and full disks.

use crate::fixture::{self, child, parent};
use rbuild_cache::{
    CacheKey, CacheRecord, LayerMeta, LayerSource, Lookup, Miss, PruneOptions, RefRecord, Store, StoreError,
    Warning, Writer,
};
use rbuild_oci::Clock;
use rbuild_oci::{Digest, ImageId, ImageName};
use rbuild_testkit::now;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

fn record(name: &str) -> (CacheKey, CacheRecord) {
    let stack = vec!["fedcba9876543210".parse().unwrap(); 6];
    let (key, record) = fixture::record("0123456789abcdef".parse().unwrap(), &stack, name);
    let inputs = record.inputs.clone().with("env PATH", "/usr/bin:/bin").with("cwd", "/app");
    (key, CacheRecord { inputs, ..record })
}

#[test]
#[ignore = "a part of the test below, run in a child process"]
fn child_without_privilege() {
    let (store, _) = parent();
    let lease = store.lease().unwrap();
    let draft = store.new_layer().unwrap();
    let closed = draft.fs().join("a/closed");
    fs::create_dir_all(closed.join("below")).unwrap();
    fs::write(closed.join("file"), "x").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let path = draft.fs().to_owned();
    drop(draft);
    assert!(!path.exists(), "directories nobody may enter are removed as well");
    store.put_blob(b"x").unwrap();
    store.index(|index| index.put_records(&[record("x")])).unwrap();
    store.sync().unwrap();
    drop(lease);
    assert_eq!(store.prune(&PruneOptions::default()).unwrap().records.len(), 1, "its layer is not there");
    let error = Store::open(Path::new("/root/.rbuild-test"), &Writer::Root, Clock::new(now)).unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    println!("\ndone");
}

#[test]
fn an_ordinary_user_has_a_store_too() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("test");
    // By another process: what this one has open for writing is also open in every child that a test beside this one
    // is just starting, and cannot be executed meanwhile.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    for path in [directory.path(), &home, &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    if std::os::unix::fs::chown(&home, Some(65534), Some(65534)).is_err() {
        println!("SKIPPED: only root can become another user");
        return;
    }
    let mut child = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", "crash::child_without_privilege", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{}\n", home.join("store").display()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("done"),
        "{output:?}"
    );
}

#[test]
#[ignore = "a part of the tests below, run in a child process"]
fn child_that_is_killed() {
    let (store, _) = parent();
    let lease = store.lease().unwrap();
    let draft = store.new_layer().unwrap();
    fs::write(draft.fs().join("half"), vec![7; 100_000]).unwrap();
    let mut blob = store.blob_writer().unwrap();
    blob.write_all(&[8; 100_000]).unwrap();
    let _step = store.try_lock_step(&record("killed").0).unwrap().unwrap();
    lease.hold(&["0123456789abcdef".parse().unwrap()], &[]).unwrap();
    println!("\nready");
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_killed_process_left_is_swept_and_its_locks_are_free() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), &Writer::Root, Clock::new(now)).unwrap();
    let mut child = child("crash::child_that_is_killed", store.root(), "");
    let output = BufReader::new(child.stdout.take().unwrap());
    output.lines().map_while(Result::ok).find(|line| line == "ready").expect("the child has begun");
    assert_eq!(store.sweep().unwrap(), 0, "a living process keeps its space");
    assert!(store.try_lock_step(&record("killed").0).unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(store.try_lock_step(&record("killed").0).unwrap().is_some());
    let report = store.prune(&PruneOptions::default()).unwrap();
    assert!(report.freed_bytes >= 200_000, "{report:?}");
    for empty in ["layers", "blobs/sha256", "locks/leases", "locks/steps"] {
        assert_eq!(fs::read_dir(store.root().join(empty)).unwrap().count(), 0, "{empty}");
    }
}

#[test]
#[ignore = "a part of the tests below, run in a child process"]
fn child_that_writes_records() {
    let (store, word) = parent();
    for n in 0..25 {
        let (key, record) = record(&format!("{word} {n}"));
        store.index(|index| index.put_records(&[(key, record.clone())])).unwrap();
        assert!(store.index(|index| Ok(index.record(&key))).unwrap().is_some());
    }
    assert_eq!(store.take_warnings(), []);
    println!("\ndone");
}

#[test]
fn many_processes_share_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), &Writer::Root, Clock::new(now)).unwrap();
    let children: Vec<Child> =
        (0..4).map(|n| child("crash::child_that_writes_records", store.root(), &n.to_string())).collect();
    for mut child in children {
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        assert!(child.wait().unwrap().success() && output.contains("done"), "{output}");
    }
    assert_eq!(store.index(|index| Ok(index.records().len())).unwrap(), 100);
    assert_eq!(store.take_warnings(), []);
}

#[test]
fn writers_killed_at_any_moment_leave_a_readable_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), &Writer::Root, Clock::new(now)).unwrap();
    let mut resets = 0;
    for n in 0..12u64 {
        let mut child = child("crash::child_that_writes_records", store.root(), &format!("k{n}"));
        std::thread::sleep(std::time::Duration::from_millis(15 + n * 13));
        let _ = child.kill();
        child.wait().unwrap();
        let (key, record) = record(&format!("mine {n}"));
        store.index(|index| index.put_records(&[(key, record.clone())])).unwrap();
        assert!(store.index(|index| Ok(index.record(&key))).unwrap().is_some());
        let warnings = store.take_warnings();
        warnings.iter().for_each(|warning| println!("kill {n}: {warning}"));
        resets += warnings.len();
    }
    println!("index resets after 12 kills: {resets}");
}

#[test]
#[ignore = "a part of the test below, run in a child process"]
fn child_that_writes_many_records() {
    let (store, word) = parent();
    for n in 0.. {
        let some: Vec<_> = (0..200).map(|at| record(&format!("{word} {n} {at}"))).collect();
        store.index(|index| index.put_records(&some)).unwrap();
        println!("\nwritten {n}");
    }
}

#[test]
fn writers_killed_while_they_move_records_lose_none() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), &Writer::Root, Clock::new(now)).unwrap();
    for round in 0..6 {
        let word = format!("k{round}");
        let mut child = child("crash::child_that_writes_many_records", store.root(), &word);
        let output = BufReader::new(child.stdout.take().unwrap());
        let written = output.lines().map_while(Result::ok).filter(|line| line.starts_with("written"));
        // the next one is being written, and every fourth moves what there is into the database
        let last = written.take(3 + round).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let last: usize = last.trim_start_matches("written ").parse().unwrap();
        for n in 0..=last {
            let (key, _) = record(&format!("{word} {n} 199"));
            assert!(store.index(|index| Ok(index.record(&key))).unwrap().is_some(), "{word} {n}");
        }
    }
    assert_eq!(store.take_warnings(), []);
}

#[test]
fn an_unfinished_snapshot_of_a_killed_writer_loses_no_record() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), MANY);
    for left in [&b""[..], b"half a snapshot, not a whole one"] {
        fs::write(store.root().join("index/snap.FFFFFFFFFFFFFFFF.generating"), left).unwrap();
        assert_eq!(store.index(|index| Ok(index.records().len())).unwrap(), MANY);
    }
    assert_eq!(store.take_warnings(), []);
}

/// Records enough for both parts of the index.
const MANY: usize = 1500;

fn filled(root: &Path, count: usize) -> Store {
    let store = Store::open(root, &Writer::Root, Clock::new(now)).unwrap();
    let records: Vec<_> = (0..count).map(|n| record(&n.to_string())).collect();
    for some in records.chunks(500) {
        store.index(|index| index.put_records(some)).unwrap();
    }
    store
}

fn index_files(store: &Store) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(store.root().join("index")).unwrap().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn a_damaged_index_costs_time_only() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(directory.path(), MANY);
    let image =
        RefRecord { image: ImageId::from_digest(Digest::of(b"i")), manifest: None, tagged_at: now().into() };
    store.set_name(&"app".parse().unwrap(), &image).unwrap();
    let pristine: Vec<_> =
        index_files(&store).into_iter().map(|p| (p.clone(), fs::read(p).unwrap())).collect();
    let mut random: u64 = 0x1234_5678_9abc_def1;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let mut resets = 0;
    for round in 0..60 {
        for path in index_files(&store) {
            fs::remove_file(path).unwrap();
        }
        pristine.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        let (path, bytes) = &pristine[next(pristine.len())];
        let mut damaged = bytes.clone();
        if round % 5 == 0 {
            damaged.truncate(next(bytes.len()));
        } else {
            for _ in 0..=next(40) {
                let at = next(damaged.len());
                damaged[at] = next(256) as u8;
            }
        }
        fs::write(path, damaged).unwrap();
        let (key, after) = record("after");
        let all = store.index(|index| Ok(index.records())).unwrap();
        assert!(all.iter().all(|(_, record)| record.instruction.starts_with("RUN ")));
        for n in 0..40 {
            let (key, _) = record(&n.to_string());
            store.index(|index| Ok(index.lookup(&key))).unwrap();
        }
        let written = store.index(|index| index.put_records(&[(key, after.clone())]));
        assert!(matches!(written, Ok(()) | Err(StoreError::IndexDamaged { .. })), "{written:?}");
        store.index(|index| index.put_records(&[(key, after.clone())])).unwrap();
        assert!(store.index(|index| Ok(index.record(&key))).unwrap().is_some());
        let warnings = store.take_warnings();
        assert!(warnings.iter().all(|warning| matches!(warning, Warning::IndexReset { .. })));
        resets += usize::from(!warnings.is_empty());
        assert_eq!(store.reference(&"app".parse().unwrap()).unwrap().unwrap().image, image.image);
    }
    println!("60 damaged indexes: {resets} started anew");
    fs::remove_dir_all(store.root().join("index")).unwrap();
    let lookup = store.index(|index| Ok(index.lookup(&record("1").0))).unwrap();
    assert_eq!(lookup, Lookup::Miss(Miss::NeverBuilt));
}

#[test]
fn a_record_of_an_earlier_boot_counts_only_if_it_was_synced() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), &Writer::Root, Clock::new(now)).unwrap();
    let (early, late) = (record("early"), record("late"));
    store.index(|index| index.put_records(std::slice::from_ref(&early))).unwrap();
    store.sync().unwrap();
    store.index(|index| index.put_records(std::slice::from_ref(&late))).unwrap();
    let both = store.index(|index| Ok((index.lookup(&early.0), index.lookup(&late.0)))).unwrap();
    assert!(matches!(both, (Lookup::Hit(_), Lookup::Hit(_))), "in the running boot both count");
    // another boot: the same kernel cannot be rebooted here, so the child gets another boot id
    let other = directory.path().join("boot_id");
    fs::write(&other, "11111111-2222-3333-4444-555555555555\n").unwrap();
    let script = format!(
        "mount --bind {} /proc/sys/kernel/random/boot_id && exec {} --exact crash::child_after_a_reboot --ignored --nocapture",
        other.display(),
        std::env::current_exe().unwrap().display()
    );
    let mut child = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{}\n", store.root().display()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !stdout.contains("running") {
        println!("SKIPPED: no private mounts here: {}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(output.status.success() && stdout.contains("hit miss"), "{stdout}");
}

#[test]
#[ignore = "a part of the test above, run in a child process"]
fn child_after_a_reboot() {
    let (store, _) = parent();
    let (early, late) = (record("early").0, record("late").0);
    let (early, late) = store.index(|index| Ok((index.lookup(&early), index.lookup(&late)))).unwrap();
    assert!(matches!(early, Lookup::Hit(_)), "{early:?}");
    assert!(matches!(late, Lookup::Miss(Miss::NotDurable(_))), "{late:?}");
    println!("\nrunning: hit miss");
}

#[test]
fn a_full_disk_is_said_and_harms_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "none"]).arg(root).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("SKIPPED: a small tmpfs cannot be mounted here");
        return;
    }
    let result = std::panic::catch_unwind(|| fill_the_disk(root));
    // Lazily: a child that another test is just starting may have inherited a file of it.
    assert!(Command::new("umount").arg("--lazy").arg(root).status().unwrap().success());
    result.unwrap();
}

fn fill_the_disk(root: &Path) {
    let store = filled(root, 100);
    let (key, known) = record("1");
    let image =
        RefRecord { image: ImageId::from_digest(Digest::of(b"i")), manifest: None, tagged_at: now().into() };
    let name: ImageName = "app".parse().unwrap();
    store.set_name(&name, &image).unwrap();
    let lease = store.lease().unwrap();
    let mut writer = store.blob_writer().unwrap();
    let full = std::io::copy(&mut std::io::repeat(1), &mut writer).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

    let said = |error: &StoreError| error.to_string().starts_with("no space left on the store at ");
    let error = store.put_blob(&vec![3; 100_000]).unwrap_err();
    assert!(said(&error), "{error}");
    let changed = RefRecord { image: ImageId::from_digest(Digest::of(b"j")), ..image.clone() };
    let error = store.set_name(&name, &changed).unwrap_err();
    assert!(said(&error), "{error}");
    assert_eq!(store.reference(name.as_reference()).unwrap().unwrap().image, image.image);
    if let Ok(draft) = store.new_layer() {
        let meta = LayerMeta::new(now().into(), LayerSource::Own);
        assert!(draft.commit(&lease, &meta).is_err_and(|error| said(&error)));
    }
    for n in 0..20 {
        let (key, record) = record(&format!("full {n}"));
        match store.index(|index| index.put_records(&[(key, record.clone())])) {
            Ok(()) => {}
            Err(error) => assert!(said(&error), "{error}"),
        }
    }
    drop(writer);
    a_move_needs_room(&store);
    let lookup = store.index(|index| Ok(index.lookup(&key))).unwrap();
    assert_eq!(store.take_warnings(), [], "a full disk is no damage");
    assert!(matches!(&lookup, Lookup::Hit(found) if found.instruction == known.instruction));
    store.set_name(&name, &changed).unwrap();
    assert_eq!(fs::read_dir(root.join("layers")).unwrap().count(), 0);
}

/// Where sled might run out of room, rows stay in the journal.
fn a_move_needs_room(store: &Store) {
    let index = store.root().join("index");
    let filler = store.root().join("tmp/filler");
    let disk = nix::sys::statvfs::statvfs(store.root()).unwrap();
    let free = disk.blocks_available() * disk.fragment_size();
    fs::write(&filler, vec![1; (free - (6 << 20)) as usize]).unwrap();
    let some: Vec<_> = (0..1500).map(|n| record(&format!("much {n}"))).collect();
    for some in some.chunks(100) {
        store.index(|index| index.put_records(some)).unwrap();
    }
    assert!(!index.join("db").exists() && fs::metadata(index.join("journal")).unwrap().len() > 600_000);
    assert!(matches!(store.index(|index| Ok(index.lookup(&some[7].0))).unwrap(), Lookup::Hit(_)));
    fs::remove_file(filler).unwrap();
    store.index(|index| index.put_records(&some[..1])).unwrap();
    assert!(index.join("db").exists(), "with room they are moved");
    assert!(matches!(store.index(|index| Ok(index.lookup(&some[7].0))).unwrap(), Lookup::Hit(_)));
}

#[test]
fn a_failure_of_the_disk_is_told_by_every_later_sync() {
    let directory = tempfile::tempdir().unwrap();
    let (around, disk, root) =
        (directory.path(), directory.path().join("disk"), directory.path().join("store"));
    let done = |program: &str, arguments: &[&str], path: &Path| {
        let status = Command::new(program).args(arguments).arg(path).status();
        status.is_ok_and(|status| status.success())
    };
    if !done("mount", &["-t", "tmpfs", "-o", "size=24m", "none"], around) {
        println!("SKIPPED: a small tmpfs cannot be mounted here");
        return;
    }
    // a disk on a disk that is smaller
    fs::File::create(&disk).unwrap().set_len(256 << 20).unwrap();
    fs::create_dir(&root).unwrap();
    let from = disk.to_str().unwrap();
    let made = done("mkfs.ext4", &["-q", "-F"], &disk) && done("mount", &["-o", "loop", from], &root);
    let result = made.then(|| std::panic::catch_unwind(|| sync_to_a_broken_disk(&root.join("s"))));
    // lazily: a child that another test is just starting may have inherited a file of it
    assert!(!made || done("umount", &["--lazy"], &root));
    assert!(done("umount", &["--lazy"], around));
    match result {
        Some(result) => result.unwrap(),
        None => println!("SKIPPED: a file cannot be mounted as a disk here"),
    }
}

fn sync_to_a_broken_disk(root: &Path) {
    let store = Store::open(root, &Writer::Root, Clock::new(now)).unwrap();
    store.sync().unwrap();
    let draft = store.new_layer().unwrap();
    // the page cache takes it
    fs::write(draft.fs().join("file"), vec![1; 64 << 20]).unwrap();
    store.wrote(64 << 20);
    let failed = |error: StoreError| error.to_string();
    let first = failed(store.sync().unwrap_err());
    // which of them it is depends on who meets it first
    assert!(["cannot sync ", "no space left "].iter().any(|begin| first.starts_with(begin)), "{first}");
    // the kernel tells it once or twice
    for _ in 0..5 {
        assert_eq!(failed(store.clone().sync().unwrap_err()), first);
    }
}

#[test]
fn opening_with_many_records_is_fast() {
    let directory = tempfile::Builder::new().prefix("cache").tempdir_in("/var/tmp").unwrap();
    let begun = Instant::now();
    let store = filled(directory.path(), 20_000);
    println!("writing 20000 records: {:?}", begun.elapsed());
    let keys: Vec<CacheKey> = (0..20).map(|n| record(&n.to_string()).0).collect();
    let median = |operation: &dyn Fn()| {
        let mut times: Vec<_> = (0..15)
            .map(|_| {
                let begun = Instant::now();
                operation();
                begun.elapsed()
            })
            .collect();
        times.sort();
        times[7]
    };
    let found = median(&|| {
        let hits = store.index(|index| Ok(keys.iter().filter_map(|key| index.record(key)).count())).unwrap();
        assert_eq!(hits, 20);
    });
    println!("open, 20 lookups, close: {found:?}");
    println!("open, close: {:?}", median(&|| store.index(|_| Ok(())).unwrap()));
    let written = median(&|| {
        let (key, record) = record(&format!("{:?}", Instant::now()));
        store.index(|index| index.put_records(&[(key, record.clone())])).unwrap();
    });
    println!("open, write 1, close: {written:?}");
    println!(
        "Store::open: {:?}",
        median(&|| drop(Store::open(directory.path(), &Writer::Root, Clock::new(now)).unwrap()))
    );
}
