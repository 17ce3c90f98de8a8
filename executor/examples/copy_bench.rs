//! Times selecting and copying a directory: `copy_bench CONTEXT STORE [TIMES [ARCHIVE]]`. The first round reads
//! everything, later ones find the stat index; with an archive of the context, it is added instead. Compare with `cp -r`
//! and `tar -x`. The store is best on an empty file system of its own.

use rbuild_cache::{Cancel, Store, Writer};
use rbuild_executor::{ContextRoot, IgnoreRules, Snapshots, SourceRoot, copy, select};
use rbuild_oci::Clock;
use rbuild_planner::{CopyAction, CopySource, Filesystem, Unpack};
use rbuild_testkit::now;
use std::{
    error::Error,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, context, store, rest @ ..] = arguments.as_slice() else {
        return Err("copy_bench CONTEXT STORE [TIMES [ARCHIVE]]".into());
    };
    let times = rest.first().map_or(Ok(3), |text| text.parse())?;
    let store = Store::open(Path::new(store), &Writer::Root, Clock::new(now))?;
    let action = CopyAction {
        unpack: if rest.get(1).is_some() { Unpack::Local } else { Unpack::Never },
        ..CopyAction::plain(Filesystem::Context, vec![CopySource::Path(".".to_owned())], "/app".parse()?)
    };
    let action = match rest.get(1) {
        Some(archive) => CopyAction { sources: vec![CopySource::Path(archive.clone())], ..action },
        None => action,
    };
    for _ in 0..times {
        let started = Instant::now();
        let root =
            SourceRoot::Context(ContextRoot::open(&store, Path::new(context), IgnoreRules::none(), now())?);
        let opened = started.elapsed();
        let selection = select(&root, &action, &Cancel::default())?;
        let selected = started.elapsed();
        let draft = copy(&Snapshots::new(&store), &action, &selection, &[], now())?;
        let copied = started.elapsed();
        drop(root);
        let saved = started.elapsed();
        tell(&[
            ("open", opened),
            ("select", selected - opened),
            ("copy", copied - selected),
            ("save", saved - copied),
        ])?;
        drop(draft);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "it shows nothing but its own times")]
fn tell(times: &[(&str, Duration)]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for (what, time) in times {
        write!(out, "{what} {:.1} ms  ", time.as_secs_f64() * 1e3)?;
    }
    writeln!(out)
}
