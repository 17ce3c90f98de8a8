//! The networks of RUN.

use crate::{RBUILD, as_root_and_user, ordinary_user, wait_for, with_busybox};
use rbuild_testkit::{Base, Ran, Workspace, has_program, is_root};
use std::{
    fmt::Display,
    fs,
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
};

/// An address of this machine that is not on its loopback, if it has one.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // nothing is sent: it only looks up the route
    socket.connect("192.0.2.200:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then(|| address.to_string())
}

/// True if an ordinary user may have a network interface of a program.
pub(crate) fn tun_is_open(test: &str) -> bool {
    let open = fs::metadata("/dev/net/tun").is_ok_and(|device| device.permissions().mode() & 0o006 == 0o006);
    if !open {
        rbuild_testkit::skip_named(test, "/dev/net/tun is not for ordinary users here");
    }
    open
}

/// The programs of this name on the machine that have outlived who started them; builds of other tests have theirs.
fn orphans(name: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_one = |process: &Path| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        status.contains("\nPPid:\t1\n")
            && fs::read(process.join("cmdline")).is_ok_and(|line| line.starts_with(name.as_bytes()))
    };
    processes.filter(|entry| is_one(&entry.path())).count()
}

#[test]
fn a_step_has_a_network_of_its_own_with_a_way_out() {
    let test = "a_step_has_a_network_of_its_own_with_a_way_out";
    if !is_root(test) || !has_program("pasta", test) {
        return;
    }
    let Some(address) = own_address() else {
        rbuild_testkit::skip_named(test, "this machine has no address but loopback");
        return;
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let hidden = listener.local_addr().unwrap().port();
    let before = orphans("pasta");
    let user = tun_is_open(test).then(|| ordinary_user::workspace(test)).flatten();
    for here in std::iter::once(Workspace::new(RBUILD)).chain(user) {
        here.import(Base::Busybox);
        let steps = format!(
            "FROM busybox\n\
             RUN ip -4 addr show | grep -q '{address}/' && ls /sys/class/net | tr '\\n' ' ' && grep -c nameserver /etc/resolv.conf && nc -l -p 7 127.0.0.1 &\n\
             RUN ! timeout 5 nc -w 1 127.0.0.1 {hidden} </dev/null && ! netstat -ltn | grep LISTEN\n\
             RUN grep CapEff /proc/self/status\n"
        );
        let context = here.context("c", &steps, &[]);
        let ran = Ran::of(
            here.command(["build", "--no-cache", "--progress=plain"]).arg(&context).output().unwrap(),
        );
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("00000000a80425fb"), "CAP_NET_RAW, as with docker: {}", ran.stderr);
        assert!(!ran.stderr.contains("the network of RUN is the host's"), "{}", ran.stderr);
    }
    // those of other tests are killed with their parents
    wait_for(|| orphans("pasta") <= before);
}

#[test]
fn without_pasta_a_step_has_the_host_s_network_and_a_note_says_so() {
    let test = "without_pasta_a_step_has_the_host_s_network_and_a_note_says_so";
    let Some(here) = with_busybox(test) else { return };
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"from the host\n").unwrap();
        let _ = stream.read(&mut [0; 1]);
    });
    let context =
        here.context("c", &format!("FROM busybox\nRUN nc 127.0.0.1 {port} </dev/null\nRUN true\n"), &[]);
    let mut command = here.command(["build", "--no-cache", "--progress=plain"]);
    let ran = Ran::of(command.arg(&context).env("PATH", "/nowhere").output().unwrap());
    assert!(ran.code == 0 && ran.stderr.contains("from the host"), "{}", ran.stderr);
    let note = "pasta is not installed (package passt): the network of RUN is the host's";
    assert_eq!(ran.stderr.matches(note).count(), 1, "{}", ran.stderr);
    server.join().unwrap();
}

#[test]
fn a_dockerfile_gets_the_host_s_network_only_from_who_builds() {
    let Some(here) = with_busybox("a_dockerfile_gets_the_host_s_network_only_from_who_builds") else {
        return;
    };
    let context = here.context("c", "FROM busybox\nRUN true\nRUN --network=host true\n", &[]);
    let context = context.to_str().unwrap();
    let refused = here.fails(["build", "--progress=plain", context]);
    assert!(
        refused.code == 1
            && refused.stderr.contains("network.host is not allowed; --allow network.host allows it")
            && refused.stderr.contains(">>> RUN --network=host true")
            && !refused.stderr.contains("[2/3] RUN true"),
        "{}",
        refused.stderr
    );
    here.ok(["build", "--allow", "network.host", context]);
    here.ok(["build", "--network=host", context]);
}

#[test]
fn names_are_resolved_as_asked_for() {
    as_root_and_user("names_are_resolved_as_asked_for", |here| {
        let context = here.context("c", "FROM busybox\nRUN cat /etc/resolv.conf; cat /etc/hosts\n", &[]);
        let build = |arguments: &[&str]| {
            let mut command = here.command(["build", "--no-cache", "--progress=plain"]);
            Ran::of(command.args(arguments).arg(&context).output().unwrap())
        };
        let options =
            ["--dns=192.0.2.1", "--dns", "2001:db8::1", "--dns-search=x.example", "--dns-option=ndots:2"];
        for network in ["host", "none", "default"] {
            let ran = build(&[&options[..], &["--network", network, "--add-host=me:host-gateway"]].concat());
            let lines: Vec<&str> = ran.stderr.lines().filter_map(|line| line.splitn(3, ' ').nth(2)).collect();
            for line in
                ["nameserver 192.0.2.1", "nameserver 2001:db8::1", "search x.example", "options ndots:2"]
            {
                assert!(lines.contains(&line), "{line}: {}", ran.stderr);
            }
            assert_eq!(ran.stderr.matches("nameserver").count(), 2, "{}", ran.stderr);
            let me = lines.iter().find(|line| line.ends_with("\tme")).unwrap();
            assert!(network != "host" || *me == "127.0.0.1\tme", "{me}");
        }
        for (wrong, message) in [
            ("--dns=here", "invalid name server \"here\": give its address"),
            ("--dns-option=a b", "\"a b\""),
        ] {
            let ran = build(&[wrong]);
            assert!(ran.code == 1 && ran.stderr.contains(message), "{}", ran.stderr);
        }
    });
}

#[test]
fn a_step_reaches_the_host_by_the_name_that_was_asked_for_and_nothing_of_its_loopback() {
    let test = "a_step_reaches_the_host_by_the_name_that_was_asked_for";
    if !is_root(test) || !has_program("pasta", test) {
        return;
    }
    let user = tun_is_open(test).then(|| ordinary_user::workspace(test)).flatten();
    for here in std::iter::once(Workspace::new(RBUILD)).chain(user) {
        here.import(Base::Busybox);
        let (open, hidden) = (server_at([0; 4]), server_at([127, 0, 0, 1]));
        let way_out = "$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')";
        let steps = format!(
            "FROM busybox\n\
             RUN {}\n\
             RUN for at in me 127.0.0.1 {way_out}; do sleep 1 | timeout 4 nc -w 2 $at {hidden} | sed s/^/hidden-/ & done; wait\n",
            ask("me", open)
        );
        let context = here.context("c", &steps, &[]);
        let mut command =
            here.command(["build", "--no-cache", "--progress=plain", "--add-host=me:host-gateway"]);
        let ran = Ran::of(command.arg(&context).output().unwrap());
        assert!(ran.code == 0 && ran.stderr.contains("from the host"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("hidden-from"), "{}", ran.stderr);
    }
}

/// A command that prints the first line of what a server says, which it asks again as long as it hears nothing: a busy machine is slow. It goes on writing,
/// because pasta may lose the answer for one who has said that there is no more to come.
pub(crate) fn ask(host: &str, port: impl Display) -> String {
    format!(
        "for again in 1 2 3 4 5; do sleep 2 | timeout 9 nc -w 3 {host} {port} > /heard; [ ! -s /heard ] || break; done; head -n 1 /heard"
    )
}

/// The port of a server of the machine at `address` that says where it is.
pub(crate) fn server_at(address: [u8; 4]) -> u16 {
    let listener = TcpListener::bind((std::net::Ipv4Addr::from(address), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // the client ends it: pasta may lose what comes with an end at once
            thread::spawn(move || {
                stream.write_all(b"from the host\n").and_then(|()| stream.read_to_end(&mut Vec::new()))
            });
        }
    });
    port
}
