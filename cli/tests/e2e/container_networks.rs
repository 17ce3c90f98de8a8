//! The networks of containers.

use crate::{RBUILD, detached::monitor_of, networks::tun_is_open, ordinary_user, wait_for, with_busybox};
use rbuild_testkit::{Base, Workspace, has_program, is_root};
use std::{fs, net::TcpListener, path::Path, process::Stdio, thread};

/// Makes a check in workspaces with busybox whose users have networks of their own.
fn with_networks(test: &str, check: impl Fn(&Workspace)) {
    if !is_root(test) || !has_program("pasta", test) {
        return;
    }
    let user = tun_is_open(test).then(|| ordinary_user::workspace(test)).flatten();
    for here in std::iter::once(Workspace::new(RBUILD)).chain(user) {
        here.import(Base::Busybox);
        check(&here);
    }
}

/// The port of a server on the machine's loopback that lets everybody go at once.
fn local_server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().for_each(drop));
    port
}

/// The processes whose parent is `parent` and whose program is pasta.
fn pastas_of(parent: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_meant = |directory: &Path| {
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        read("comm").starts_with("pas") && read("status").contains(&format!("PPid:\t{parent}\n"))
    };
    let meant = processes.filter(|entry| is_meant(&entry.path()));
    meant.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// True if no such process does anything any more.
fn has_ended(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.contains("\nPPid") || status.contains("State:\tZ")
}

#[test]
fn a_container_has_a_network_of_its_own() {
    with_networks("a_container_has_a_network_of_its_own", |here| {
        let hidden = local_server();
        let look = format!(
            "ip -4 route show default | grep -c via; ls /sys/class/net | wc -l; netstat -ltn | grep -c LISTEN; \
             timeout 5 nc -w 1 127.0.0.1 {hidden} </dev/null 2>/dev/null && echo reached; grep CapEff /proc/self/status"
        );
        let seen = "1\n2\n0\nCapEff:\t00000000a80425fb\n";
        for network in ["default", "bridge", "private"] {
            let ran = here.run(["run", "--rm", "--network", network, "busybox", "sh", "-c", &look]);
            assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (seen, ""), "{network}");
        }
        here.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        assert_eq!(here.run(["exec", "box", "sh", "-c", &look]).stdout, seen);
        here.ok(["restart", "-t", "0", "box"]);
        assert_eq!(here.run(["exec", "box", "sh", "-c", &look]).stdout, seen);
        here.ok(["rm", "-f", "box"]);
        let none = here.ok(["run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net"]);
        assert_eq!(none, "lo\n");
        let host = format!("nc -w 1 127.0.0.1 {hidden} </dev/null && echo reached");
        assert_eq!(here.ok(["run", "--rm", "--network", "host", "busybox", "sh", "-c", &host]), "reached\n");
    });
}

#[test]
fn without_pasta_a_container_has_the_host_s_network_and_a_note_says_so() {
    let Some(here) = with_busybox("without_pasta_a_container_has_the_host_s_network") else { return };
    let port = local_server().to_string();
    let note = "pasta is not installed (package passt): the network of the container is the host's";
    for mode in [&["--rm"][..], &["--name", "kept"]] {
        let mut run = here.command(["run"]);
        run.args(mode).args(["busybox", "nc", "-w", "1", "127.0.0.1", &port]);
        let output = run.env("PATH", "/nowhere").stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.matches(note).count() == 1, "{said}");
    }
    here.ok(["rm", "kept"]);
}

#[test]
fn a_network_ends_with_its_container_whoever_is_killed() {
    with_networks("a_network_ends_with_its_container_whoever_is_killed", |here| {
        let start = || here.ok(["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        for end in [["kill", "-sKILL"], ["stop", "-t0"]] {
            start();
            let pastas = pastas_of(&monitor_of(here, "box"));
            assert_eq!(pastas.len(), 1);
            here.ok([end[0], end[1], "box"]);
            wait_for(|| has_ended(&pastas[0]));
            here.ok(["rm", "box"]);
        }
        start();
        let monitor = monitor_of(here, "box");
        let pastas = pastas_of(&monitor);
        assert!(std::process::Command::new("kill").args(["-9", &monitor]).status().unwrap().success());
        wait_for(|| has_ended(&pastas[0]));
        assert!(here.ok(["ps", "-a", "--format", "{{.Status}}"]).starts_with("Exited (137)"));
        here.ok(["rm", "box"]);
        let mut run = here.command(["run", "--rm", "busybox", "sleep", "1000"]);
        let mut run = run.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let parent = run.id().to_string();
        wait_for(|| pastas_of(&parent).len() == 1);
        let pastas = pastas_of(&parent);
        run.kill().unwrap();
        run.wait().unwrap();
        wait_for(|| has_ended(&pastas[0]));
    });
}

#[test]
fn a_container_joins_the_network_of_another() {
    let test = "a_container_joins_the_network_of_another";
    let Some(here) = with_busybox(test) else { return };
    let serve = "echo page > /index.html; exec httpd -f -p 127.0.0.1:80 -h /";
    for network in ["none", "default", "host"] {
        let serve = if network == "host" { "sleep 1000" } else { serve };
        here.ok([
            "run",
            "-d",
            "--name",
            "web",
            "--hostname",
            "shop",
            "--network",
            network,
            "busybox",
            "sh",
            "-c",
            serve,
        ]);
        let join = |command: &str| {
            here.run(["run", "--rm", "--network", "container:web", "busybox", "sh", "-c", command])
        };
        let namespace = "readlink /proc/self/ns/net; hostname";
        assert_eq!(join(namespace).stdout, here.ok(["exec", "web", "sh", "-c", namespace]), "{network}");
        if network != "host" {
            wait_for(|| join("wget -qO- 127.0.0.1").stdout == "page\n");
        }
        here.ok(["create", "--name", "second", "--network", "container:web", "busybox", "hostname"]);
        assert_eq!(here.ok(["start", "-a", "second"]), "shop\n");
        here.ok(["stop", "-t0", "web"]);
        for words in [&["start", "second"][..], &["run", "--rm", "--network=container:web", "busybox"]] {
            let ran = here.run(words);
            let code = if words[0] == "run" { 125 } else { 1 };
            let said = "cannot join network of a non running container: web";
            assert!(ran.code == code && ran.stderr.contains(said), "{ran:#?}");
        }
        here.ok(["rm", "web"]);
        assert!(here.fails(["start", "second"]).stderr.contains("No such container"));
        here.ok(["rm", "second"]);
    }
    let ran = here.run(["run", "--network", "container:nobody", "busybox"]);
    assert!(ran.code == 125 && ran.stderr.contains("No such container: nobody"), "{ran:#?}");
    assert_eq!(here.ok(["ps", "-aq"]), "");
}
