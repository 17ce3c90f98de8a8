//! What is shown of containers: the listings, templates and documents that scripts for docker read.

use crate::{as_root_and_user, wait_for, with_busybox};
use serde_json::Value;
use std::{fs, net::TcpListener, path::Path};

/// Sees that an answer of `inspect` has every field that docker's has, as `testdata/docker-api/keys` lists them: `#` is the first of
/// a list, `*` any name.
pub(crate) fn has_keys(answer: &str, kind: &str) {
    let found: Value = serde_json::from_str(answer).unwrap();
    let keys =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("testdata/docker-api/keys").join(kind);
    let keys = fs::read_to_string(keys).unwrap();
    assert!(!keys.is_empty());
    for key in keys.lines() {
        let step = |value: &Value, part: &str| match part {
            "#" => value.get(0).cloned(),
            "*" => value.as_object()?.values().next().cloned(),
            name => value.get(name).cloned(),
        };
        let reached = key.split('.').skip(1).try_fold(found[0].clone(), |value, part| step(&value, part));
        assert!(reached.is_some(), "{key} is missing: {answer}");
    }
}

#[test]
fn commands_and_labels_are_listed_as_docker_s() {
    let Some(here) = with_busybox("commands_and_labels_are_listed_as_docker_s") else { return };
    let create = |label: &str, command: &[&str]| {
        here.ok([&["create", "--label", label, "busybox"], command].concat()).trim_end().to_owned()
    };
    create("x.foo-bar=one,two", &["sh", "-c", "sleep 1000"]);
    create("b=1", &["sh", "-c", "echo \"a b\" \\ \\\\ é; sleep 100"]);
    let last = create("b=2", &["sh", "-c", "a\tb\nc", "\u{1b}[1m"]);
    let format = "{{.Command}} {{.Label \"x.foo-bar\"}}|{{.Label \"b\" | printf \"%s\"}}";
    assert_eq!(
        here.ok(["ps", "-a", "--format", format]),
        "\"sh -c a\\tb\\nc \\x1b[1m\" |2\n\"sh -c 'echo \\\"a b\\\" \\\\…\" |1\n\"sh -c 'sleep 1000'\" one,two|\n"
    );
    let whole = here.ok(["ps", "-a", "--no-trunc", "--format", "{{.Command}}", "--filter", "label=b=1"]);
    assert_eq!(whole, "\"sh -c 'echo \\\"a b\\\" \\\\ \\\\\\\\ é; sleep 100'\"\n");
    let table = here.ok(["ps", "-a", "--format", "table {{.Label \"x.foo-bar\"}}\t{{.ID}}"]);
    assert!(table.starts_with("foo bar   CONTAINER ID\n          "), "{table}");
    let ran = here.run(["ps", "-aq", "-n", "1", "--format", "{{.Names}}"]);
    assert_eq!(ran.stdout, format!("{}\n", &last[..12]));
    assert!(
        ran.stderr.contains("WARNING: Ignoring custom format, because both --format and --quiet are set.")
    );
    let row: Value = serde_json::from_str(&here.ok(["ps", "-a", "-n", "1", "--format", "json"])).unwrap();
    let fields: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    let docker = "Command CreatedAt ID Image Labels LocalVolumes Mounts Names Networks Platform Ports RunningFor Size State Status";
    assert_eq!(fields.join(" "), docker);
}

#[test]
fn inspect_has_every_field_of_docker_s() {
    as_root_and_user("inspect_has_every_field_of_docker_s", |here| {
        let flags =
            ["--network=none", "--expose=80", "-v", "vol:/v", "-l", "a=b", "--health-cmd=true", "--name=box"];
        here.ok([&["run", "-d"], &flags[..], &["busybox", "sh", "-c", "echo said; exec sleep 1000"]].concat());
        has_keys(&here.ok(["inspect", "box"]), "container");
        has_keys(&here.ok(["image", "inspect", "busybox"]), "image");
        has_keys(&here.ok(["volume", "inspect", "vol"]), "volume");
        let at = |field: &str| {
            here.ok(["inspect", "-f", &format!("{{{{{field}}}}}"), "box"]).trim_end().to_owned()
        };
        wait_for(|| fs::read_to_string(at(".LogPath")).is_ok_and(|log| log.contains("said")));
        here.ok(["exec", "box", "touch", "/made"]);
        assert!(Path::new(&at(".GraphDriver.Data.UpperDir")).join("made").exists());
        assert_eq!(at(".HostConfig.Runtime"), "rbuild");
        assert_eq!(at("len .HostConfig.MaskedPaths"), "12");
        assert_eq!(at(".ExecIDs"), "[]");
        assert_eq!(at(".HostConfig.Tmpfs"), "map[]");
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn what_was_asked_for_is_shown_as_it_was_typed() {
    let Some(here) = with_busybox("what_was_asked_for_is_shown_as_it_was_typed") else { return };
    let mounts =
        ["-v", "vol:/data", "-v", "two:/two:nocopy", "-v", "/anonymous", "--mount", "src=three,dst=/three"];
    let ports = ["--network=none", "-p", "8080:80", "-P", "--cidfile", "id"];
    here.ok([&["create", "--name", "box"], &mounts[..], &ports, &["busybox"]].concat());
    here.ok(["create", "--name", "heir", "--volumes-from", "box:ro", "busybox"]);
    let shown = |name: &str, format: &str| here.ok(["inspect", "-f", format, name]);
    let binds = "{{json .HostConfig.Binds}} {{json .HostConfig.Mounts}} {{json .HostConfig.VolumesFrom}}";
    assert_eq!(
        shown("box", binds),
        "[\"vol:/data\",\"two:/two:nocopy\"] [{\"Type\":\"volume\",\"Source\":\"three\",\"Target\":\"/three\"}] null\n"
    );
    assert_eq!(shown("heir", binds), "null [] [\"box:ro\"]\n");
    let modes = "{{range .Mounts}}{{.Destination}}={{.Mode}} {{end}}";
    assert_eq!(shown("box", modes), "/anonymous= /data=z /three=z /two=nocopy \n");
    assert_eq!(shown("heir", modes), "/anonymous= /data= /three= /two= \n");
    let network = "{{json .HostConfig.PortBindings}} {{.HostConfig.PublishAllPorts}} {{json .Config.ExposedPorts}} {{.HostConfig.ContainerIDFile}}";
    assert_eq!(
        shown("box", network),
        "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"8080\"}]} true {\"80/tcp\":{}} id\n"
    );
    here.ok(["run", "--rm", "--network=none", "-p", "8080:80", "busybox", "true"]);
}

#[test]
fn a_container_that_does_not_start_stays_and_its_id_is_known() {
    as_root_and_user("a_container_that_does_not_start_stays_and_its_id_is_known", |here| {
        let busy = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let publish = format!("{}:80", busy.local_addr().unwrap().port());
        let ran = here.fails(["run", "-d", "--name", "late", "-p", &publish, "busybox", "true"]);
        assert!(ran.code == 125 && ran.stderr.contains("address already in use"), "{ran:#?}");
        assert_eq!(here.ok(["ps", "-aq", "--no-trunc", "--filter", "status=created"]), ran.stdout);
        assert_eq!(here.fails(["start", "late"]).code, 1);
        here.ok(["rm", "late"]);
    });
}

#[test]
fn names_and_logs_that_cannot_be_are_refused_in_docker_s_words() {
    let Some(here) = with_busybox("names_and_logs_that_cannot_be_are_refused_in_docker_s_words") else {
        return;
    };
    here.ok(["run", "--name", "box", "--log-driver=none", "busybox", "echo", "x"]);
    let same = here.fails(["rename", "box", "box"]);
    assert!(
        same.code == 1 && same.stderr.contains("renaming a container with the same name as its current name")
    );
    let logs = here.fails(["logs", "box"]);
    assert!(logs.code == 1 && logs.stderr.contains("configured logging driver does not support reading"));
    assert_eq!(here.ok(["inspect", "-f", "{{.LogPath}}", "box"]), "\n");
}

#[test]
fn what_a_prune_removes_is_told_kind_by_kind() {
    let Some(here) = with_busybox("what_a_prune_removes_is_told_kind_by_kind") else { return };
    here.ok(["run", "--name", "box", "-v", "/v", "busybox", "true"]);
    let (id, volume) = (here.ok(["ps", "-aq", "--no-trunc"]), here.ok(["volume", "ls", "-q"]));
    let told = here.ok(["system", "prune", "-af", "--volumes"]);
    let image = "Deleted Images:\nuntagged: busybox:latest\ndeleted: sha256:";
    let start = format!("Deleted Containers:\n{id}\nDeleted Volumes:\n{volume}\n{image}");
    assert!(told.starts_with(&start), "{told}");
    let declined = here.run(["system", "prune"]);
    assert_eq!((declined.code, declined.stdout.as_str()), (0, ""), "{declined:?}");
    let asked = declined.stderr;
    assert!(asked.ends_with("Are you sure you want to continue? [y/N] "), "{asked}");
    assert!(
        asked.contains("  - all stopped containers\n  - all networks not used by at least one container\n"),
        "{asked}"
    );
}

#[test]
fn listings_have_docker_s_raw_form_and_settings() {
    let Some(here) = with_busybox("listings_have_docker_s_raw_form_and_settings") else { return };
    let id = here.ok(["create", "--name", "box", "busybox", "true"]);
    let raw = here.ok(["ps", "-a", "--format", "raw"]);
    let begin = format!("container_id: {}\nimage: busybox\ncommand: \"true\"\ncreated_at: ", &id[..12]);
    let end = "\nstate: created\nstatus: Created\nnames: box\nlabels:\nports:\n\n";
    assert!(raw.starts_with(&begin) && raw.ends_with(end), "{raw}");
    let images = here.ok(["images", "--format", "raw"]);
    assert!(images.starts_with("repository: busybox\ntag: latest\nimage_id: "), "{images}");
    here.ok(["volume", "create", "vol"]);
    assert_eq!(here.ok(["volume", "ls", "--format", "raw"]), "name: vol\ndriver: local\n\n");
    let folder = here.path().join("docker");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), r#"{"psFormat": "{{.Names}}!", "imagesFormat": "raw"}"#).unwrap();
    let set = |words: &[&str]| here.ok([&["--config", folder.to_str().unwrap()], words].concat());
    assert_eq!(set(&["ps", "-a"]), "box!\n");
    assert_eq!(set(&["ps", "-a", "--format", "{{.Image}}"]), "busybox\n");
    assert_eq!(set(&["ps", "-aq"]), format!("{}\n", &id[..12]));
    assert_eq!(set(&["images"]), images);
}

#[test]
fn info_says_what_there_is_and_what_is_missing() {
    as_root_and_user("info_says_what_there_is_and_what_is_missing", |here| {
        here.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        here.ok(["create", "busybox"]);
        let counts = "{{.Containers}} {{.ContainersRunning}} {{.ContainersStopped}} {{.Images}} {{.DockerRootDir}} {{len .Features}}";
        let store = here.store().display();
        assert_eq!(here.ok(["info", "--format", counts]), format!("2 1 1 1 {store} 4\n"));
        let of_daemons = "{{.ID}}{{.DefaultRuntime}}{{len .Runtimes}}{{.Labels}}{{.DriverStatus}} {{.CgroupDriver}} \
             {{.Swarm.LocalNodeState}} {{.IndexServerAddress}} {{printf \"%T\" .MemoryLimit}} {{.Name}}";
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let expected = format!("0[][] cgroupfs inactive https://index.docker.io/v1/ bool {name}");
        assert_eq!(here.ok(["info", "--format", of_daemons]), expected);
        assert_eq!(
            here.ok([
                "version",
                "--format",
                "{{.Server.APIVersion}}{{.Client.APIVersion}}{{.Server.GitCommit}}"
            ]),
            "\n"
        );
        let text = here.ok(["system", "info"]);
        for line in ["rbuild:", " Containers: 2", "  Running: 1", " Images: 1", " Logging Driver: json-file"]
        {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let document: Value = serde_json::from_str(&here.ok(["info", "--format", "json"])).unwrap();
        for feature in document["Features"].as_array().unwrap() {
            let missing = feature["Missing"].as_str().unwrap();
            assert_eq!(feature["Present"], missing.is_empty(), "{document}");
            assert!(text.contains(missing), "{missing}: {text}");
        }
        here.ok(["rm", "-f", "box"]);
    });
}
