//! Two stories of people who publish ports: a page of one's own, and a registry of one's own.

use crate::{
    RBUILD,
    container_networks::{answer, free_port, with_networks},
    wait_for,
};
use rbuild_testkit::{Base, Workspace, has_program};
use std::{fs, os::unix::fs::PermissionsExt};

#[test]
fn an_image_made_by_hand_serves_a_page() {
    with_networks("an_image_made_by_hand_serves_a_page", |here| {
        let port = free_port();
        let (publish, address) = (format!("{port}:80"), format!("127.0.0.1:{port}"));
        here.ok(["run", "-d", "-i", "--name", "b1", "busybox"]);
        here.ok(["exec", "b1", "sh", "-c", "mkdir -p /data/html; echo by hand > /data/html/index.html"]);
        here.ok(["commit", "-p", "b1", "me/httpd:v0.1"]);
        let serve = "CMD [\"/bin/httpd\",\"-f\",\"-h\",\"/data/html\"]";
        here.ok(["commit", "-a", "me", "-c", serve, "-p", "b1", "me/httpd:v0.2"]);
        let id = here.ok(["run", "-d", "--name", "t2", "-p", &publish, "me/httpd:v0.2"]);
        wait_for(|| answer(&address, "/") == "by hand\n");
        assert!(here.ok(["ps"]).contains(&format!("0.0.0.0:{port}->80/tcp")));
        let place = here.ok([
            "inspect",
            "--format",
            "{{.Id}} {{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}} {{.NetworkSettings.IPPrefixLen}}",
            "t2",
        ]);
        assert!(place.starts_with(id.trim_end()) && place.split_whitespace().count() == 4, "{place}");
        here.ok(["stop", "-t0", "t2"]);
        assert_eq!(answer(&address, "/"), "");
        here.ok(["start", "t2"]);
        wait_for(|| answer(&address, "/") == "by hand\n");
        here.ok(["rm", "-f", "t2", "b1"]);
        let both = here.path().join("both.tar");
        let both = both.to_str().unwrap();
        here.ok(["save", "-o", both, "me/httpd:v0.1", "me/httpd:v0.2"]);
        here.ok(["rmi", "me/httpd:v0.1", "me/httpd:v0.2"]);
        let there = Workspace::new(RBUILD);
        there.ok(["load", "-i", both]);
        there.ok(["run", "-d", "--name", "t3", "-p", &publish, "me/httpd:v0.2"]);
        wait_for(|| answer(&address, "/") == "by hand\n");
        there.ok(["rm", "-f", "t3"]);
    });
}

#[test]
fn a_registry_of_one_s_own_runs_in_a_container() {
    let test = "a_registry_of_one_s_own_runs_in_a_container";
    if !has_program("docker-registry", test) {
        return;
    }
    with_networks(test, |here| {
        here.import(Base::Debian);
        let settings = "version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/registry}}\nhttp: {addr: ':5000'}\n";
        let dockerfile = "FROM debian:12\nCOPY docker-registry /usr/bin/\nCOPY config.yml /etc/\nEXPOSE 5000\n\
            CMD [\"docker-registry\", \"serve\", \"/etc/config.yml\"]\n";
        let context = here.context("registry", dockerfile, &[("config.yml", settings)]);
        let program = context.join("docker-registry");
        fs::copy("/usr/bin/docker-registry", &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        here.build("registry", &context);
        let data = here.path().join("myregistry");
        let (port, volume) = (free_port(), format!("{}:/var/lib/registry", data.display()));
        let (publish, address) = (format!("{port}:5000"), format!("127.0.0.1:{port}"));
        here.ok(["run", "-d", "--name", "registry", "-p", &publish, "-v", &volume, "registry"]);
        wait_for(|| answer(&address, "/v2/_catalog").contains("repositories"));
        let name = format!("{address}/me/box:v1");
        here.ok(["tag", "busybox", &name]);
        here.ok(["push", &name]);
        assert_eq!(answer(&address, "/v2/_catalog"), "{\"repositories\":[\"me/box\"]}\n");
        let there = Workspace::new(RBUILD);
        there.ok(["pull", &name]);
        assert_eq!(there.ok(["run", "--rm", &name, "echo", "pulled"]), "pulled\n");
        here.ok(["rm", "-f", "registry"]);
        assert!(data.join("docker/registry/v2/repositories/me/box").is_dir());
    });
}
