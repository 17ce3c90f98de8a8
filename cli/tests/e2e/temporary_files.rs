//! What rbuild writes on the way to a file: nobody can foresee its name, and a killed rbuild leaves nothing.

use crate::{ordinary_user, with_busybox};
use rbuild_testkit::{
    Base, REGISTRY_PASSWORD, REGISTRY_USER, Registry, RegistryLogin, RegistryOptions, Workspace,
};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

fn entries(directory: &Path) -> BTreeSet<OsString> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// Runs `arguments` in a process of which it is known under which name the first rbuild would have written `draft`, and
/// with a link to a victim under that name.
fn with_link_planted(here: &Workspace, draft: &str, arguments: &[&str]) {
    let victim = here.write("victim", "precious");
    let command = here.command(arguments);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ln -s {} {draft} && exec \"$0\" \"$@\"", victim.display())]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let status = shell.current_dir(here.path()).stdin(Stdio::null()).output().unwrap().status;
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious", "{arguments:?}: {status}");
}

/// A folder of the user for whom the workspace is.
fn folder(here: &Workspace, name: &str) -> PathBuf {
    let folder = here.path().join(name);
    let owner = fs::metadata(here.path()).unwrap().uid();
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(owner), Some(owner)).unwrap();
    folder
}

fn planted_links_are_not_followed(here: &Workspace) {
    with_link_planted(here, ".x.tar.$$.part", &["save", "-o", "x.tar", "busybox"]);
    assert!(fs::symlink_metadata(here.path().join("x.tar")).unwrap().is_file());
    folder(here, "fresh");
    with_link_planted(here, "fresh/.version.$$", &["--root", "fresh", "images"]);
    let options = RegistryOptions { login: RegistryLogin::Basic, ..RegistryOptions::default() };
    let Some(registry) = Registry::start(&options) else { return };
    let config = folder(here, ".docker").join("config.json");
    let login = ["login", "-u", REGISTRY_USER, "-p", REGISTRY_PASSWORD, registry.host()];
    with_link_planted(here, ".docker/config.json.$$", &login);
    let config = fs::symlink_metadata(config).unwrap();
    assert_eq!((config.is_file(), config.mode() & 0o7777), (true, 0o600));
}

fn links_and_devices_are_refused(here: &Workspace) {
    let victim = here.write("victim", "precious");
    symlink(&victim, here.path().join("link")).unwrap();
    let context = here.context("c", "FROM scratch\nLABEL a=b\n", &[]);
    let said = |arguments: &[&str]| here.fails(arguments).stderr;
    let link = "cannot write to a symbolic link directly";
    assert!(said(&["save", "-o", "link", "busybox"]).contains(link));
    assert!(said(&["build", "--iidfile", "link", context.to_str().unwrap()]).contains(link));
    assert!(said(&["build", "--metadata-file", "link", context.to_str().unwrap()]).contains(link));
    assert!(
        said(&["save", "-o", "/dev/zero", "busybox"]).contains("cannot write to a character device file")
    );
    assert!(said(&["save", "-o", "c", "busybox"]).contains("cannot write to a directory"));
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

fn a_killed_save_leaves_nothing(here: &Workspace) {
    let context = here.context("big", "FROM busybox\nCOPY big /\n", &[("big", "")]);
    fs::File::options().write(true).open(context.join("big")).unwrap().set_len(1 << 30).unwrap();
    here.build("big", &context);
    let out = folder(here, "out");
    here.ok(["save", "-o", "out/big.tar", "busybox"]);
    let before = (entries(&out), fs::read(out.join("big.tar")).unwrap());
    let mut save = here.command(["save", "-o", "out/big.tar", "big"]).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !writes_below(save.id(), &out) {
        assert!(begun.elapsed() < Duration::from_secs(60) && save.try_wait().unwrap().is_none());
        thread::sleep(Duration::from_millis(1));
    }
    save.kill().unwrap();
    assert!(!save.wait().unwrap().success(), "it was still saving");
    assert_eq!(entries(&out), before.0);
    assert!(fs::read(out.join("big.tar")).unwrap() == before.1, "the old file is whole");
}

/// True if the process has a file in `directory` open that holds something.
fn writes_below(process: u32, directory: &Path) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    open.flatten().any(|entry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(directory))
            && fs::metadata(entry.path()).is_ok_and(|file| file.is_file() && file.len() > 0)
    })
}

/// Starts rbuild, kills it when something matching `unfinished` is below `tmp/<owner>/`, and returns its space.
fn kill_with_leftovers(here: &Workspace, mut command: Command, unfinished: &str) -> OsString {
    let spaces = here.store().join("tmp");
    let before = entries(&spaces);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // until it is killed, whoever reads from it waits
    let _input = process.stdin.take().inspect(|mut input| {
        use std::io::Write;
        let archive = fs::read(here.path().join("busybox.tar")).unwrap();
        input.write_all(&archive[..archive.len() / 2]).unwrap();
    });
    let begun = Instant::now();
    let space = loop {
        let new = entries(&spaces).into_iter().find(|space| !before.contains(space));
        let found = |space: &OsString| {
            let pattern = spaces.join(space).join(unfinished);
            let found = Command::new("sh").args(["-c", &format!("ls -d {}", pattern.display())]).output();
            found.unwrap().status.success()
        };
        if let Some(space) = new.filter(found) {
            break space;
        }
        assert!(begun.elapsed() < Duration::from_secs(60) && process.try_wait().unwrap().is_none());
    };
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(entries(&spaces).contains(&space), "a killed process removes nothing");
    space
}

fn the_next_build_sweeps(here: &Workspace) {
    here.ok(["save", "-o", "busybox.tar", "busybox"]);
    let run = here.context("run", "FROM busybox\nRUN touch /made; sleep 1000\n", &[]);
    // many files and not a long one, which some file systems copy in no time
    let copy = here.context("copy", "FROM busybox\nCOPY many /many\n", &[("many/0", "")]);
    for number in 1..20_000 {
        fs::write(copy.join(format!("many/{number}")), "").unwrap();
    }
    let small = here.context("small", "FROM busybox\nRUN true\n", &[]);
    let build = |context: &Path| here.command(["build".as_ref(), context.as_os_str()]);
    let mut load = here.command(["load"]);
    load.stdin(Stdio::piped());
    // another build that is alive all the time
    let mut alive = build(&here.context("alive", "FROM busybox\nRUN sleep 1001\n", &[]));
    let mut alive = alive.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let spaces = here.store().join("tmp");
    let begun = Instant::now();
    while entries(&spaces).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(5));
    }
    let living = entries(&spaces);
    for (killed, unfinished) in [(build(&run), "*/*/made"), (build(&copy), "layer-*/fs/many"), (load, "*")] {
        let left = kill_with_leftovers(here, killed, unfinished);
        here.ok(["history", "busybox"]);
        assert!(entries(&spaces).contains(&left), "a command that only reads does not clean up");
        here.ok(["build", "--no-cache", small.to_str().unwrap()]);
        assert_eq!(entries(&spaces), living, "after {unfinished}");
    }
    alive.kill().unwrap();
    alive.wait().unwrap();
}

/// The checks, in a workspace of root and in one of an ordinary user.
fn check(test: &str, check: fn(&Workspace)) {
    if let Some(here) = with_busybox(test) {
        check(&here);
    }
    if let Some(here) = ordinary_user::workspace(test) {
        here.import(Base::Busybox);
        check(&here);
    }
}

#[test]
fn links_planted_under_temporary_names_are_not_followed() {
    check("links_planted_under_temporary_names_are_not_followed", planted_links_are_not_followed);
}

#[test]
fn files_are_not_written_through_links_or_to_devices() {
    check("files_are_not_written_through_links_or_to_devices", links_and_devices_are_refused);
}

#[test]
fn a_save_that_is_killed_leaves_the_old_file_and_nothing_else() {
    check("a_save_that_is_killed_leaves_the_old_file_and_nothing_else", a_killed_save_leaves_nothing);
}

#[test]
fn what_a_killed_command_left_goes_with_the_next_build() {
    check("what_a_killed_command_left_goes_with_the_next_build", the_next_build_sweeps);
}
