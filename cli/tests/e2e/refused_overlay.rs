//! A store where overlayfs takes no changes: on overlayfs itself, as in a container. Everything works there, and the layers
//! are those of any other store.

use crate::{RBUILD, commit_running::Box, ordinary_user, with_busybox};
use rbuild_testkit::{Base, Workspace};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::PathBuf,
    process::Command,
};

/// An overlay mounted on a workspace's store.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// `None` when the kernel refuses it, as where the workspace is on overlayfs itself.
    pub(crate) fn on(here: &Workspace) -> Option<Self> {
        let owner = fs::metadata(here.path()).unwrap().uid();
        let below = ["lower", "upper", "work"].map(|name| here.path().join(name));
        for directory in below.iter().chain([&here.store().to_owned()]) {
            fs::create_dir_all(directory).unwrap();
            chown(directory, Some(owner), Some(owner)).unwrap();
        }
        let [lower, upper, work] = below.map(|path| path.display().to_string());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options]).arg(here.store());
        mount.status().unwrap().success().then(|| Self(here.store().to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// All times are fixed, so that equal layers have equal digests.
const DOCKERFILE: &str = r#"ARG SOURCE_DATE_EPOCH=1000
FROM busybox AS base
COPY root /
RUN rm /bin/zcat && touch -d @1000 /bin
RUN mkdir -m 1777 /work && cd /work && echo one > a && ln a /a && echo two > b && mkfifo pipe && chmod 4755 a \
 && touch -d @1000 a b pipe .
RUN mv /work /moved && echo three >> /moved/b && touch -d @1000 /moved/b /moved && rm -r /dir && mkdir /dir \
 && touch -d @1000 /dir
FROM base
COPY --from=base /moved /copied/
RUN --mount=type=bind,from=base,target=/mnt,rw echo four > /mnt/moved/a && cat /mnt/moved/a > /seen \
 && test -p /copied/pipe && touch -d @1000 /seen
"#;

fn context(here: &Workspace) -> PathBuf {
    let context = here.context("c", DOCKERFILE, &[("root/etc/hosts", ""), ("root/etc/resolv.conf", "")]);
    for directory in ["dev", "proc", "sys", "dir", "dir/below"] {
        fs::create_dir_all(context.join("root").join(directory)).unwrap();
    }
    let aged = Command::new("find").arg(&context).args(["-exec", "touch", "-d", "@900", "{}", "+"]).status();
    assert!(aged.unwrap().success());
    context
}

fn layers(here: &Workspace, name: &str) -> String {
    here.ok(["inspect", "-f", "{{json .RootFS.Layers}}", name])
}

/// Builds the image of [`DOCKERFILE`], and commits a container of it as `name`. Returns the build's progress.
fn use_it(here: &Workspace, name: &str) -> String {
    let said = here.build("mine", &context(here));
    let second = here.build("mine", &context(here));
    assert_eq!(second.matches(" CACHED").count(), 6, "{second}");
    here.ok(["run", "--name", "changed", "mine", "sh", "-c", "rm /moved/a; echo five > /five"]);
    here.ok(["commit", "changed", name]);
    let shown = here.ok(["run", "--rm", name, "sh", "-c", "cat /five /seen; ls /moved /dir"]);
    assert_eq!(shown, "five\nfour\n/dir:\n\n/moved:\nb\npipe\n");
    said
}

/// The same in a workspace whose store is on overlayfs, and in another one.
fn check(here: &Workspace, elsewhere: &Workspace) {
    let Some(_mounted) = Mounted::on(here) else {
        return rbuild_testkit::skip("an overlay cannot be mounted on the tests' file system");
    };
    for workspace in [here, elsewhere] {
        workspace.import(Base::Busybox);
    }
    let refused = "overlayfs is refused for this store";
    assert_eq!(use_it(here, "here").matches(refused).count(), 1, "it is said once");
    assert!(!use_it(elsewhere, "elsewhere").contains(refused));
    assert_eq!(layers(here, "mine"), layers(elsewhere, "mine"));
    // and each of them reads what the other one has written
    for (from, to, name) in [(here, elsewhere, "here"), (elsewhere, here, "elsewhere")] {
        let archive = from.path().join("image.tar");
        from.ok(["save".as_ref(), "-o".as_ref(), archive.as_os_str(), name.as_ref()]);
        let expected = layers(from, name);
        to.ok(["load".as_ref(), "-i".as_ref(), archive.as_os_str()]);
        assert_eq!(layers(to, name), expected);
        assert_eq!(to.ok(["run", "--rm", name, "ls", "/moved", "/dir"]), "/dir:\n\n/moved:\nb\npipe\n");
    }
    assert!(
        !here.store().join("tmp").exists() || fs::read_dir(here.store().join("tmp")).unwrap().count() == 0
    );
}

#[test]
fn a_store_on_overlayfs_makes_the_same_layers() {
    if let Some(elsewhere) = with_busybox("a_store_on_overlayfs_makes_the_same_layers") {
        check(&Workspace::new(RBUILD), &elsewhere);
    }
}

#[test]
fn a_user_s_store_on_overlayfs_makes_the_same_layers() {
    let test = "a_user_s_store_on_overlayfs_makes_the_same_layers";
    if let (Some(here), Some(elsewhere)) = (ordinary_user::workspace(test), ordinary_user::workspace(test)) {
        check(&here, &elsewhere);
    }
}

#[test]
fn a_running_container_is_committed_where_its_root_is_a_copy() {
    let test = "a_running_container_is_committed_where_its_root_is_a_copy";
    let Some(elsewhere) = with_busybox(test) else { return };
    let here = Workspace::new(RBUILD);
    let Some(_mounted) = Mounted::on(&here) else {
        return rbuild_testkit::skip("an overlay cannot be mounted on the tests' file system");
    };
    here.import(Base::Busybox);
    let script = "mkdir -m 700 /d; echo one > /d/one; ln /d/one /d/two; rm /bin/vi; rm -r /root && mkdir /root; \
        chmod 4755 /bin/busybox; mkfifo /f; touch -d @1000 /d/one /f /d /root /bin /; echo ready; i=0; \
        while :; do mkdir /x; echo $i > /x/$i; i=$((i+1)); rm -r /x; done";
    for workspace in [&here, &elsewhere] {
        let _running = Box::start(workspace, &[], script);
        // it was only read: a second time it is the same
        for name in ["made", "again"] {
            workspace.ok(["commit", "box", name]);
        }
        let changed = workspace.ok(["diff", "box"]);
        assert!(changed.contains("A /d/one\n") && changed.contains("D /bin/vi\n"), "{changed}");
        workspace.ok(["export", "-o", "box.tar", "box"]);
        let exported = Command::new("tar").arg("-tf").arg(workspace.path().join("box.tar")).output().unwrap();
        let exported = String::from_utf8(exported.stdout).unwrap();
        assert!(exported.contains("d/one\n") && !exported.contains("bin/vi\n"), "{exported}");
        for _ in 0..5 {
            workspace.ok(["commit", "--pause=false", "box", "running"]);
        }
    }
    // all are looked at where roots are overlays, which show links as links
    here.ok(["save", "-o", "made.tar", "made", "again", "running"]);
    for name in ["made", "again", "running"] {
        elsewhere.ok(["tag", name, &format!("{name}:overlay")]);
    }
    elsewhere.ok(["load".as_ref(), "-i".as_ref(), here.path().join("made.tar").as_os_str()]);
    // the mounted files lose their names at some time after the start
    let look = "rm -rf /x; find / -xdev | grep -v -e ^/proc -e ^/etc/host -e ^/etc/resolv | sort | xargs stat -c '%n %a %h %s %F'; cat /d/one /d/two";
    let seen = |name: &str| elsewhere.ok(["run", "--rm", name, "sh", "-c", look]);
    for name in ["made", "again", "running"] {
        assert_eq!(seen(name), seen(&format!("{name}:overlay")), "{name}");
    }
    assert!(seen("made").contains("/d/two 644 2 4 ") && !seen("made").contains("/bin/vi "));
}
