//! What becomes of networks with names when something ends, fails, or is hostile.

use crate::{detached::monitor_of, named_networks::Machine, wait_for};
use rbuild_testkit::has_program;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Starts a container with a published port in the network `front`.
fn start(machine: &Machine, name: &str) {
    machine.ok(&[
        "run",
        "-d",
        "--name",
        name,
        "--network",
        "front",
        "-p",
        "8080:80",
        "busybox",
        "sleep",
        "1000",
    ]);
}

/// Kills the process that would undo the place of `box`.
fn kill_monitor(machine: &Machine) {
    let monitor = monitor_of(&machine.here, "box");
    assert!(Command::new("kill").args(["-9", &monitor]).status().unwrap().success());
    wait_for(|| machine.ok(&["ps", "-a", "--format", "{{.Status}}"]).starts_with("Exited (137)"));
}

#[test]
fn nothing_of_a_place_stays_however_its_container_ends() {
    let test = "nothing_of_a_place_stays_however_its_container_ends";
    let Some(machine) = Machine::new(test) else { return };
    machine.ok(&["network", "create", "front"]);
    for end in [["kill", "-sKILL"], ["stop", "-t0"]] {
        start(&machine, "box");
        machine.ok(&[end[0], end[1], "box"]);
        machine.ok(&["wait", "box"]);
        machine.is_bare();
        machine.ok(&["rm", "box"]);
    }
    for _ in 0..10 {
        machine.ok(&["run", "--rm", "--network", "front", "busybox", "true"]);
    }
    machine.is_bare();
    let failed = machine.run(&["run", "--rm", "--network", "front", "busybox", "/no/such"]);
    assert_eq!(failed.code, 127);
    machine.is_bare();
    // a container that takes its interface away before it ends
    machine.ok(&[
        "run",
        "--rm",
        "--privileged",
        "--network",
        "front",
        "busybox",
        "ip",
        "link",
        "del",
        "eth0",
    ]);
    machine.is_bare();
}

#[test]
fn the_next_command_clears_away_what_a_killed_one_left() {
    let test = "the_next_command_clears_away_what_a_killed_one_left";
    let Some(mut machine) = Machine::new(test) else { return };
    machine.ok(&["network", "create", "front"]);
    // the process that would undo it is killed; the next command does
    for next in
        [&["rm", "box"][..], &["start", "box"], &["network", "inspect", "front"], &["network", "prune", "-f"]]
    {
        start(&machine, "box");
        kill_monitor(&machine);
        assert_ne!(machine.remains().2, Vec::<PathBuf>::new());
        machine.ok(next);
        if next[0] == "start" {
            let places = machine.ok(&["network", "inspect", "--format", "{{len .Containers}}", "front"]);
            assert_eq!(places, "1\n");
        }
        machine.run(&["rm", "-f", "box"]);
        machine.is_bare();
    }
    machine.ok(&["network", "create", "front"]);
    let mut run = machine.command(&["run", "--rm", "--network", "front", "busybox", "sleep", "1000"]);
    let mut run = run.stdout(Stdio::null()).spawn().unwrap();
    wait_for(|| machine.remains().0.trim() != "1" && !machine.ok(&["ps", "-q"]).is_empty());
    run.kill().unwrap();
    run.wait().unwrap();
    machine.ok(&["network", "inspect", "front"]);
    machine.is_bare();
    // the machine goes down, and comes up with what was on its disk
    start(&machine, "box");
    kill_monitor(&machine);
    machine.reboot();
    start(&machine, "box2");
    assert!(machine.exec("box2", "nslookup box2").contains("Name:\tbox2"));
    machine.ok(&["rm", "-f", "box", "box2"]);
    machine.is_bare();
}

#[test]
fn nothing_comes_from_a_network_to_the_loopback_of_the_machine() {
    let test = "nothing_comes_from_a_network_to_the_loopback_of_the_machine";
    let Some(machine) = Machine::new(test) else { return };
    machine.ok(&["network", "create", "front"]);
    // netavark opens the loopback to an interface for published ports
    machine.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "front",
        "-p",
        "8080:80",
        "busybox",
        "sleep",
        "1000",
    ]);
    let page = machine.here.write("www/index.html", "secret\n");
    let mut server = machine.enter();
    server.args(["busybox", "httpd", "-f", "-p", "127.0.0.1:7777", "-h"]).arg(page.parent().unwrap());
    let mut server = server.stdin(Stdio::null()).spawn().unwrap();
    wait_for(|| machine.shell("busybox wget -qO- http://127.0.0.1:7777").0 == "secret\n");
    let gateway =
        machine.ok(&["network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "front"]);
    let attack = format!(
        "sysctl -qw net.ipv4.conf.eth0.route_localnet=1; ip addr flush dev lo; ip route add 127.0.0.0/8 via {}; \
         printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 3 nc -w 2 127.0.0.1 7777",
        gateway.trim()
    );
    let attacked = || {
        machine
            .run(&["run", "--rm", "--privileged", "--network", "front", "busybox", "sh", "-c", &attack])
            .stdout
    };
    assert_eq!(attacked(), "");
    // the rule is what holds: without it the attack has its way (the next container makes it anew, so this one is there already)
    machine.ok(&[
        "run",
        "-d",
        "--privileged",
        "--name",
        "evil",
        "--network",
        "front",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert!(machine.shell("iptables -t raw -F PREROUTING").1);
    assert!(machine.exec("evil", &attack).contains("secret"));
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn an_interface_of_the_machine_is_not_taken_for_a_network_s() {
    let test = "an_interface_of_the_machine_is_not_taken_for_a_network_s";
    let Some(machine) = Machine::new(test) else { return };
    let mine = "ip link add mine type bridge && ip addr add 10.213.0.1/24 dev mine && ip link set mine up";
    let create = ["network", "create", "-o", "com.docker.network.bridge.name=mine"];
    machine.ok(&[&create[..], &["before"]].concat());
    assert!(machine.shell(mine).1);
    let error = machine.refused(&[&create[..], &["after"]].concat());
    assert!(error.contains("network before has the bridge mine"), "{error}");
    let error = machine.refused(&["run", "--rm", "--network", "before", "busybox", "true"]);
    assert!(error.contains("network before: the machine has another interface mine"), "{error}");
    machine.ok(&["network", "rm", "before"]);
    let error = machine.refused(&[&create[..], &["after"]].concat());
    assert!(error.contains("the machine has an interface mine"), "{error}");
    assert!(machine.shell("ip addr show mine | grep 10.213.0.1/24").1);
    // without it the name can be had
    assert!(machine.shell("ip link del mine").1);
    machine.ok(&[&create[..], &["after"]].concat());
    machine.ok(&["run", "--rm", "--network", "after", "busybox", "true"]);
    machine.ok(&["network", "rm", "after"]);
    machine.is_bare();
}

#[test]
fn no_question_for_a_name_leaves_an_internal_network() {
    let test = "no_question_for_a_name_leaves_an_internal_network";
    let Some(mut machine) = Machine::new(test) else { return };
    if !has_program("python3", test) {
        return;
    }
    let resolver = machine.here.write("resolv.conf", "nameserver 127.0.0.1\n");
    machine.restart(&format!("mount --bind {} /etc/resolv.conf && ip link set lo up", resolver.display()));
    let heard = machine.here.path().join("heard");
    let listen = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('127.0.0.1', 53))\n\
                  print('ready', flush=True)\nwhile True: print(s.recv(600), flush=True)\n";
    let mut server = machine.enter();
    server.args(["python3", "-c", listen]).stdin(Stdio::null()).stdout(fs::File::create(&heard).unwrap());
    let mut server = server.spawn().unwrap();
    let said = || fs::read_to_string(&heard).unwrap();
    wait_for(|| said().contains("ready"));
    machine.ok(&["network", "create", "--internal", "inner"]);
    machine.ok(&["network", "create", "outer"]);
    for network in ["inner", "outer"] {
        let ask = format!("timeout 3 nslookup {network}.example.com");
        machine.run(&["run", "--rm", "--network", network, "busybox", "sh", "-c", &ask]);
    }
    assert!(said().contains("outer") && !said().contains("inner"), "{}", said());
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn without_its_programs_a_network_is_refused_and_nothing_is_made() {
    let test = "without_its_programs_a_network_is_refused_and_nothing_is_made";
    let Some(mut machine) = Machine::new(test) else { return };
    machine.ok(&["network", "create", "front"]);
    let run = ["run", "-d", "--name", "box", "--network", "front", "busybox", "sleep", "1000"];
    machine.with_helpers(&[("aardvark-dns", "#!/bin/sh\n")]);
    for arguments in [&run[..], &["network", "create", "other"]] {
        let error = machine.refused(arguments);
        assert!(error.contains("netavark is not installed (package netavark)"), "{error}");
    }
    assert_eq!(machine.ok(&["ps", "-aq"]), "");
    assert_eq!(machine.ok(&["network", "ls", "-q"]).lines().count(), 1);
    let words = "#!/bin/sh\nprintf %s '{\"error\":\"no more\\n\\u001b[31mbridges\"}'; exit 1\n";
    machine.with_helpers(&[("netavark", words)]);
    let error = machine.refused(&run);
    assert!(error.contains("network front: netavark: no more") && !error.contains('\u{1b}'), "{error}");
    // as with docker, a container that could not be started stays
    assert_eq!(machine.ok(&["rm", "box"]), "box\n");
    // what it was started with
    let looking = format!(
        "#!/bin/sh\n{{ env | sort; pwd; ls /proc/self/fd | wc -w; echo \"$@\"; }} > {}/seen; exit 1\n",
        machine.here.path().display()
    );
    machine.with_helpers(&[("netavark", &looking)]);
    machine.refused(&run);
    machine.ok(&["rm", "box"]);
    let seen = fs::read_to_string(machine.here.path().join("seen")).unwrap();
    assert!(seen.starts_with("PATH=/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\n/\n4\n--config "), "{seen}");
    machine.with_helpers(&[("netavark", "#!/bin/sh\nsleep 1000\n")]);
    let error = machine.refused(&run);
    assert!(error.contains("network front: netavark: it has not ended in 20 s"), "{error}");
}
