//! `build --output`, `--push`, and what is left of outputs that cannot be made.

use crate::{RBUILD, ordinary_user, with_busybox};
use rbuild_testkit::{
    Base, REGISTRY_PASSWORD, REGISTRY_USER, Registry, RegistryLogin, RegistryOptions, Workspace, has_program,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const DOCKERFILE: &str = "FROM busybox AS low\nRUN mkdir /d /gone && echo 1 > /d/1 && ln /d/1 /d/2 && ln -s /etc/passwd /d/3 && chown 5:6 /d/1 && chmod 4750 /d/1 && mkfifo /d/p\nFROM low\nRUN rm -r /gone && chmod 700 /d\n";

fn json(text: &[u8]) -> serde_json::Value {
    serde_json::from_slice(text).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Kind, mode, owner, links and time of everything below `root` but directories' times, in the order of the names.
fn tree(root: &Path) -> String {
    let format = "%P %y %m %U:%G %n %l %Ts\n";
    let listed = run("find", &[root.to_str().unwrap(), "-mindepth", "1", "-printf", format]);
    let mut lines: Vec<&str> = listed.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn files_leave_as_a_directory_or_a_tar() {
    let Some(here) = with_busybox("files_leave_as_a_directory_or_a_tar") else { return };
    let context = here.context("c", DOCKERFILE, &[]);
    let build = |output: &str| here.ok(["build", "-q", "-o", output, context.to_str().unwrap()]);
    assert_eq!(build("out"), "");
    let root = here.path().join("out");
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o700, "the destination is its maker's");
    let file = fs::metadata(root.join("d/1")).unwrap();
    // as with docker, the files are those of the user who exports them
    assert_eq!((file.mode() & 0o7777, file.uid(), file.gid(), file.nlink()), (0o4750, 0, 0, 2));
    assert_eq!(fs::metadata(root.join("d")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_link(root.join("d/3")).unwrap(), Path::new("/etc/passwd"));
    assert!(!root.join("gone").exists() && !root.join(".dockerenv").exists());

    build("type=tar,dest=out.tar");
    let tar = here.path().join("out.tar");
    let unpacked = here.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    run("tar", &["-xpf", tar.to_str().unwrap(), "-C", unpacked.to_str().unwrap(), "--no-same-owner"]);
    assert_eq!(tree(&unpacked), tree(&root));
    let streamed = here.command(["build", "-q", "-o", "-", context.to_str().unwrap()]).output().unwrap();
    assert!(streamed.stdout == fs::read(&tar).unwrap(), "standard output has the same bytes");

    // nothing is hashed and no image is left
    assert_eq!(here.ok(["images", "-q"]).lines().count(), 1);
    let layers = fs::read_dir(here.store().join("layers")).unwrap();
    let known = layers.filter(|layer| {
        let meta = fs::read(layer.as_ref().unwrap().path().join("meta.json")).unwrap();
        json(&meta)["diff_id"].is_string()
    });
    assert_eq!(known.count(), 1, "but for the base image");
}

#[test]
fn a_directory_is_filled_again_and_never_left_through_links() {
    let test = "a_directory_is_filled_again_and_never_left_through_links";
    let Some(here) = with_busybox(test) else { return };
    let context = here.context("c", DOCKERFILE, &[]);
    let context = context.to_str().unwrap();
    let (out, outside) = (here.path().join("out"), here.path().join("outside"));
    fs::create_dir_all(out.join("etc")).unwrap();
    fs::create_dir_all(out.join("d/1")).unwrap();
    fs::write(out.join("d/1/in-the-way"), "x").unwrap();
    fs::write(out.join("mine"), "x").unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("passwd"), "untouched").unwrap();
    symlink(outside.join("passwd"), out.join("etc/passwd")).unwrap();
    symlink(&outside, out.join("bin")).unwrap();
    here.ok(["build", "-o", "out", context]);
    assert_eq!(fs::read_to_string(outside.join("passwd")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was written through the link");
    assert!(out.join("bin/sh").exists() && out.join("mine").exists());
    assert!(out.join("d/1").is_file());
    let first = tree(&out);
    here.ok(["build", "-o", "out", context]);
    assert_eq!(tree(&out), first);
    here.ok(["build", "-o", "type=local,dest=out,mode=delete", context]);
    assert!(!out.join("mine").exists() && out.join("d/1").is_file());
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("mine"), "x").unwrap();
    let output = format!("type=local,dest={},mode=delete", elsewhere.path().display());
    let refused = here.fails(["build", "-o", &output, context]);
    assert!(refused.stderr.contains("add --allow buildx.local.delete"), "{refused:?}");
    assert!(elsewhere.path().join("mine").exists());
    here.ok(["build", "-o", &output, "--allow", "buildx.local.delete", context]);
    assert!(!elsewhere.path().join("mine").exists() && elsewhere.path().join("d/1").exists());
}

#[test]
fn an_ordinary_user_owns_what_he_exports() {
    let Some(here) = ordinary_user::workspace("an_ordinary_user_owns_what_he_exports") else { return };
    here.import(Base::Busybox);
    let context = here.context("c", DOCKERFILE, &[]);
    here.ok(["build", "-o", "out", context.to_str().unwrap()]);
    let owners = run("find", &[here.path().join("out").to_str().unwrap(), "-printf", "%U:%G\n"]);
    let user = fs::metadata(here.path()).unwrap().uid();
    assert!(owners.lines().all(|owner| owner == format!("{user}:{user}")), "{owners}");
    here.ok(["build", "-o", "type=tar,dest=out.tar", context.to_str().unwrap()]);
    let listed = run("tar", &["--numeric-owner", "-tvf", here.path().join("out.tar").to_str().unwrap()]);
    assert!(listed.lines().any(|line| line.contains(" 5/6 ") && line.contains("d/1")), "{listed}");
}

#[test]
fn archives_are_what_other_tools_read() {
    let test = "archives_are_what_other_tools_read";
    let Some(here) = with_busybox(test) else { return };
    if !has_program("skopeo", test) || !has_program("umoci", test) {
        return;
    }
    let context = here.context("c", DOCKERFILE, &[]);
    let context = context.to_str().unwrap();
    let words = [
        "build",
        "--iidfile",
        "id",
        "--metadata-file",
        "meta",
        "-t",
        "x:1",
        "-t",
        "r.example/y:2",
        "--annotation",
        "who=me",
        "-o",
        "type=oci,dest=oci.tar,compression=zstd",
        "-o",
        "type=docker,dest=docker.tar",
        "-o",
        "type=oci,dest=layout,tar=false",
        "-o",
        "out",
        context,
    ];
    here.ok(words);
    assert_eq!(here.ok(["images", "-q"]).lines().count(), 1, "no image is left in the store");
    let path = |name: &str| here.path().join(name).display().to_string();
    let config = |place: &str| run("skopeo", &["inspect", "--config", "--raw", place]);
    let oci = config(&format!("oci-archive:{}:1", path("oci.tar")));
    assert_eq!(config(&format!("docker-archive:{}:x:1", path("docker.tar"))), oci);
    assert_eq!(config(&format!("oci:{}:2", path("layout"))), oci);
    let manifest = run("skopeo", &["inspect", "--raw", &format!("oci-archive:{}:1", path("oci.tar"))]);
    assert_eq!(json(manifest.as_bytes())["annotations"]["who"], "me");
    assert!(manifest.contains("application/vnd.oci.image.layer.v1.tar+zstd"), "{manifest}");
    run("umoci", &["unpack", "--image", &format!("{}:1", path("layout")), &path("bundle")]);
    assert_eq!(fs::read_to_string(here.path().join("bundle/rootfs/d/2")).unwrap(), "1\n");

    let digest = rbuild::Digest::of(manifest.as_bytes()).to_string();
    assert_eq!(fs::read_to_string(here.path().join("id")).unwrap(), digest, "the store has no image");
    let meta = json(&fs::read(here.path().join("meta")).unwrap());
    assert_eq!(meta["containerimage.digest"], digest);
    assert_eq!(meta["containerimage.descriptor"]["size"], manifest.len());
    let id = rbuild::Digest::of(oci.as_bytes()).to_string();
    assert_eq!(meta["containerimage.config.digest"], id);
    assert_eq!(meta["image.name"], "docker.io/library/x:1,r.example/y:2");
    for archive in ["oci.tar", "docker.tar"] {
        let there = Workspace::new(RBUILD);
        there.ok(["load", "-i", &path(archive)]);
        assert_eq!(there.ok(["images", "-q", "--no-trunc", "x:1"]), format!("{id}\n"), "{archive}");
        assert_eq!(there.ok(["run", "--rm", "r.example/y:2", "cat", "/d/2"]), "1\n");
    }
}

#[test]
fn a_layout_keeps_its_other_images() {
    let test = "a_layout_keeps_its_other_images";
    let Some(here) = with_busybox(test) else { return };
    if !has_program("skopeo", test) {
        return;
    }
    let context = here.context("c", DOCKERFILE, &[]);
    let context = context.to_str().unwrap();
    for tags in [&["x:1", "y:2"][..], &["z:3"], &["x:1"]] {
        let tags = tags.iter().flat_map(|tag| ["-t", tag]);
        let words = ["build", "-o", "type=oci,dest=layout,tar=false"].into_iter().chain(tags);
        here.ok(words.chain([context]));
    }
    // names differ by more than their tags, and builds at once wait for each other
    let builds = (0..4).map(|number| {
        let name = format!("other{number}:1");
        let output = "type=oci,dest=layout,tar=false";
        here.command(["build", "-q", "-o", output, "-t", &name, context]).spawn().unwrap()
    });
    for mut build in builds.collect::<Vec<_>>() {
        assert!(build.wait().unwrap().success());
    }
    let config = |tag: &str| {
        let place = format!("oci:{}:{tag}", here.path().join("layout").display());
        run("skopeo", &["inspect", "--config", "--raw", &place])
    };
    assert!(config("2") == config("3"));
    let index = json(&fs::read(here.path().join("layout/index.json")).unwrap());
    assert_eq!(index["manifests"].as_array().unwrap().len(), 7, "{index}");
    here.ok(["build", "-t", "x:1", "-o", "type=oci,dest=oci.tar", context]);
    let archive = here.path().join("oci.tar");
    let names = run("tar", &["-tvf", archive.to_str().unwrap()]);
    let (modes, sorted): (Vec<&str>, Vec<&str>) =
        names.lines().map(|line| (&line[..10], line.split_whitespace().last().unwrap())).unzip();
    assert!(sorted.is_sorted(), "{names}");
    assert!(sorted.ends_with(&["index.json", "oci-layout"]), "{names}");
    assert!(modes.ends_with(&["-r--r--r--", "-rw-r--r--", "-r--r--r--"]), "{names}");
}

#[test]
fn an_image_is_pushed_as_it_is_built() {
    let Some(here) = with_busybox("an_image_is_pushed_as_it_is_built") else { return };
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let context = here.context("c", DOCKERFILE, &[]);
    let context = context.to_str().unwrap();
    let remote = |name: &str| format!("{}/{name}", registry.host());
    let (one, two) = (remote("x:1"), remote("y:2"));
    here.ok([
        "build",
        "--push",
        "--metadata-file",
        "meta",
        "--iidfile",
        "id",
        "-t",
        &one,
        "-t",
        &two,
        context,
    ]);
    let meta = json(&fs::read(here.path().join("meta")).unwrap());
    let id = here.ok(["images", "-q", "--no-trunc", &one]);
    assert_eq!(fs::read_to_string(here.path().join("id")).unwrap(), id.trim(), "it is in the store");
    let digest = meta["containerimage.digest"].as_str().unwrap().to_owned();
    assert_ne!(digest, id.trim());
    let there = Workspace::new(RBUILD);
    for name in [&one, &two] {
        let pulled = there.ok(["pull", name]);
        assert!(pulled.contains(&digest), "{pulled}");
        assert_eq!(there.ok(["images", "-q", "--no-trunc", name]), id);
    }
    // by its digest alone: the tag is left alone
    let by_digest = format!(
        "type=image,name={},push=true,push-by-digest=true,name-canonical=true,annotation.who=me",
        remote("d")
    );
    here.ok(["build", "-o", &by_digest, "--metadata-file", "meta", context]);
    let meta = json(&fs::read(here.path().join("meta")).unwrap());
    let digest = meta["containerimage.digest"].as_str().unwrap().to_owned();
    let pinned = format!("{}@{digest}", remote("d"));
    there.ok(["pull", &pinned]);
    assert!(there.fails(["pull", &remote("d")]).stderr.contains("not found"));
    assert!(here.ok(["inspect", &pinned]).contains(&digest), "name-canonical");
    // an unchanged image: a look at the manifest of each name, and no upload
    let before = registry.requests().len();
    here.ok(["build", "--push", "-t", &one, context]);
    let requests = &registry.requests()[before..];
    assert!(requests.iter().all(|line| !line.contains("PUT") && !line.contains("PATCH")), "{requests:?}");
}

#[test]
fn the_right_to_push_is_asked_for_before_the_first_step() {
    let test = "the_right_to_push_is_asked_for_before_the_first_step";
    let Some(here) = with_busybox(test) else { return };
    let options = RegistryOptions { login: RegistryLogin::Basic, ..RegistryOptions::default() };
    let Some(registry) = Registry::start(&options) else { return };
    let context = here.context("c", "FROM busybox\nRUN echo the step ran\n", &[]);
    let name = format!("{}/x:1", registry.host());
    let words = ["build", "--push", "-t", &name, context.to_str().unwrap()];
    let refused = here.fails(words);
    assert!(!refused.stderr.contains("the step ran"), "{refused:?}");
    assert!(refused.stderr.contains("rbuild login"), "{refused:?}");
    assert!(!here.ok(["images"]).contains(registry.host()), "and it has no name");
    let login = ["login", "-u", REGISTRY_USER, "-p", REGISTRY_PASSWORD, registry.host()];
    here.ok(login);
    here.ok(words);
    let unnamed = here.fails(["build", "--push", context.to_str().unwrap()]);
    assert!(unnamed.stderr.contains("tag is needed when pushing to registry"), "{unnamed:?}");
}

#[test]
fn a_destination_of_the_wrong_kind_costs_no_build() {
    let Some(here) = with_busybox("a_destination_of_the_wrong_kind_costs_no_build") else { return };
    let context = here.context("c", "FROM busybox\nRUN echo the step ran\n", &[]);
    let context = context.to_str().unwrap();
    here.write("file", "mine");
    fs::create_dir(here.path().join("directory")).unwrap();
    symlink("file", here.path().join("link")).unwrap();
    for (output, message) in [
        ("file", "destination directory file is a file"),
        ("type=oci,dest=file,tar=false", "destination directory file is a file"),
        ("type=tar,dest=directory", "destination file directory is a directory"),
        ("type=oci,dest=directory", "destination file directory is a directory"),
        ("type=tar,dest=link", "cannot write to a symbolic link directly"),
        ("type=tar,dest=no/where", "no such file or directory"),
        ("/proc/nowhere", "/proc/nowhere: no such file or directory"),
        ("type=oci,tar=false,dest=/proc/nowhere", "/proc/nowhere: no such file or directory"),
        ("type=tar,foo=bar", "output type tar has no attribute foo"),
    ] {
        let refused = here.fails(["build", "-o", output, context]);
        assert!(refused.stderr.contains(message), "{output}: {refused:?}");
        assert!(!refused.stderr.contains("the step ran"), "{output}");
    }
    assert_eq!(fs::read_to_string(here.path().join("file")).unwrap(), "mine");
    // one result does not take the place of another
    for words in [
        ["-o", "type=oci,dest=same", "--metadata-file", "./same"],
        ["--iidfile", "same", "--metadata-file", "directory/../same"],
    ] {
        let refused = here.fails(["build"].into_iter().chain(words).chain([context]));
        assert!(refused.stderr.contains("two results are to be written to"), "{words:?}: {refused:?}");
        assert!(!refused.stderr.contains("the step ran") && !here.path().join("same").exists());
    }
    // what is no file is written to where it is
    here.ok(["build", "-o", "type=tar,dest=/dev/null", context]);
    assert!(fs::metadata("/dev/null").unwrap().permissions().mode() & 0o666 == 0o666);
    here.ok(["build", "-o", "type=tar,dest=file", context]);
    assert!(fs::metadata(here.path().join("file")).unwrap().len() > 1 << 20, "a file is replaced");
}

#[test]
fn a_full_disk_leaves_no_half_of_an_output() {
    let Some(here) = with_busybox("a_full_disk_leaves_no_half_of_an_output") else { return };
    let context = here.context("c", "FROM busybox\nRUN true\n", &[]);
    here.build("x", &context);
    let small = here.path().join("small");
    fs::create_dir(&small).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(&small).status();
    if !mounted.is_ok_and(|status| status.success()) {
        rbuild_testkit::skip("no tmpfs can be mounted");
        return;
    }
    let outputs = [
        "type=tar,dest=small/x.tar",
        "type=oci,dest=small/x.tar",
        "type=oci,dest=small/layout,tar=false",
        "type=local,dest=small/out",
    ];
    let ran = outputs.map(|output| here.run(["build", "-o", output, context.to_str().unwrap()]));
    let whole = run("find", &[small.to_str().unwrap(), "-type", "f", "-size", "+256k"]);
    let archive = small.join("x.tar").exists();
    let _ = Command::new("umount").arg("-l").arg(&small).status();
    for ran in ran {
        assert!(ran.code == 3 && ran.stderr.contains("no space left on device"), "{ran:?}");
    }
    assert_eq!((whole.as_str(), archive), ("", false));
}

#[test]
fn an_interrupted_output_has_no_name() {
    let Some(here) = with_busybox("an_interrupted_output_has_no_name") else { return };
    let dockerfile = "FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=256 2>/dev/null\n";
    let context = here.context("c", dockerfile, &[]);
    here.build("x", &context);
    here.write("x.tar", "before");
    let words = ["build", "--progress=plain", "-o", "type=oci,dest=x.tar", context.to_str().unwrap()];
    let mut building = here.command(words).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // the layer is being compressed into the store's temporary space by then
    while !has_scratch(here.store()) && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(2));
    }
    run("kill", &["-INT", &building.id().to_string()]);
    assert!(!building.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(30), "it stops at once");
    assert_eq!(fs::read_to_string(here.path().join("x.tar")).unwrap(), "before");
    let names: Vec<_> = fs::read_dir(here.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with(".rbuild")), "{names:?}");
}

/// True if some process has files of more than a MiB in the store's temporary space.
fn has_scratch(store: &Path) -> bool {
    let found = Command::new("find").arg(store.join("tmp")).args(["-type", "f", "-size", "+1M"]).output();
    !found.unwrap().stdout.is_empty()
}

#[test]
fn an_epoch_makes_the_same_image_anywhere() {
    let test = "an_epoch_makes_the_same_image_anywhere";
    let Some(root) = with_busybox(test) else { return };
    let Some(user) = ordinary_user::workspace(test) else { return };
    // an imported image has the time of the import
    root.ok(["save", "-o", "base.tar", "busybox"]);
    let base = fs::read(root.path().join("base.tar")).unwrap();
    let load = |here: &Workspace| {
        here.write("base.tar", &base);
        here.ok(["load", "-i", "base.tar"]);
    };
    load(&user);
    let dockerfile = "FROM busybox AS a\nRUN mkdir /a && echo 1 > /a/1 && ln /a/1 /a/2 && chown 5:6 /a/1 && date > /dev/null\n\
        FROM busybox\nWORKDIR /w\nCOPY f own/\nCOPY --from=a --chown=7 /a /copied\nRUN rm -r /bin/vi && touch /etc/new && mkdir -p /x/y\nENV A=1\n";
    let outputs = |here: &Workspace, jobs: &str| {
        let context = here.context(&format!("c{jobs}"), dockerfile, &[("f", "content")]);
        let words = [
            "build",
            "--no-cache",
            "--jobs",
            jobs,
            "--metadata-file",
            "meta",
            "-t",
            "x:1",
            "-o",
            "type=oci,dest=x.tar,rewrite-timestamp=true",
            "-o",
            "type=image,rewrite-timestamp=true",
            "-o",
            "type=tar,dest=files.tar",
            context.to_str().unwrap(),
        ];
        let built = here.command(words).env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let meta = json(&fs::read(here.path().join("meta")).unwrap());
        let file = |name: &str| rbuild::Digest::of(&fs::read(here.path().join(name)).unwrap()).to_string();
        let digest = meta["containerimage.digest"].as_str().unwrap().to_owned();
        [digest, file("x.tar"), file("files.tar"), here.ok(["images", "-q", "--no-trunc", "x:1"])]
    };
    let first = outputs(&root, "1");
    assert_eq!(outputs(&root, "2"), first, "again, with two threads");
    let other = Workspace::new(RBUILD);
    load(&other);
    assert_eq!(outputs(&other, "2"), first, "in another store");
    assert_eq!(outputs(&user, "1"), first, "as an ordinary user");
    let youngest = root.ok([
        "run",
        "--rm",
        "x:1",
        "sh",
        "-c",
        "find / -xdev -newermt @1700000000 2>/dev/null; stat -c %Y /etc/new /w/own/f",
    ]);
    let times: Vec<&str> = youngest.lines().rev().take(2).collect();
    assert_eq!(times, ["1700000000", "1700000000"], "{youngest}");
    assert_eq!(root.ok(["run", "--rm", "x:1", "cat", "/copied/2"]), "1\n");
}

#[test]
fn several_platforms_leave_side_by_side() {
    let test = "several_platforms_leave_side_by_side";
    if !rbuild_testkit::is_root(test) || !has_program("skopeo", test) {
        return;
    }
    let here = Workspace::new(RBUILD);
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /f\n";
    let context = here.context("c", dockerfile, &[("amd64", "a"), ("arm64", "b")]);
    let build = |output: &str| {
        let words = ["build", "--platform", "linux/amd64,linux/arm64", "-t", "x:1", "-o", output];
        here.run(words.into_iter().chain([context.to_str().unwrap()]))
    };
    assert_eq!(build("out").code, 0);
    let read = |path: &str| fs::read_to_string(here.path().join(path)).unwrap();
    assert_eq!((read("out/linux_amd64/f").as_str(), read("out/linux_arm64/f").as_str()), ("a", "b"));
    assert_eq!(build("type=tar,dest=x.tar").code, 0);
    let listed = run("tar", &["-tf", here.path().join("x.tar").to_str().unwrap()]);
    assert_eq!(listed, "linux_amd64/\nlinux_amd64/f\nlinux_arm64/\nlinux_arm64/f\n");
    let oci = build("type=oci,dest=x.oci,annotation-index.who=me,annotation.what=part");
    assert_eq!(oci.code, 0, "{oci:?}");
    let archive = format!("oci-archive:{}", here.path().join("x.oci").display());
    let index = json(run("skopeo", &["inspect", "--raw", &archive]).as_bytes());
    assert_eq!(index["annotations"]["who"], "me");
    for (at, arch) in ["amd64", "arm64"].iter().enumerate() {
        assert_eq!(index["manifests"][at]["platform"]["architecture"], *arch);
        let config = run("skopeo", &["inspect", "--override-arch", arch, "--config", &archive]);
        assert_eq!(json(config.as_bytes())["architecture"], *arch);
    }
    let docker = build("type=docker,dest=x.docker");
    let message = "docker exporter does not support exporting manifest lists, use the oci exporter instead";
    assert!(docker.code == 1 && docker.stderr.contains(message), "{docker:?}");
    assert_eq!(here.ok(["images", "-q"]), "", "no image is left in the store");
    let Some(registry) = Registry::start(&RegistryOptions::default()) else { return };
    let name = format!("{}/x:1", registry.host());
    let words =
        ["build", "--platform", "linux/amd64,linux/arm64", "--push", "--metadata-file", "meta", "-t", &name];
    here.ok(words.into_iter().chain([context.to_str().unwrap()]));
    let remote = run("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    let digest = rbuild::Digest::of(remote.as_bytes()).to_string();
    let meta = json(&fs::read(here.path().join("meta")).unwrap());
    assert_eq!(meta["containerimage.digest"], digest);
    assert_eq!(json(remote.as_bytes())["manifests"].as_array().unwrap().len(), 2);
}
