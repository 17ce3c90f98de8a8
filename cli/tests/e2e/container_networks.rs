//! The networks of containers.

use crate::{
    RBUILD, as_root_and_user,
    detached::monitor_of,
    networks::{ask, server_at, tun_is_open},
    ordinary_user, wait_for, with_busybox,
};
use rbuild_testkit::{Base, Ran, Workspace, has_program, is_root};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    thread,
};

/// Makes a check in workspaces with busybox whose users have networks of their own.
pub(crate) fn with_networks(test: &str, check: impl Fn(&Workspace)) {
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
fn a_network_whose_pasta_is_killed_is_connected_again_or_shown_as_gone() {
    with_networks("a_network_whose_pasta_is_killed_is_connected_again_or_shown_as_gone", |here| {
        let kill = |pasta: &str| std::process::Command::new("kill").args(["-9", pasta]).status().unwrap();
        // its last line has no end, so that what is told must begin one
        let serve = "printf half; while :; do echo page | nc -l -p 7; done";
        here.ok(["run", "-d", "--name", "box", "-p", "127.0.0.1::7", "busybox", "sh", "-c", serve]);
        let address = here.ok(["port", "box", "7"]).trim().to_owned();
        let answers = || {
            let mut answer = String::new();
            let connected = TcpStream::connect(&address);
            connected.and_then(|mut stream| stream.read_to_string(&mut answer)).is_ok() && answer == "page\n"
        };
        wait_for(answers);
        let monitor = monitor_of(here, "box");
        let look = ["inspect", "-f", "{{.NetworkSettings.MacAddress}} {{.NetworkSettings.IPAddress}}", "box"];
        let (before, pastas) = (here.ok(look), pastas_of(&monitor));
        kill(&pastas[0]);
        wait_for(|| has_ended(&pastas[0]) && answers());
        assert_eq!(here.ok(["port", "box", "7"]).trim(), address);
        let inside = here.ok(["exec", "box", "sh", "-c", "cat /sys/class/net/e*/address; ip -4 -o addr"]);
        let now = here.ok(look);
        assert_eq!(now, before);
        assert!(now.split_whitespace().all(|word| inside.contains(word)), "{now} {inside}");
        let log = here.run(["logs", "box"]);
        assert!(log.stderr.starts_with("rbuild: pasta") && log.stdout == "half\n", "{log:?}");
        // one that ends again and again
        wait_for(|| {
            for pasta in pastas_of(&monitor) {
                kill(&pasta);
            }
            here.run(["logs", "box"]).stderr.contains("no network and no ports any more")
        });
        assert_eq!(here.ok(["port", "box"]), "");
        assert_eq!(here.ok(["ps", "--format", "{{.Names}} {{.Ports}}"]).trim(), "box");
        let again = format!("{address}:7");
        here.ok(["run", "-d", "--name", "other", "-p", &again, "busybox", "sh", "-c", serve]);
        wait_for(answers);
        here.ok(["restart", "-t0", "other"]);
        here.ok(["rm", "-f", "box", "other"]);
        // one in the foreground
        let mut run = here.command(["run", "--rm", "busybox", "sleep", "2"]);
        let run = run.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let parent = run.id().to_string();
        wait_for(|| pastas_of(&parent).len() == 1);
        thread::sleep(std::time::Duration::from_millis(500));
        kill(&pastas_of(&parent)[0]);
        let said = run.wait_with_output().unwrap().stderr;
        assert!(String::from_utf8_lossy(&said).contains("was started again"));
        // and that of a RUN
        let context = here.context("c", "FROM busybox\nRUN sleep 2\n", &[]);
        let mut build = here.command(["build", "--no-cache", "--progress=plain"]);
        let build = build.arg(&context).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let parent = build.id().to_string();
        wait_for(|| pastas_of(&parent).len() == 1);
        thread::sleep(std::time::Duration::from_millis(500));
        kill(&pastas_of(&parent)[0]);
        let said = build.wait_with_output().unwrap().stderr;
        let said = String::from_utf8_lossy(&said);
        assert_eq!(said.matches("pasta ended while a RUN ran").count(), 1, "{said}");
    });
}

#[test]
fn a_container_joins_the_network_of_another() {
    as_root_and_user("a_container_joins_the_network_of_another", |here| {
        let serve = "echo page > /index.html; exec httpd -f -p 127.0.0.1:80 -h /";
        for network in ["none", "default", "host"] {
            // without a network of its own a user gets no port like this
            let serve = if network == "none" { serve } else { "sleep 1000" };
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
            if network == "none" {
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
            let gone = here.fails(["start", "second"]).stderr;
            assert!(gone.contains("No such container: web"), "by the name that was given: {gone}");
            here.ok(["rm", "second"]);
        }
        let ran = here.run(["run", "--network", "container:nobody", "busybox"]);
        assert!(ran.code == 125 && ran.stderr.contains("No such container: nobody"), "{ran:#?}");
        assert_eq!(here.ok(["ps", "-aq"]), "");
    });
}

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("0.0.0.0", 0)).unwrap().local_addr().unwrap().port()
}

/// What a server at `address` answers who asks for `path`.
pub(crate) fn answer(address: &str, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    let asked = stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes());
    let mut text = String::new();
    let _ = asked.and_then(|()| stream.read_to_string(&mut text));
    text.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

const SERVE: &str = "echo page > /index.html; exec httpd -f -p 80 -h /";

#[test]
fn ports_are_reached_through_the_machine_as_long_as_a_container_runs() {
    with_networks("ports_are_reached_through_the_machine", |here| {
        let (port, other) = (free_port(), free_port());
        let (both, local) = (format!("{port}:80"), format!("127.0.0.1:{other}:80"));
        here.ok(["run", "-d", "--name", "web", "-p", &both, "-p", &local, "busybox", "sh", "-c", SERVE]);
        let serves = || {
            wait_for(|| answer(&format!("127.0.0.1:{port}"), "/") == "page\n");
            assert_eq!(answer(&format!("[::1]:{port}"), "/"), "page\n");
            assert_eq!(answer(&format!("127.0.0.1:{other}"), "/"), "page\n");
        };
        serves();
        let lines = format!("80/tcp -> 0.0.0.0:{port}\n80/tcp -> 127.0.0.1:{other}\n80/tcp -> [::]:{port}\n");
        assert_eq!(here.ok(["port", "web"]), lines);
        assert_eq!(here.ok(["container", "port", "web", "80"]).lines().count(), 3);
        let ran = here.fails(["port", "web", "81/udp"]);
        assert!(ran.stderr.contains("No public port '81/udp' published for web"), "{ran:#?}");
        let column = format!("0.0.0.0:{port}->80/tcp, 127.0.0.1:{other}->80/tcp, [::]:{port}->80/tcp\n");
        assert_eq!(here.ok(["ps", "--format", "{{.Ports}}"]), column);
        let filters = [
            (format!("publish={port}"), 1),
            ("publish=1-2".to_owned(), 0),
            (format!("publish={port}/udp"), 0),
            ("expose=79-81".to_owned(), 1),
            ("expose=443".to_owned(), 0),
            ("network=bridge".to_owned(), 1),
            ("network=host".to_owned(), 0),
        ];
        for (filter, count) in filters {
            assert_eq!(here.ok(["ps", "-q", "--filter", &filter]).lines().count(), count, "{filter}");
        }
        let taken = here.run(["run", "--name", "late", "-p", &both, "busybox", "true"]);
        let said = format!("failed to bind host port 0.0.0.0:{port}/tcp: address already in use");
        assert!(taken.code == 125 && taken.stderr.contains(&said), "{taken:#?}");
        here.ok(["rm", "late"]);
        here.ok(["restart", "-t0", "web"]);
        serves();
        here.ok(["stop", "-t0", "web"]);
        // free at once
        drop(TcpListener::bind(("0.0.0.0", port)).unwrap());
        assert_eq!(here.ok(["port", "web"]), "");
        assert_eq!(here.ok(["ps", "-a", "--format", "{{.Names}}|{{.Ports}}"]), "web|\n");
        here.ok(["start", "web"]);
        serves();
        here.ok(["rm", "-f", "web"]);
        drop(TcpListener::bind(("0.0.0.0", port)).unwrap());
    });
}

#[test]
fn ports_are_chosen_for_those_that_nobody_names() {
    with_networks("ports_are_chosen_for_those_that_nobody_names", |here| {
        let context = here.context("c", "FROM busybox\nEXPOSE 80 81/udp\n", &[]);
        here.build("exposing", &context);
        let busy = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let first = busy.local_addr().unwrap().port();
        let range = format!("{first}-{}:90", first.saturating_add(50));
        here.ok([
            "run", "-d", "--name", "web", "-P", "--expose", "82", "-p", &range, "exposing", "sh", "-c", SERVE,
        ]);
        let place = |port: &str| here.ok(["port", "web", port]).lines().next().unwrap().to_owned();
        let number = |port: &str| place(port).rsplit(':').next().unwrap().parse::<u16>().unwrap();
        wait_for(|| answer(&format!("127.0.0.1:{}", number("80")), "/") == "page\n");
        assert!(number("81/udp") > 0 && number("82") > 0);
        assert!((first + 1..=first.saturating_add(50)).contains(&number("90")));
        here.ok(["rm", "-f", "web"]);
        // one of the machine's that is not to be had stops it, and its network is let go of
        let taken = format!("127.0.0.1:{first}:90");
        let ran = here.run(["run", "-d", "-p", "91", "-p", &taken, "busybox", "sleep", "1000"]);
        assert!(ran.code == 125 && ran.stderr.contains(&format!("127.0.0.1:{first}/tcp")), "{ran:#?}");
        assert_eq!(
            here.ok(["ps", "-a", "--format", "{{.ID}} {{.State}}"]),
            format!("{} created\n", &ran.stdout[..12])
        );
        here.ok(["rm", ran.stdout.trim_end()]);
    });
}

#[test]
fn datagrams_reach_a_published_port() {
    with_networks("datagrams_reach_a_published_port", |here| {
        let port = free_port().to_string();
        let publish = format!("127.0.0.1:{port}:53/udp");
        here.import(Base::Debian);
        let echo = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 53)); \
            print(s.recv(99).decode(), flush=True)";
        here.ok(["run", "-d", "--name", "box", "-p", &publish, "debian:12", "python3", "-c", echo]);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        wait_for(|| {
            let _ = socket.send_to(b"datagram", format!("127.0.0.1:{port}"));
            here.ok(["logs", "box"]).starts_with("datagram\n")
        });
        here.ok(["rm", "-f", "box"]);
    });
}

#[test]
fn inspect_shows_the_network() {
    with_networks("inspect_shows_the_network", |here| {
        let port = free_port().to_string();
        let publish = format!("127.0.0.1:{port}:80");
        here.ok(["run", "-d", "--name", "box", "-p", &publish, "busybox", "sleep", "1000"]);
        let show = |template: &str| here.ok(["inspect", "--format", template, "box"]);
        let inside = "ip -4 addr show scope global | sed -n 's/.*inet \\([^ ]*\\).*/\\1/p'; ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'; \
            sed -n 1p /sys/class/net/$(ls /sys/class/net | grep -v lo)/address";
        let shown = "{{.NetworkSettings.IPAddress}}/{{.NetworkSettings.IPPrefixLen}}\n{{.NetworkSettings.Gateway}}\n\
            {{.NetworkSettings.MacAddress}}";
        assert_eq!(here.ok(["exec", "box", "sh", "-c", inside]), show(shown));
        assert_eq!(
            show(
                "{{json .NetworkSettings.Ports}}{{json .HostConfig.PortBindings}}{{.HostConfig.NetworkMode}}"
            ),
            format!(
                "{{\"80/tcp\":[{{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"{port}\"}}]}}\
                 {{\"80/tcp\":[{{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"{port}\"}}]}}bridge\n"
            )
        );
        let address = show("{{.NetworkSettings.Networks.bridge.IPAddress}}");
        assert!(here.ok(["exec", "box", "cat", "/etc/hosts"]).contains(address.trim_end()));
        here.ok(["stop", "-t0", "box"]);
        assert_eq!(show("{{.NetworkSettings.IPAddress}}{{json .NetworkSettings.Ports}}"), "{}\n");
        here.ok(["rm", "box"]);
    });
}

#[test]
fn ports_without_pasta_are_an_error_that_names_the_package() {
    let Some(here) = with_busybox("ports_without_pasta_are_an_error_that_names_the_package") else { return };
    for mode in [&["--rm"][..], &["-d", "--rm"]] {
        let mut run = here.command(["run"]);
        run.args(mode).args(["-p", "80", "busybox", "true"]);
        let output = run.env("PATH", "/nowhere").stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let why = "ports cannot be published: pasta is not installed (package passt)";
        assert!(output.status.code() == Some(125) && said.contains(why), "{said}");
    }
    assert_eq!(here.ok(["ps", "-aq"]), "");
    let ran = here.run(["run", "--rm", "--network", "host", "-p", "80", "busybox", "true"]);
    let warning = "WARNING: Published ports are discarded when using host network mode\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (0, warning));
}

#[test]
fn without_the_device_for_networks_it_is_said_what_helps_and_the_host_s_is_not_changed() {
    let test = "without_the_device_for_networks_it_is_said_what_helps_and_the_host_s_is_not_changed";
    if !is_root(test) {
        return;
    }
    let here = Workspace::new(RBUILD);
    here.import(Base::Busybox);
    let run = |arguments: &[&str]| {
        let inner = here.command(arguments);
        let mut run = Command::new("unshare");
        run.args(["--mount", "sh", "-c", "mount -t tmpfs none /dev/net; exec \"$@\"", "sh"]);
        run.arg(inner.get_program()).args(inner.get_args()).env_clear().current_dir(here.path());
        run.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(run.stdin(Stdio::null()).output().unwrap())
    };
    let why = "pasta: /dev/net/tun is not there (the kernel's module is called tun)";
    let ran = run(&["run", "-d", "-p", "127.0.0.1::80", "busybox", "true"]);
    let said = format!("ports cannot be published: {why}");
    assert!(ran.code == 125 && ran.stderr.contains(&said), "{ran:#?}");
    let ran = run(&["run", "--rm", "--sysctl", "net.core.somaxconn=5", "busybox", "true"]);
    let said = format!("sysctl 'net.core.somaxconn' not allowed in host network namespace: {why}");
    assert!(ran.code == 125 && ran.stderr.contains(&said), "{ran:#?}");
    let ran = run(&["run", "--rm", "busybox", "true"]);
    let said = "its ports are the host's, where users get none below 1024";
    assert!(ran.code == 0 && ran.stderr.contains(why) && ran.stderr.contains(said), "{ran:#?}");
}

#[test]
fn names_are_found_as_asked_for() {
    as_root_and_user("names_are_found_as_asked_for", |here| {
        let options = [
            "--add-host=db:192.0.2.7",
            "--add-host=me:host-gateway",
            "--dns=192.0.2.1",
            "--dns-search=x.example",
            "--dns-option=ndots:2",
            "--hostname=shop",
        ];
        let look = ["busybox", "sh", "-c", "cat /etc/resolv.conf /etc/hosts; hostname"];
        for network in ["private", "host", "none"] {
            let words = [&["run", "--rm", "--network", network], &options[..], &look].concat();
            let seen = here.run(words).stdout;
            let lines: Vec<&str> = seen.lines().collect();
            for line in
                ["nameserver 192.0.2.1", "search x.example", "options ndots:2", "192.0.2.7\tdb", "shop"]
            {
                assert!(lines.contains(&line), "{network} {line}: {seen}");
            }
            assert_eq!(seen.matches("nameserver").count(), 1, "{seen}");
            assert!(lines.iter().any(|line| line.ends_with("\tme")), "{seen}");
        }
        let create = [&["create", "--name", "box"], &options[..], &look].concat();
        here.ok(create);
        let shown = here.ok(["inspect", "-f", "{{.HostConfig.Dns}} {{.HostConfig.ExtraHosts}}", "box"]);
        assert_eq!(shown, "[192.0.2.1] [db:192.0.2.7 me:host-gateway]\n");
        for _ in 0..2 {
            assert!(here.run(["start", "-a", "box"]).stdout.contains("192.0.2.7\tdb\n"));
        }
        here.ok(["rm", "box"]);
    });
}

#[test]
fn a_container_reaches_the_host_by_the_name_that_was_asked_for_and_nothing_of_its_loopback() {
    with_networks("a_container_reaches_the_host_by_the_name", |here| {
        let (open, hidden) = (server_at([0; 4]), server_at([127, 0, 0, 1]));
        let run = ["run", "--rm", "--add-host=me:host-gateway", "busybox", "sh", "-c"];
        let seen = here.run([&run[..], &[&ask("me", open)]].concat());
        assert_eq!(seen.stdout, "from the host\n", "{seen:#?}");
        // nor what another container publishes there alone
        let publish = ["run", "-d", "--rm", "--name", "server", "-p", "127.0.0.1::7", "busybox"];
        here.ok([&publish[..], &["sh", "-c", "while :; do echo published | nc -l -p 7; done"]].concat());
        let published = here.ok(["port", "server", "7"]);
        let published = published.trim().rsplit(':').next().unwrap();
        let way_out = "$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')";
        let ask_all = format!(
            "for at in me 127.0.0.1 {way_out}; do for port in {hidden} {published}; do sleep 1 | timeout 4 nc -w 2 $at $port & done; done; wait; ip route"
        );
        let seen = here.run([&run[..], &[&ask_all]].concat());
        assert!(seen.stdout.starts_with("default via "), "{seen:#?}");
        // while others reach what it publishes
        let serve =
            ["run", "-d", "--rm", "--name", "other", "-p", "7", "--add-host=me:host-gateway", "busybox"];
        here.ok([&serve[..], &["sh", "-c", "while :; do echo published | nc -l -p 7; done"]].concat());
        let port = here.ok(["port", "other", "7"]);
        let port = port.lines().next().unwrap().rsplit(':').next().unwrap().to_owned();
        let seen = here.run([&run[..], &[&ask("me", port)]].concat());
        assert_eq!(seen.stdout, "published\n", "{seen:#?}");
        here.ok(["rm", "-f", "server", "other"]);
    });
}
