//! Networks with names, by netavark and aardvark-dns, each test on a machine of its own as far as the network goes: a network
//! namespace, in which all bridges, rules and servers are gone after the test.

use crate::{RBUILD, wait_for};
use rbuild_testkit::{Base, Ran, Workspace, is_root, skip_named, write_program};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where the programs are on Debian.
const HELPERS: &str = "/usr/lib/podman";

/// A workspace with busybox whose commands run in a network namespace.
pub(crate) struct Machine {
    pub(crate) here: Workspace,
    namespaces: Child,
}

impl Machine {
    /// A machine, where there can be one.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !is_root(test) {
            return None;
        }
        let is_there = |path: &str| Path::new(path).is_file();
        let helpers = ["netavark", "aardvark-dns"].map(|name| format!("{HELPERS}/{name}"));
        if !helpers.iter().all(|path| is_there(path)) || !is_there("/usr/sbin/iptables") {
            skip_named(test, "netavark, aardvark-dns and iptables are not installed");
            return None;
        }
        let here = Workspace::new(RBUILD);
        here.import(Base::Busybox);
        let machine = Self { here, namespaces: namespaces("exec sleep 1000") };
        let probe = "ip link set lo up; ip link add br0 type bridge && ip link add v0 type veth peer name v1 && ip link del br0 && \
                     ip link del v0 && iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j RETURN && iptables -t nat -F && \
                     iptables -t raw -L >/dev/null";
        if !machine.shell(probe).1 {
            skip_named(test, "this kernel has no bridges or no iptables");
            return None;
        }
        Some(machine)
    }

    /// The same machine after its network went down and came up again: nothing of it is left but the disk.
    pub(crate) fn reboot(&mut self) {
        self.restart("ip link set lo up");
    }

    /// The same with other programs in the place of those in [`HELPERS`].
    pub(crate) fn with_helpers(&mut self, programs: &[(&str, &str)]) {
        let directory = self.here.path().join("helpers");
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in programs {
            write_program(&directory.join(name), text);
        }
        self.restart(&format!("mount --bind {} {HELPERS} && ip link set lo up", directory.display()));
    }

    /// The same machine in new namespaces, in which this is done first.
    pub(crate) fn restart(&mut self, first: &str) {
        let done = self.here.path().join("done");
        let _ = fs::remove_file(&done);
        self.namespaces.kill().unwrap();
        self.namespaces.wait().unwrap();
        self.namespaces = namespaces(&format!("{first} && touch {} && exec sleep 1000", done.display()));
        wait_for(|| done.exists());
    }

    pub(crate) fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.namespaces.id();
        command.args([format!("--net=/proc/{pid}/ns/net"), format!("--mount=/proc/{pid}/ns/mnt")]);
        command
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let inner = self.here.command(arguments);
        let mut command = self.enter();
        command.arg(format!("--wdns={}", self.here.path().display()));
        command.arg(inner.get_program()).args(inner.get_args()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?} {ran:#?}");
        ran.stdout
    }

    /// What a refused command says.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_ne!(ran.code, 0, "{arguments:?} {ran:#?}");
        ran.stderr
    }

    /// A script on the machine: what it says, and whether it was content.
    pub(crate) fn shell(&self, script: &str) -> (String, bool) {
        let output = self.enter().args(["sh", "-c", script]).output().unwrap();
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
    }

    /// A script in a container.
    pub(crate) fn exec(&self, container: &str, script: &str) -> String {
        self.run(&["exec", container, "sh", "-c", script]).stdout
    }

    /// Interfaces, rules of single networks, and places of containers.
    pub(crate) fn remains(&self) -> (String, String, Vec<PathBuf>) {
        let interfaces = self.shell("ip -o link | grep -c .").0;
        let rules = "for t in filter nat raw; do iptables -t $t -S; done | grep -E 'br-|10\\.89\\.|NETAVARK-[0-9A-F]'";
        let mut places = Vec::new();
        for network in fs::read_dir(self.here.store().join("networks")).into_iter().flatten().flatten() {
            let attached = fs::read_dir(network.path().join("attached")).into_iter().flatten().flatten();
            places.extend(attached.map(|entry| entry.path()));
        }
        let names = fs::read_dir(self.here.store().join("networks/names/aardvark-dns")).into_iter().flatten();
        places.extend(names.flatten().map(|entry| entry.path()));
        (interfaces, self.shell(rules).0, places)
    }

    /// Sees that only the loopback is left.
    pub(crate) fn is_bare(&self) {
        let (interfaces, rules, places) = self.remains();
        assert_eq!((interfaces.trim(), rules.as_str(), places), ("1", "", Vec::new()));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let all = self.run(&["ps", "-aq"]).stdout;
        let all: Vec<&str> = all.lines().collect();
        if !all.is_empty() {
            self.run(&[&["rm", "-f"], all.as_slice()].concat());
        }
        let _ = self.namespaces.kill();
        let _ = self.namespaces.wait();
    }
}

/// A process in new namespaces for networks and mounts that does what `command` says.
fn namespaces(command: &str) -> Child {
    let mut child = Command::new("unshare");
    let child = child.args(["--net", "--mount", "sh", "-c", command]).stdin(Stdio::null()).spawn().unwrap();
    let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let other = |name: &str| fs::read_link(format!("/proc/{}/ns/{name}", child.id())).unwrap_or_default();
    wait_for(|| {
        ["net", "mnt"].iter().all(|name| other(name) != own(name) && !other(name).as_os_str().is_empty())
    });
    child
}

/// What asks a web server for its page.
const FETCH: &str = "wget -qO- http://";

/// Two networks, and a container with a web server in one of them.
fn start_shop(machine: &Machine) {
    machine.ok(&["network", "create", "--subnet", "10.89.77.0/24", "front"]);
    machine.ok(&["network", "create", "back"]);
    let serve = "echo page > /index.html; exec httpd -f -p 80 -h /";
    machine.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "front",
        "--network-alias",
        "shop",
        "--ip",
        "10.89.77.9",
        "-p",
        "8080:80",
        "--add-host",
        "other:10.9.9.9",
        "busybox",
        "sh",
        "-c",
        serve,
    ]);
}

#[test]
fn containers_of_a_network_find_each_other_by_name() {
    let test = "containers_of_a_network_find_each_other_by_name";
    let Some(machine) = Machine::new(test) else { return };
    start_shop(&machine);
    let id = machine.ok(&["inspect", "--format", "{{.Id}}", "web"]);
    for name in ["web", "shop", &id[..12], "web.dns.podman", "10.89.77.9"] {
        let fetch = format!("{FETCH}{name}");
        let seen = machine.ok(&["run", "--rm", "--network", "front", "busybox", "sh", "-c", &fetch]);
        assert_eq!(seen, "page\n", "{name}");
    }
    // nothing of another network: neither the name nor the address,
    let look =
        "nslookup web | grep -c 10.89.77.9; timeout 3 nc -w 1 10.89.77.9 80 </dev/null && echo reached";
    assert_eq!(machine.run(&["run", "--rm", "--network", "back", "busybox", "sh", "-c", look]).stdout, "0\n");
    for at in ["127.0.0.1", "10.89.77.1"] {
        assert_eq!(machine.shell(&format!("busybox {FETCH}{at}:8080")).0, "page\n", "{at}");
    }
    let error =
        machine.refused(&["run", "--rm", "--network", "front", "--ip", "10.89.77.9", "busybox", "true"]);
    assert!(error.contains("Address already in use: 10.89.77.9"), "{error}");
    let error = machine.refused(&["network", "rm", "front"]);
    let expected = format!("network front has active endpoints (name:\"web\" id:\"{}\")", &id[..12]);
    assert!(error.contains(&expected), "{error}");
    machine.ok(&["restart", "-t", "0", "web"]);
    wait_for(|| machine.shell(&format!("busybox {FETCH}127.0.0.1:8080")).0 == "page\n");
    machine.ok(&["rm", "-f", "web"]);
    machine.is_bare();
    assert_eq!(machine.ok(&["network", "rm", "front"]), "front\n");
}

#[test]
fn neighbours_are_found_by_who_stays_as_they_come_and_go() {
    let Some(machine) = Machine::new("neighbours_are_found_by_who_stays_as_they_come_and_go") else { return };
    start_shop(&machine);
    machine.ok(&["run", "-d", "--name", "asker", "--network", "front", "busybox", "sleep", "1000"]);
    let way_out = || {
        machine.exec(
            "asker",
            "ping -c 1 -W 2 10.89.77.1 >/dev/null && ip neigh show 10.89.77.1 | grep -o 'lladdr [^ ]*'",
        )
    };
    let before = way_out();
    assert!(before.starts_with("lladdr 02:42:0a:59:4d:01"), "{before}");
    for _ in 0..6 {
        machine.ok(&["restart", "-t", "0", "web"]);
        // a name server that is gone is asked three times, and 5 seconds are waited for it
        let answer = machine.exec("asker", "nslookup web");
        assert!(answer.contains("Address: 10.89.77.9"), "{answer}");
        assert_eq!(way_out(), before);
    }
}

#[test]
fn a_container_that_is_renamed_gives_its_name_free() {
    let Some(machine) = Machine::new("a_container_that_is_renamed_gives_its_name_free") else { return };
    start_shop(&machine);
    machine.ok(&["run", "-d", "--name", "asker", "--network", "front", "busybox", "sleep", "1000"]);
    machine.ok(&["rename", "web", "web-old"]);
    machine.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "name=front,ip=10.89.77.8",
        "busybox",
        "sleep",
        "1000",
    ]);
    let found =
        |name: &str| machine.exec("asker", &format!("nslookup {name} | grep -A1 Name: | grep Address"));
    assert_eq!(
        (found("web").as_str(), found("web-old").as_str()),
        ("Address: 10.89.77.8\n", "Address: 10.89.77.9\n")
    );
    assert_eq!(found("shop"), "Address: 10.89.77.9\n", "an alias stays");
    let format = "{{range .Containers}}{{.Name}} {{end}}";
    let seen = machine.ok(&["network", "inspect", "--format", format, "front"]);
    let mut seen: Vec<&str> = seen.split_whitespace().collect();
    seen.sort_unstable();
    assert_eq!(seen, ["asker", "web", "web-old"]);
}

#[test]
fn what_is_shown_of_a_place_is_true() {
    let Some(machine) = Machine::new("what_is_shown_of_a_place_is_true") else { return };
    start_shop(&machine);
    let id = machine.ok(&["inspect", "--format", "{{.Id}}", "web"]);
    assert_eq!(machine.ok(&["port", "web"]), "80/tcp -> 0.0.0.0:8080\n");
    let row = machine.ok(&["ps", "--format", "{{.Names}} {{.Networks}} {{.Ports}}"]);
    assert_eq!(row, "web front 0.0.0.0:8080->80/tcp\n");
    let format = "{{with .NetworkSettings.Networks.front}}{{.IPAddress}}/{{.IPPrefixLen}} {{.Gateway}} {{.MacAddress}} {{.Aliases}}{{end}}";
    let seen = machine.ok(&["inspect", "--format", format, "web"]);
    assert_eq!(seen, "10.89.77.9/24 10.89.77.1 02:42:0a:59:4d:09 [shop]\n");
    assert_eq!(machine.ok(&["inspect", "--format", "{{.HostConfig.NetworkMode}}", "web"]), "front\n");
    let format = "{{range .Containers}}{{.Name}} {{.IPv4Address}} {{.MacAddress}}{{end}}";
    let seen = machine.ok(&["network", "inspect", "--format", format, "front"]);
    assert_eq!(seen, "web 10.89.77.9/24 02:42:0a:59:4d:09\n");
    let hosts = machine
        .exec("web", "cat /etc/hosts; ip -4 -o addr show eth0; cat /sys/class/net/eth0/address; ip route");
    for line in [
        "10.9.9.9\tother",
        &format!("10.89.77.9\t{}", &id[..12]),
        "10.89.77.9/24",
        "02:42:0a:59:4d:09",
        "default via 10.89.77.1",
    ] {
        assert!(hosts.contains(line), "{line}: {hosts}");
    }
    let names = machine.exec("web", "cat /etc/resolv.conf");
    assert!(names.contains("nameserver 10.89.77.1\n") && names.contains(" ndots:0\n"), "{names}");
}

#[test]
fn a_container_in_several_networks_finds_all_its_neighbours() {
    let Some(machine) = Machine::new("a_container_in_several_networks_finds_all_its_neighbours") else {
        return;
    };
    for (name, more) in [("front", &["--ipv6"][..]), ("back", &["--internal", "-o", "mtu=1400"])] {
        machine.ok(&[&["network", "create"], more, &[name]].concat());
    }
    let sleep = ["busybox", "sleep", "1000"];
    let start = |name: &str, networks: &[&str]| {
        machine.ok(&[&["run", "-d", "--name", name], networks, &sleep].concat());
    };
    start("one", &["--network", "front"]);
    start("two", &["--network", "back"]);
    start("both", &["--network", "back", "--network", "name=front,alias=gate", "-p", "8080:80"]);
    for (asker, asked, found) in [
        ("both", "one", true),
        ("both", "two", true),
        ("one", "gate", true),
        ("two", "both", true),
        ("one", "two", false),
        ("two", "one", false),
        ("two", "gate", false),
    ] {
        let answer = machine.exec(asker, &format!("nslookup {asked} | grep -A1 Name:"));
        assert_eq!(answer.contains(&format!("Name:\t{asked}")), found, "{asker} {asked}: {answer}");
    }
    assert_eq!(machine.exec("two", "ip route | grep -c default; cat /sys/class/net/eth0/mtu"), "0\n1400\n");
    assert!(machine.exec("one", "ip -6 addr show eth0").contains("inet6 fd"));
    // nothing leads into an internal network
    assert_eq!(machine.ok(&["port", "both"]), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n");
    let error = machine.refused(&["run", "--rm", "--network", "back", "-p", "8081:80", "busybox", "true"]);
    assert!(error.contains("nothing leads into an internal network"), "{error}");
    machine.ok(&["stop", "-t", "0", "both"]);
    machine.ok(&["network", "disconnect", "front", "both"]);
    machine.ok(&["network", "connect", "--alias", "again", "front", "both"]);
    let error = machine.refused(&["network", "connect", "front", "both"]);
    assert!(error.contains("endpoint with name both already exists in network front"), "{error}");
    machine.ok(&["start", "both"]);
    assert!(machine.exec("one", "nslookup again").contains("Name:\tagain"));
    let error = machine.refused(&["network", "disconnect", "front", "both"]);
    assert!(
        error.contains("the networks of a container that runs cannot be changed: stop both first"),
        "{error}"
    );
    machine.ok(&["rm", "-f", "one", "two", "both"]);
    machine.is_bare();
}

#[test]
fn containers_that_start_together_get_addresses_of_their_own() {
    let Some(machine) = Machine::new("containers_that_start_together_get_addresses_of_their_own") else {
        return;
    };
    machine.ok(&["network", "create", "--subnet", "10.89.78.0/29", "small"]);
    let run = |index: usize| {
        let name = format!("c{index}x");
        let mut command = machine.command(&[
            "run",
            "-d",
            "--name",
            &name,
            "--network",
            "small",
            "busybox",
            "sleep",
            "1000",
        ]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    // there is room for five
    let mut all: Vec<Child> = (0..5).map(run).collect();
    assert!(all.iter_mut().all(|one| one.wait().unwrap().success()));
    let format = "{{range .Containers}}{{println .IPv4Address}}{{end}}";
    let seen = machine.ok(&["network", "inspect", "--format", format, "small"]);
    let mut addresses: Vec<&str> = seen.split_whitespace().collect();
    addresses.sort_unstable();
    assert_eq!(
        addresses,
        ["10.89.78.2/29", "10.89.78.3/29", "10.89.78.4/29", "10.89.78.5/29", "10.89.78.6/29"]
    );
    let error = machine.refused(&["run", "--rm", "--network", "small", "busybox", "true"]);
    assert!(error.contains("no available addresses on this network's address pools: small"), "{error}");
    assert_eq!(machine.ok(&["ps", "-aq"]).lines().count(), 5);
}
