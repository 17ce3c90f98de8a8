//! Hostile archives: as something to ADD, as a root to import, as layers of an image, and around an image.

use super::{Arena, attack};
use rbuild_testkit::has_program;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// The archives of `hostile_archives.py`; `None`, said by name, where there is no Python.
fn archives(arena: &Arena, test: &str) -> Option<Vec<PathBuf>> {
    if !has_program("python3", test) {
        return None;
    }
    let directory = arena.here.path().join("c");
    fs::create_dir_all(&directory).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/security/hostile_archives.py");
    let made = Command::new("python3").arg(script).args([&directory, &arena.bait()]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let found = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        found.filter(|path| path.extension().is_some_and(|end| end == "tar")).collect();
    found.sort();
    assert!(found.len() > 25, "{found:?}");
    Some(found)
}

fn name_of(archive: &Path) -> &str {
    archive.file_name().unwrap().to_str().unwrap()
}

const LOOK: &str = "find / -xdev -type f \\( -name reached -o -name h -o -name k -o -name l -o -name m \\) -exec cat {} +; \
    cat /h /k /l /l/secret /a/l/secret /etc/passwd; true";

#[test]
fn an_added_archive_stays_in_its_place() {
    let test = "an_added_archive_stays_in_its_place";
    attack(test, |arena| {
        for archive in archives(arena, test).unwrap_or_default() {
            for place in ["/", "/l/"] {
                let name = name_of(&archive);
                arena.build(&format!(
                    "FROM busybox\nRUN mkdir /a; ln -s {} /l\nADD {name} {place}\nRUN {LOOK}\n",
                    arena.bait().display()
                ));
            }
        }
    });
}

#[test]
fn an_imported_archive_stays_in_its_place() {
    let test = "an_imported_archive_stays_in_its_place";
    attack(test, |arena| {
        for archive in archives(arena, test).unwrap_or_default() {
            let ran = arena.run(&["import", archive.to_str().unwrap(), "hostile:1"]);
            if ran.code != 0 {
                assert!(ran.stderr.contains("rror"), "{ran:#?}");
                continue;
            }
            arena.build(&format!(
                "FROM hostile:1\nCOPY --from=busybox /bin /bin\nCOPY file /l/reached\nRUN {LOOK}\n"
            ));
            arena.build(&format!("FROM busybox\nCOPY --from=hostile:1 / /\nRUN {LOOK}\n"));
        }
    });
}

#[test]
fn layers_of_a_loaded_image_stay_in_their_place() {
    let test = "layers_of_a_loaded_image_stay_in_their_place";
    attack(test, |arena| {
        for archive in archives(arena, test).unwrap_or_default() {
            // below a layer in which the same names are links already, and above it
            let digest = Command::new("sha256sum").arg(&archive).output().unwrap();
            let digest = String::from_utf8_lossy(&digest.stdout).split(' ').next().unwrap().to_owned();
            let root = arena.here.path().join("image");
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(root.join("l")).unwrap();
            fs::copy(&archive, root.join("l/layer.tar")).unwrap();
            let config = format!(
                r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}","sha256:{digest}"]}}}}"#
            );
            fs::write(root.join("config.json"), config).unwrap();
            let manifest = r#"[{"Config":"config.json","RepoTags":["hostile:2"],"Layers":["l/layer.tar","l/layer.tar"]}]"#;
            fs::write(root.join("manifest.json"), manifest).unwrap();
            let whole = arena.here.path().join("image.tar");
            let packed =
                Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&whole).arg(".").status().unwrap();
            assert!(packed.success());
            let ran = arena.run(&["load", "-i", whole.to_str().unwrap()]);
            if ran.code == 0 {
                arena.build(&format!("FROM hostile:2\nCOPY --from=busybox /bin /bin\nRUN {LOOK}\n"));
                arena.build(&format!("FROM busybox\nCOPY --from=hostile:2 / /\nRUN {LOOK}\n"));
            }
        }
    });
}

#[test]
fn an_image_archive_names_no_file_of_the_host() {
    // CVE-2024-3727 and its like: names and digests that are paths
    attack("an_image_archive_names_no_file_of_the_host", |arena| {
        let bait = arena.bait();
        let secret = bait.join("secret").display().to_string();
        let up = format!("{}{}", "../".repeat(20), &secret[1..]);
        let zeros = "0".repeat(64);
        let docker = |config: &str, layer: &str| {
            format!(r#"[{{"Config":"{config}","RepoTags":["x:1"],"Layers":["{layer}"]}}]"#)
        };
        let mut files: Vec<(&str, String)> = Vec::new();
        for path in [secret.as_str(), up.as_str(), "link", "folder/secret", "/proc/self/environ"] {
            files.push(("manifest.json", docker(path, path)));
            files.push(("manifest.json", docker("config.json", path)));
        }
        for digest in [
            "sha256:../../../../bait/secret",
            "sha256:",
            "../../bait/secret",
            "sha256:zz",
            "md5:x",
            &format!("sha256:{zeros}/../../x"),
        ] {
            files.push(("index.json", format!(
                r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":18,"annotations":{{"org.opencontainers.image.ref.name":"x:1"}}}}]}}"#
            )));
        }
        for (name, text) in files {
            let root = arena.here.path().join("image");
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(root.join("blobs/sha256")).unwrap();
            fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
            fs::write(
                root.join("config.json"),
                format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["sha256:{zeros}"]}}}}"#),
            )
            .unwrap();
            symlink(&secret, root.join("link")).unwrap();
            symlink(&bait, root.join("folder")).unwrap();
            symlink(&secret, root.join("blobs/sha256").join(&zeros)).unwrap();
            fs::write(root.join(name), &text).unwrap();
            let whole = arena.here.path().join("image.tar");
            assert!(
                Command::new("tar")
                    .arg("-C")
                    .arg(&root)
                    .arg("-cf")
                    .arg(&whole)
                    .arg(".")
                    .status()
                    .unwrap()
                    .success()
            );
            let ran = arena.run(&["load", "-i", whole.to_str().unwrap()]);
            assert_ne!(ran.code, 0, "{:?}: {text}", arena.who);
            // the layout as a directory, where a link could be followed
            let named = format!("base=oci-layout://{}", root.display());
            let context = arena.here.context("c", "FROM base\nCOPY file /\n", &[("file", "")]);
            let ran = arena.run(&["build", "--build-context", &named, context.to_str().unwrap()]);
            assert_ne!(ran.code, 0, "{:?}: {text}", arena.who);
        }
    });
}

#[test]
fn documents_of_an_archive_are_bounded() {
    // CVE-2023-25153: a document of an image was read into memory whatever its size
    attack("documents_of_an_archive_are_bounded", |arena| {
        for name in ["manifest.json", "index.json"] {
            let root = arena.here.path().join("image");
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(&root).unwrap();
            fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
            fs::write(
                root.join("manifest.json"),
                r#"[{"Config":"config.json","RepoTags":["x:1"],"Layers":[]}]"#,
            )
            .unwrap();
            let big = fs::File::create(root.join(name)).unwrap();
            big.set_len(128 << 20).unwrap();
            let whole = arena.here.path().join("image.tar.gz");
            let pack = format!("tar -C '{}' -cf - . | gzip -1 > '{}'", root.display(), whole.display());
            assert!(Command::new("sh").args(["-c", &pack]).status().unwrap().success());
            let begun = Instant::now();
            let ran = arena.here.run(["load", "-i", whole.to_str().unwrap()]);
            arena.assert_safe(&ran, name);
            assert!(ran.code > 0 && ran.code < 100, "{:?}: {name}: {ran:#?}", arena.who);
            assert!(begun.elapsed().as_secs() < 60, "{:?}: {name}", arena.who);
        }
    });
}
