//! What a step's key contains (the Dockerfile specification, 10.2): each change that must be seen, with the input that is
//! named, and each that must not.

use super::world::{World, remove_if_there};
use crate::{ChangedInput, MissReason, Outlook};
use rbuild_planner::{Network, NoCache};
use rbuild_testkit::now;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    time::Duration,
};

/// The effect that a change must have on the last step.
enum Expected {
    Hit,
    /// It is run, because these inputs changed.
    Miss(&'static [&'static str]),
}
use Expected::{Hit, Miss};

struct Case {
    name: &'static str,
    dockerfile: &'static str,
    change: fn(&mut World),
    expected: Expected,
}

fn case(name: &'static str, dockerfile: &'static str, change: fn(&mut World), expected: Expected) -> Case {
    Case { name, dockerfile, change, expected }
}

const COPY: &str = "FROM scratch\nCOPY f /x/\n";
const TREE: &str = "FROM scratch\nCOPY d /x/\n";
const RUN: &str = "FROM scratch\nRUN make it\n";

fn files(world: &World) {
    world.write(".dockerignore", "*.ign\n");
    world.write("f", "f");
    world.write("elsewhere/f", "f");
    world.write("d/a", "a");
    world.write("d/sub/b", "b");
    symlink("a", world.path("d/link")).unwrap();
    fs::set_permissions(world.path("f"), fs::Permissions::from_mode(0o644)).unwrap();
    // longer than a tick of the file system's clock: what a test changes next has other times
    std::thread::sleep(Duration::from_millis(30));
}

fn touch(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(now() + Duration::from_secs(5)).unwrap();
}

#[rustfmt::skip]
fn copies() -> Vec<Case> {
    vec![
        case("nothing", COPY, |_| {}, Hit),
        case("touch a file", COPY, |w| touch(&w.path("f")), Hit),
        case("edit a file", COPY, |w| w.write("f", "g"), Miss(&["/f"])),
        case("chmod a file", COPY, |w| fs::set_permissions(w.path("f"), fs::Permissions::from_mode(0o755)).unwrap(), Miss(&["/f"])),
        case("rename a file", COPY, |w| { fs::rename(w.path("f"), w.path("f9")).unwrap(); w.edit("COPY f", "COPY f9"); }, Miss(&["/f", "/f9"])),
        case("move a file", COPY, |w| w.edit("COPY f", "COPY elsewhere/f"), Hit),
        case("a slash after a directory", TREE, |w| w.edit("COPY d ", "COPY d/ "), Hit),
        case("rename a directory in it", TREE, |w| fs::rename(w.path("d/sub"), w.path("d/bus")).unwrap(), Miss(&["/d/bus/b", "/d/sub/b"])),
        case("add an empty directory", TREE, |w| fs::create_dir(w.path("d/empty")).unwrap(), Miss(&["/d/empty"])),
        case("add an ignored file", "FROM scratch\nCOPY . /x/\n", |w| w.write("x.ign", ""), Hit),
        case("add a file that no pattern covers", TREE, |w| w.write("d/x.ign", ""), Miss(&["/d/x.ign"])),
        case("retarget a link", TREE, |w| { fs::remove_file(w.path("d/link")).unwrap(); symlink("sub/b", w.path("d/link")).unwrap(); }, Miss(&["/d/link"])),
        case("add a hard link", TREE, |w| fs::hard_link(w.path("d/a"), w.path("d/again")).unwrap(), Miss(&["/d/again"])),
        case("another destination", COPY, |w| w.edit("/x/", "/y/"), Miss(&["destination"])),
        case("--chown", COPY, |w| w.edit("COPY", "COPY --chown=1:1"), Miss(&["chown"])),
        case("--chmod", COPY, |w| w.edit("COPY", "COPY --chmod=600"), Miss(&["chmod"])),
        case("--link", COPY, |w| w.edit("COPY", "COPY --link"), Miss(&["flag[1]"])),
        case("--exclude", TREE, |w| w.edit("COPY", "COPY --exclude=b"), Miss(&["exclude[0]"])),
        case("a file of the whole context for a mount", "FROM scratch\nRUN --mount=target=/m make it\n", |w| w.write("new", ""), Miss(&["mount /m: /new"])),
        case("a file beside a mounted one", "FROM scratch\nRUN --mount=source=f,target=/m make it\n", |w| w.write("new", ""), Hit),
        case("a mounted file", "FROM scratch\nRUN --mount=source=f,target=/m make it\n", |w| w.write("f", "g"), Miss(&["mount /m: /f"])),
    ]
}

#[rustfmt::skip]
fn runs() -> Vec<Case> {
    vec![
        case("nothing", RUN, |_| {}, Hit),
        case("another command", RUN, |w| w.edit("make it", "make all"), Miss(&["argv[2]"])),
        case("an extra blank", RUN, |w| w.edit("make it", "make  it"), Miss(&["argv[2]"])),
        case("a comment behind it", RUN, |w| w.edit("make it", "make it # all of it"), Miss(&["argv[2]"])),
        case("a label before it", RUN, |w| w.edit("RUN", "LABEL a=b\nRUN"), Hit),
        case("a CMD before it", RUN, |w| w.edit("RUN", "CMD [\"x\"]\nRUN"), Hit),
        case("an unused argument before it", RUN, |w| w.edit("RUN", "ARG A=1\nRUN"), Miss(&["env A"])),
        case("a variable instead of an argument", "FROM scratch\nARG A=1\nRUN make it\n", |w| w.edit("ARG", "ENV"), Hit),
        case("a variable's value", "FROM scratch\nENV A=1\nRUN make it\n", |w| w.edit("A=1", "A=2"), Miss(&["env A"])),
        case("a user", RUN, |w| w.edit("RUN", "USER 0\nRUN"), Miss(&["user"])),
        case("--network=default", RUN, |w| w.edit("RUN", "RUN --network=default"), Hit),
        case("the network of the host", RUN, |w| w.request.network = Network::Host, Miss(&["network"])),
        case("no network", RUN, |w| w.request.network = Network::None, Miss(&["network"])),
        case("another host", RUN, |w| w.request.names.add_hosts = vec![("a".into(), "1.1.1.1".into()), ("b".into(), "1.1.1.1".into())], Miss(&["host[1]"])),
        case("another address", RUN, |w| w.request.names.add_hosts = vec![("a".into(), "2.2.2.2".into())], Hit),
        case("/dev/shm", RUN, |w| w.request.shm_size = Some(1 << 20), Miss(&["shm-size"])),
        case("a proxy", RUN, |w| w.request.build_args.push(("http_proxy".into(), "http://p".into())), Hit),
        case("a cache mount's id", "FROM scratch\nRUN --mount=type=cache,id=a,target=/c make it\n", |w| w.edit("id=a", "id=b"), Hit),
        case("a mount", RUN, |w| w.edit("RUN", "RUN --mount=type=tmpfs,target=/t"), Miss(&["mount /t"])),
        case("a working directory", "FROM scratch\nWORKDIR /a\n", |w| w.edit("/a", "/b"), Miss(&["path"])),
        case("an epoch for a working directory", "FROM scratch\nWORKDIR /a\n", |w| w.request.build_args.push(("SOURCE_DATE_EPOCH".into(), "1".into())), Miss(&["epoch"])),
        case("the stage's name", "FROM scratch AS a\nRUN make it\n", |w| w.edit("AS a", "AS b"), Hit),
    ]
}

fn check(case: &Case) {
    let mut world = World::new(case.dockerfile);
    files(&world);
    world.request.names.add_hosts = vec![("a".into(), "1.1.1.1".into())];
    world.build();
    assert_eq!(world.last(), (Outlook::Cached, None), "{}: before the change", case.name);
    (case.change)(&mut world);
    let (outlook, reason) = world.last();
    match (&case.expected, reason) {
        (Hit, None) => assert_eq!(outlook, Outlook::Cached, "{}", case.name),
        (Miss(inputs), Some(MissReason::Changed(changes))) => {
            let changed: Vec<&str> = changes.iter().map(|change| change.input.as_str()).collect();
            assert_eq!(changed, *inputs, "{}: {changes:?}", case.name);
            assert_eq!(outlook, Outlook::Run, "{}", case.name);
        }
        (_, reason) => panic!("{}: {outlook:?}, {reason:?}", case.name),
    }
    // and a build does so
    let executed = world.build().pop().flatten() == Some(crate::build::results::Origin::Executed);
    assert_eq!(executed, matches!(case.expected, Miss(_)), "{}", case.name);
}

#[test]
fn what_is_copied_is_seen() {
    copies().iter().for_each(check);
}

#[test]
fn what_is_run_is_seen() {
    runs().iter().for_each(check);
}

#[test]
fn a_change_has_its_old_and_its_new_value() {
    let world = World::new(RUN);
    assert_eq!(world.last(), (Outlook::Run, Some(MissReason::New)));
    world.build();
    world.edit("make it", "make all");
    let change = ChangedInput {
        input: "argv[2]".to_owned(),
        before: Some("make it".to_owned()),
        now: Some("make all".to_owned()),
        aspects: Vec::new(),
    };
    assert_eq!(world.last().1, Some(MissReason::Changed(vec![change])));
    world.edit("RUN make all", "RUN make it\nWORKDIR /new");
    assert_eq!(world.last().1, Some(MissReason::New), "an earlier build had nothing like it");
}

/// A step that comes first is compared with the one it replaces, not with those that are still there.
#[test]
fn the_most_similar_step_is_named() {
    let world = World::new("FROM scratch\nRUN a b\nRUN c d\n");
    world.build();
    world.edit("RUN c d", "RUN c e");
    let Some(MissReason::Changed(changes)) = world.last().1 else { panic!("{:?}", world.last()) };
    assert_eq!(changes[0].before.as_deref(), Some("c d"));
}

const STAGES: &str = "FROM scratch AS base\nRUN a random\nFROM base AS build\nRUN b\nFROM scratch\nCOPY --from=build /out /x/\n";

#[test]
fn reasons_that_are_no_change() {
    let mut world = World::new(STAGES);
    assert_eq!(world.plan()[1], (Outlook::Run, Some(MissReason::Input)), "its parent has to be run");
    world.build();
    world.request.no_cache = NoCache::Stages(vec!["base".to_owned()]);
    let plan = world.plan();
    assert_eq!(plan[0], (Outlook::Run, Some(MissReason::NoCache)));
    assert_eq!(plan[1], (Outlook::Maybe, Some(MissReason::Input)));
    world.request.target = Some("base".to_owned());
    world.build();
    (world.request.target, world.request.no_cache) = (Some("build".to_owned()), NoCache::None);
    assert_eq!(
        world.plan()[1],
        (Outlook::Run, Some(MissReason::OtherBase)),
        "its parent has other files now"
    );
    world.build();
    assert_eq!(world.plan()[1].0, Outlook::Cached);
    // the layer of the last step is gone
    let layers = world.store().root().join("layers");
    remove_if_there(&layers);
    fs::create_dir(&layers).unwrap();
    assert_eq!(world.plan()[0], (Outlook::Run, Some(MissReason::Lost)));
}

#[test]
fn of_a_base_its_content_is_seen_and_not_its_name() {
    let world = World::new("FROM one\nRUN make it\n");
    world.image("one", "a");
    world.build();
    world.image("two", "a");
    world.image("three", "b");
    assert_eq!(world.last(), (Outlook::Cached, None));
    world.edit("FROM one", "FROM two");
    assert_eq!(world.last(), (Outlook::Cached, None), "the same image by another name");
    world.edit("FROM two", "FROM three");
    let (outlook, reason) = world.last();
    let Some(MissReason::Changed(changes)) = reason else { panic!("{reason:?}") };
    assert_eq!((outlook, changes.len(), changes[0].input.as_str()), (Outlook::Run, 1, "base"));
    assert!(changes[0].before.is_some() && changes[0].before != changes[0].now, "{changes:?}");
    assert_eq!(world.build().pop().flatten(), Some(crate::build::results::Origin::Executed));
}

#[test]
fn what_was_pruned_says_so() {
    let world = World::new(RUN);
    world.build();
    let options = rbuild_cache::PruneOptions {
        records: rbuild_cache::RecordPrune::All,
        ..rbuild_cache::PruneOptions::default()
    };
    world.store().prune(&options).unwrap();
    assert!(matches!(world.last(), (Outlook::Run, Some(MissReason::Evicted { .. }))), "{:?}", world.last());
}

/// The same COPY onto a parent that was built again with other files: its record stands on other layers and proves nothing.
#[test]
fn a_record_made_on_other_parent_layers_is_no_hit() {
    let mut world = World::new(
        "FROM scratch AS files\nRUN make\nFROM scratch AS base\nRUN a random\nFROM base\nCOPY --from=files /out /x/\n",
    );
    world.build();
    (world.request.target, world.request.no_cache) =
        (Some("base".to_owned()), NoCache::Stages(vec!["base".to_owned()]));
    world.build();
    (world.request.target, world.request.no_cache) = (None, NoCache::None);
    assert_eq!(world.last(), (Outlook::Run, Some(MissReason::OtherBase)));
    assert_eq!(world.build().pop().flatten(), Some(crate::build::results::Origin::Executed));
}
