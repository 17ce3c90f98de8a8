//! The commands for networks with names.

use crate::{docker_shapes::has_keys, named_networks::Machine, ordinary_user};
use rbuild_testkit::Base;

#[test]
fn the_commands_speak_as_docker_s_do() {
    let Some(machine) = Machine::new("the_commands_speak_as_docker_s_do") else { return };
    let id = machine.ok(&[
        "network",
        "create",
        "--subnet",
        "10.89.80.0/24",
        "--gateway",
        "10.89.80.9",
        "--ip-range",
        "10.89.80.128/25",
        "--label",
        "a=b",
        "--label",
        "c",
        "-o",
        "com.docker.network.driver.mtu=1400",
        "front",
    ]);
    let id = id.trim();
    assert_eq!(id.len(), 64);
    machine.ok(&["network", "create", "back"]);
    let rows =
        machine.ok(&["network", "ls", "--format", "{{.ID}} {{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}"]);
    assert!(rows.contains(&format!("{} front bridge local a=b,c=\n", &id[..12])), "{rows}");
    assert!(machine.ok(&["network", "ls"]).starts_with("NETWORK ID     NAME      DRIVER    SCOPE\n"));
    assert_eq!(machine.ok(&["network", "ls", "-q", "--no-trunc", "-f", "name=fro"]), format!("{id}\n"));
    assert_eq!(machine.ok(&["network", "ls", "-q", "-f", "label=a=x"]), "");
    let config = machine.ok(&["network", "inspect", "--format", "{{json .IPAM.Config}}", &id[..5]]);
    assert_eq!(
        config,
        "[{\"Subnet\":\"10.89.80.0/24\",\"IPRange\":\"10.89.80.128/25\",\"Gateway\":\"10.89.80.9\"}]\n"
    );
    machine.ok(&["run", "-d", "--name", "box", "--network", "front", "busybox", "sleep", "1000"]);
    has_keys(&machine.ok(&["network", "inspect", "front"]), "network");
    machine.ok(&["rm", "-f", "box"]);
    assert_eq!(machine.ok(&["inspect", "--type", "network", "--format", "{{.Name}}", "front"]), "front\n");
    let ip = "ip -4 -o addr show eth0 | grep -o 'inet [0-9.]*'";
    let seen = machine.ok(&["run", "--rm", "--network", id, "busybox", "sh", "-c", ip]);
    assert_eq!(seen, "inet 10.89.80.128\n");
    assert!(machine.refused(&["network", "rm", "nope"]).contains("network nope not found"));
    assert_eq!(machine.ok(&["network", "rm", "-f", "nope"]), "");
    assert!(
        machine
            .refused(&["network", "rm", "host"])
            .contains("host is a pre-defined network and cannot be removed")
    );
    assert!(machine.refused(&["network", "ls", "-f", "foo=bar"]).contains("invalid filter 'foo'"));
    assert_eq!(
        machine.ok(&["network", "prune", "-f", "--filter", "label!=a"]),
        "Deleted Networks:\nback\n\n"
    );
    assert_eq!(
        machine.ok(&["network", "prune", "--dry-run"]),
        "Nothing is removed (--dry-run). This would go:\n\nDeleted Networks:\nfront\n\n"
    );
    assert_eq!(machine.ok(&["network", "rm", "front"]), "front\n");
    assert_eq!(machine.ok(&["network", "prune", "-f"]), "");
    machine.is_bare();
}

#[test]
fn a_damaged_record_of_a_network_stops_no_other() {
    let Some(machine) = Machine::new("a_damaged_record_of_a_network_stops_no_other") else { return };
    let id = machine.ok(&["network", "create", "front"]);
    machine.ok(&["network", "create", "back"]);
    let record = machine.here.store().join("networks").join(id.trim()).join("network.json");
    std::fs::write(&record, "{").unwrap();
    assert_eq!(machine.ok(&["network", "ls", "--format", "{{.Name}}"]), "back\n");
    machine.ok(&["run", "--rm", "--network", "back", "busybox", "true"]);
    assert!(
        machine
            .refused(&["run", "--network", "front", "busybox", "true"])
            .contains("network front not found")
    );
    assert_eq!(machine.ok(&["network", "rm", &id[..12]]), format!("{}\n", &id[..12]));
    assert!(!record.exists());
    machine.ok(&["network", "rm", "back"]);
    machine.is_bare();
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    let Some(machine) = Machine::new("what_cannot_be_is_refused_before_anything_is_made") else { return };
    machine.ok(&["network", "create", "--subnet", "10.89.80.0/24", "front"]);
    let create = |more: &[&str]| machine.refused(&[&["network", "create"], more].concat());
    for (arguments, said) in [
        (&["front"][..], "network with name front already exists"),
        (&["host"], "operation is not permitted on predefined host network"),
        (&["a/b"], "invalid network name \"a/b\""),
        (&[""], "invalid name: name is empty"),
        (&["--subnet", "10.89.80.0/25", "x"], "Pool overlaps with other one on this address space"),
        (&["--subnet", "127.0.0.0/24", "x"], "is not for networks"),
        (&["--subnet", "10.89.81.5/24", "x"], "invalid subnet 10.89.81.5/24: it should be 10.89.81.0/24"),
        (&["--subnet", "foo", "x"], "invalid subnet foo: invalid CIDR block notation"),
        (
            &["--subnet", "10.89.81.0/24", "--gateway", "10.9.9.9", "x"],
            "no matching subnet for gateway 10.9.9.9",
        ),
        (&["--gateway", "10.9.9.9", "x"], "every ip-range or gateway must have a corresponding subnet"),
        (&["--driver", "foo", "x"], "plugin \"foo\" not found"),
        (&["--driver", "macvlan", "x"], "--driver macvlan is not supported yet"),
        (&["-o", "foo=bar", "x"], "--opt foo=bar is not supported yet"),
        (&["--attachable", "x"], "--attachable is not supported yet"),
    ] {
        let error = create(arguments);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let run = |more: &[&str]| machine.refused(&[&["create"], more, &["busybox", "true"]].concat());
    for (arguments, said) in [
        (&["--network", "nope"][..], "network nope not found"),
        (&["--network", "front", "--network", "front"], "network \"front\" is specified multiple times"),
        (&["--network", "front", "--network-alias", "a b"], "invalid network alias \"a b\""),
        (&["--network", "front", "--network-alias", "a,b\n10.0.0.1"], "invalid network alias"),
        (&["--network", "front", "--ip", "10.9.9.9"], "no configured subnet contains IP address 10.9.9.9"),
        (&["--network", "front", "--ip6", "fd00::2"], "no configured subnet contains IP address fd00::2"),
    ] {
        let error = run(arguments);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    assert_eq!(machine.ok(&["ps", "-aq"]), "", "nothing is made of what is refused");
    assert_eq!(machine.ok(&["network", "ls", "-q"]).lines().count(), 1);
}

#[test]
fn an_ordinary_user_is_told_why_there_are_no_such_networks() {
    let test = "an_ordinary_user_is_told_why_there_are_no_such_networks";
    let Some(here) = ordinary_user::workspace(test) else { return };
    here.import(Base::Busybox);
    for arguments in
        [&["network", "create", "front"][..], &["run", "--rm", "--network", "front", "busybox", "true"]]
    {
        let ran = here.fails(arguments);
        assert!(ran.stderr.contains("networks with names need root: "), "{ran:#?}");
    }
    assert_eq!(here.ok(["network", "ls", "-q"]), "");
}
