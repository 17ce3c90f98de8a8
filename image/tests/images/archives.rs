//! Archives on the real thing: saved and loaded by rbuild, and by others.

use rbuild_cache::{RefRecord, Store, Writer};
use rbuild_image::{
    ArchiveFormat, ArchiveSource, Depth, ImageError, ImageEvent, Import, Layout, Loaded, SaveItem,
    import_tar, load, save, validate,
};
use rbuild_oci::Clock;
use rbuild_oci::{ContainerConfig, Digest, ImageConfig, ImageName, Platform, Timestamp};
use rbuild_testkit::now;
use rbuild_testkit::{has_root, skip};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

pub(crate) struct Fixture {
    directory: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), &Writer::Root, Clock::new(now)).unwrap();
        Self { directory, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An image of two layers, `base` and one above it.
    pub(crate) fn image(&self) -> SaveItem {
        let import = Import {
            config: ContainerConfig { cmd: Some(vec!["/bin/sh".to_owned()]), ..ContainerConfig::default() },
            platform: Platform::host(),
            created: "2024-01-02T03:04:05Z".parse().unwrap(),
            comment: "Imported from -".to_owned(),
        };
        let base = import_tar(
            &self.store,
            &self.store.lease().unwrap(),
            &*tar(&[("bin/sh", "shell"), ("etc/issue", "one")]),
            import,
        )
        .unwrap();
        let json = self.store.blob(base.id.as_digest()).unwrap().unwrap();
        let mut config = ImageConfig::from_json(&json).unwrap();
        let lease = self.store.lease().unwrap();
        let below = [base.layers[0].layer];
        let above = tar(&[("etc/issue", "two"), ("etc/.wh.gone", "")]);
        let keep = rbuild_image::BlobRetention::Recipe;
        let applied = rbuild_image::apply_tar(&self.store, &lease, &*above, &below, &keep).unwrap();
        config.rootfs.diff_ids.push(applied.diff_id);
        config.history.push(rbuild_oci::HistoryEntry { created_by: "COPY".to_owned(), ..Default::default() });
        let layers = [base.layers[0].layer, applied.layer];
        let image =
            rbuild_image::assemble(&self.store, &self.store.lease().unwrap(), &config, &layers).unwrap();
        validate(&self.store, &image, Depth::Content).unwrap();
        SaveItem { image, platforms: Vec::new(), names: vec![name("example.org/app:1"), name("app:latest")] }
    }

    pub(crate) fn save(&self, item: &SaveItem, format: ArchiveFormat) -> PathBuf {
        let path = self.path("saved.tar");
        let mut out = File::create(&path).unwrap();
        save(&self.store, std::slice::from_ref(item), format, &mut out).unwrap();
        path
    }

    pub(crate) fn load(&self, path: &Path) -> Result<Vec<Loaded>, ImageError> {
        load(&self.store, ArchiveSource::File(File::open(path).unwrap()), None, &|_| {})
    }

    pub(crate) fn image_of(&self, loaded: &Loaded) -> rbuild_cache::ImageRecord {
        self.store.image(&loaded.id).unwrap().unwrap()
    }

    pub(crate) fn check(&self, loaded: &[Loaded]) {
        for Loaded { id, names } in loaded {
            let image = &self.store.image(id).unwrap().unwrap();
            validate(&self.store, image, Depth::Content).unwrap();
            for name in names {
                assert_eq!(self.store.reference(name.as_reference()).unwrap().unwrap().image, image.id);
            }
        }
    }
}

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

pub(crate) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} {arguments:?}: {text}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            skip(format_args!("{program} cannot be run: {error}"));
            None
        }
    }
}

macro_rules! need_root {
    () => {
        if !has_root() {
            return;
        }
    };
}

#[test]
fn saving_and_loading_keeps_the_image() {
    need_root!();
    let from = Fixture::new();
    let item = from.image();
    for format in [ArchiveFormat::Docker, ArchiveFormat::Oci] {
        let path = from.save(&item, format);
        let to = Fixture::new();
        let loaded = to.load(&path).unwrap();
        to.check(&loaded);
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].id, item.image.id);
        assert_eq!(loaded[0].names, item.names);
        // what was loaded is saved with the same bytes
        let item = SaveItem {
            image: to.image_of(&loaded[0]),
            platforms: Vec::new(),
            names: loaded[0].names.clone(),
        };
        assert_eq!(fs::read(to.save(&item, format)).unwrap(), fs::read(&path).unwrap());
    }
}

#[test]
fn layers_that_are_there_are_not_read_again() {
    need_root!();
    let fixture = Fixture::new();
    let item = fixture.image();
    let path = fixture.save(&item, ArchiveFormat::Docker);
    let events = Mutex::new(Vec::new());
    let source = ArchiveSource::File(File::open(&path).unwrap());
    let tell = |event| events.lock().unwrap().push(event);
    // the store knows these layers, by whatever way they came, once they were loaded
    fixture.load(&path).unwrap();
    let layers = fs::read_dir(fixture.store.root().join("layers")).unwrap().count();
    load(&fixture.store, source, None, &tell).unwrap();
    let events = events.into_inner().unwrap();
    assert!(events.iter().all(|event| matches!(event, ImageEvent::LayerExists { .. })), "{events:?}");
    assert_eq!(fs::read_dir(fixture.store.root().join("layers")).unwrap().count(), layers);
}

#[test]
fn compressed_archives_and_streams_load() {
    need_root!();
    let from = Fixture::new();
    let item = from.image();
    let plain = fs::read(from.save(&item, ArchiveFormat::Docker)).unwrap();
    for program in ["cat", "gzip", "zstd", "xz"] {
        let mut child = Command::new(program)
            .args(if program == "cat" { [].as_slice() } else { &["-c"] })
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let plain = plain.clone();
        let writer = std::thread::spawn(move || input.write_all(&plain).unwrap());
        let stream = Box::new(child.stdout.take().unwrap());
        let to = Fixture::new();
        let loaded = load(&to.store, ArchiveSource::Stream(stream), None, &|_| {}).unwrap();
        to.check(&loaded);
        assert_eq!(loaded[0].id, item.image.id);
        writer.join().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn skopeo_and_umoci_accept_what_is_saved() {
    need_root!();
    let fixture = Fixture::new();
    let item = fixture.image();
    let path = fixture.save(&item, ArchiveFormat::Docker);
    let path = path.to_str().unwrap();
    for transport in ["docker-archive", "oci-archive"] {
        let source = if transport == "docker-archive" {
            format!("{transport}:{path}:example.org/app:1")
        } else {
            format!("{transport}:{path}:1")
        };
        let Some(config) = run("skopeo", &["inspect", "--config", "--raw", &source]) else { return };
        assert_eq!(Digest::of(config.as_bytes()), *item.image.id.as_digest(), "{transport}");
        // copying reads and checks every layer
        let layout = fixture.path(transport);
        run("skopeo", &["copy", "-q", &source, &format!("oci:{}:x", layout.display())]);
        let bundle = fixture.path(&format!("{transport}-bundle"));
        let image = format!("{}:x", layout.display());
        if run("umoci", &["unpack", "--image", &image, bundle.to_str().unwrap()]).is_none() {
            continue;
        }
        assert_eq!(fs::read_to_string(bundle.join("rootfs/etc/issue")).unwrap(), "two");
    }
}

#[test]
fn what_skopeo_writes_is_loaded() {
    need_root!();
    let from = Fixture::new();
    let item = from.image();
    let path = from.save(&item, ArchiveFormat::Docker);
    let source = format!("docker-archive:{}:example.org/app:1", path.display());
    for (transport, suffix) in
        [("docker-archive", ":example.org/other:2"), ("oci-archive", ":example.org/other:2")]
    {
        let target = from.path(transport);
        let written = format!("{transport}:{}{suffix}", target.display());
        if run("skopeo", &["copy", "-q", &source, &written]).is_none() {
            return;
        }
        let to = Fixture::new();
        let loaded = to.load(&target).unwrap();
        to.check(&loaded);
        // skopeo writes configs anew when it makes OCI ones
        let config = run("skopeo", &["inspect", "--config", "--raw", &written]).unwrap();
        assert_eq!(*loaded[0].id.as_digest(), Digest::of(config.as_bytes()), "{transport}");
        assert_eq!(loaded[0].names, [name("example.org/other:2")]);
        let kept = to.image_of(&loaded[0]).layers.iter().filter(|layer| layer.blob.is_some()).count();
        // skopeo compresses layers of OCI archives; those blobs stay as they are
        assert_eq!(kept, if transport == "oci-archive" { 2 } else { 0 });
    }
}

#[test]
fn old_docker_archives_with_linked_layers_load() {
    need_root!();
    let fixture = Fixture::new();
    let layer = tar(&[("a", "1")]);
    let diff_id = Digest::of(&layer);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#
    );
    let hex = Digest::of(config.as_bytes()).hex();
    let write = |config: &str| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut file = |path: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, content).unwrap();
        };
        file("one/VERSION", b"1.0");
        file("one/layer.tar", &layer);
        file(&format!("{hex}.json"), config.as_bytes());
        let manifest = format!(
            r#"[{{"Config":"{hex}.json","RepoTags":["old:1"],"Layers":["one/layer.tar","two/layer.tar"]}}]"#
        );
        file("manifest.json", manifest.as_bytes());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "two/layer.tar", "../one/layer.tar").unwrap();
        let path = fixture.path("old.tar");
        fs::write(&path, builder.into_inner().unwrap()).unwrap();
        path
    };
    let loaded = fixture.load(&write(&config)).unwrap();
    fixture.check(&loaded);
    assert_eq!(loaded[0].id.as_digest().hex(), hex);
    assert_eq!(loaded[0].names, [name("old:1")]);
    // a config that is not the one its name says
    let error = fixture.load(&write(&config.replace("amd64", "arm64"))).unwrap_err();
    assert!(matches!(error, ImageError::ArchiveDigest { .. }), "{error}");
}

#[test]
fn wrong_and_missing_layers_are_named_and_nothing_is_tagged() {
    need_root!();
    let from = Fixture::new();
    let item = from.image();
    let bytes = fs::read(from.save(&item, ArchiveFormat::Docker)).unwrap();
    let top = item.image.layers[1].diff_id.as_digest().hex();
    // flip a byte of the upper layer's content
    let mut damaged = bytes.clone();
    let at = damaged.windows(3).rposition(|window| window == b"two").unwrap();
    damaged[at] = b'x';
    // and give its member another name
    let renamed = {
        let mut bytes = bytes.clone();
        let at = bytes.windows(top.len()).position(|window| window == top.as_bytes()).unwrap();
        let block = at / 512 * 512;
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let mut header = tar::Header::from_byte_slice(&bytes[block..block + 512]).clone();
        header.set_cksum();
        bytes[block..block + 512].copy_from_slice(header.as_bytes());
        bytes
    };
    for (bytes, missing) in [(damaged, false), (renamed, true)] {
        let to = Fixture::new();
        let path = to.path("bad.tar");
        fs::write(&path, bytes).unwrap();
        match to.load(&path).unwrap_err() {
            ImageError::WrongLayer { name, .. } if !missing => assert!(name.contains(&top)),
            ImageError::ArchiveFile { file, .. } if missing => assert!(file.contains(&top)),
            other => panic!("{other}"),
        }
        assert_eq!(to.store.references().unwrap(), []);
        assert_eq!(to.store.images().unwrap(), []);
    }
    let error = from.load(&{
        let path = from.path("empty.tar");
        fs::write(&path, tar(&[("a", "b")])).unwrap();
        path
    });
    assert!(matches!(error, Err(ImageError::NotAnArchive)));
}

/// A layout directory whose index leads to another index, with images for this machine and for one it lacks.
#[test]
fn a_layout_gives_the_image_for_the_platform_and_records_nothing() {
    need_root!();
    let from = Fixture::new();
    let item = from.image();
    let directory = from.path("layout");
    let saved = File::open(from.save(&item, ArchiveFormat::Oci)).unwrap();
    tar::Archive::new(saved).unpack(&directory).unwrap();
    let read = |file: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(directory.join(file)).unwrap()).unwrap()
    };
    let mut own = read("index.json")["manifests"][0].clone();
    let host = Platform::host();
    own["platform"] = serde_json::json!({"os": host.os, "architecture": host.architecture});
    let mut other = own.clone();
    other["digest"] = Digest::of(b"not there").to_string().into();
    other["platform"] = serde_json::json!({"os": "linux", "architecture": "s390x"});
    let index = |manifests: serde_json::Value| {
        let media_type = "application/vnd.oci.image.index.v1+json";
        serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string()
    };
    let inner = index(serde_json::json!([other, own]));
    let digest = Digest::of(inner.as_bytes());
    fs::write(directory.join("blobs/sha256").join(digest.hex()), &inner).unwrap();
    let entry = serde_json::json!({
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest.to_string(), "size": inner.len(),
    });
    fs::write(directory.join("index.json"), index(serde_json::json!([entry]))).unwrap();

    let to = Fixture::new();
    let (layout, lease) = (Layout::open(&directory).unwrap(), to.store.lease().unwrap());
    assert_eq!(layout.find(None).unwrap(), digest);
    let known = || layout.known(&to.store, &lease, (&digest, &host)).unwrap();
    assert_eq!(known().image.layers, [], "the store has no layer of it yet");
    let loaded = layout.load(&to.store, &lease, (&digest, &host), &|_| {}).unwrap();
    let diff_ids: Vec<_> = loaded.image.layers.iter().map(|layer| layer.diff_id).collect();
    assert_eq!((loaded.image.id, &diff_ids), (item.image.id, &loaded.config.rootfs.diff_ids));
    assert_eq!(known().image.layers, loaded.image.layers);
    assert_eq!(to.store.images().unwrap(), []);
    for (platform, message) in [
        ("linux/s390x", "the layout has no file"),
        ("linux/riscv64", "the layout has no image for linux/riscv64: it has linux/s390x, "),
    ] {
        let wanted: Platform = platform.parse().unwrap();
        let error = layout.load(&to.store, &lease, (&digest, &wanted), &|_| {}).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

/// Given a real archive, such as docker's save of Debian, checks every byte of it; skips without one.
#[test]
fn a_real_archive_loads() {
    need_root!();
    #[expect(clippy::disallowed_methods, reason = "a test takes its material from the environment")]
    let Some(path) = std::env::var_os("RBUILD_TEST_ARCHIVE") else {
        return skip("RBUILD_TEST_ARCHIVE names no archive");
    };
    let fixture = Fixture::new();
    let started = std::time::Instant::now();
    let loaded = fixture.load(Path::new(&path)).unwrap();
    println!("loaded {} images in {:?}", loaded.len(), started.elapsed());
    fixture.check(&loaded);
    let items: Vec<SaveItem> = loaded
        .into_iter()
        .map(|one| SaveItem { image: fixture.image_of(&one), platforms: Vec::new(), names: one.names })
        .collect();
    let started = std::time::Instant::now();
    let mut out = File::create(fixture.path("out.tar")).unwrap();
    save(&fixture.store, &items, ArchiveFormat::Docker, &mut out).unwrap();
    println!("saved in {:?}", started.elapsed());
    let now = Timestamp::from_seconds(0).unwrap();
    let record = RefRecord { image: items[0].image.id, manifest: None, tagged_at: now };
    fixture.store.set_name(&name("again"), &record).unwrap();
}

#[test]
fn a_cut_archive_is_refused_though_its_layers_are_known() {
    if !has_root() {
        return;
    }
    let fixture = Fixture::new();
    let whole = fs::read(fixture.save(&fixture.image(), ArchiveFormat::Docker)).unwrap();
    let cut = fixture.path("cut.tar");
    let end = whole.len() - 1024;
    for length in (1..end).step_by(511).filter(|length| length % 512 != 0) {
        fs::write(&cut, &whole[..length]).unwrap();
        let error = fixture.load(&cut).unwrap_err();
        assert!(error.to_string().contains("ends within an entry") || length < 512, "{length}: {error}");
    }
}

#[test]
fn more_layers_than_can_be_mounted_are_refused_before_any_is_read() {
    if !has_root() {
        return;
    }
    let diff_id = Digest::of(b"never read");
    for (layers, refused) in [(499, "should be"), (500, "has 500 layers"), (10_000, "has 10000 layers")] {
        let fixture = Fixture::new();
        let ids = vec![diff_id.to_string(); layers];
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let manifest = serde_json::json!([{
            "Config": "config.json", "RepoTags": ["many:1"], "Layers": vec!["layer.tar"; layers],
        }]);
        let layer = String::from_utf8(tar(&[("f", "x")])).unwrap();
        let (config, manifest) = (config.to_string(), manifest.to_string());
        let archive = fixture.path("many.tar");
        let files = [("layer.tar", &*layer), ("config.json", &*config), ("manifest.json", &*manifest)];
        fs::write(&archive, tar(&files)).unwrap();
        let error = fixture.load(&archive).unwrap_err().to_string();
        assert!(error.contains(refused), "{layers}: {error}");
    }
}
